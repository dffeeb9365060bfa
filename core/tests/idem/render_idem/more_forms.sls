{% set x -%}
  a {{ 1 }}
{%- endset %}{{ x }}|
{% set y | upper %}shout{% endset %}{{ y }}
{% if true %}{% set inner = 1 %}{% endif %}{{ inner }}
{% for i in range(2) %}{% set inner = 5 %}{% endfor %}{{ inner }}
{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for x in "abc" | list %}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}
{% for x in {"a": 1}.items() | list %}{{ x }}{% endfor %}
{% for row in [[1, 2], [3, 4]] %}{% set outer = loop %}{% for cell in row %}{{ outer.index }}.{{ loop.index }}={{ cell }} {% endfor %}{% endfor %}
{%- for item in [{"n": 1, "c": [{"n": 2, "c": []}]}] recursive %} <{{ item.n }}@{{ loop.depth0 }}{{ loop(item.c) }}>{% endfor %}
{{ {"items": [1]}["items"] }} {{ {"a b": 1}["a b"] }} {{ [1, 2, 3] | length > 2 }} {{ 1 if true }} {{ "a" "b" }} {{ "a\tb" }} {{ "\u00fc" }} {{ 'x' ~ 'y' }}
{{ 10 // 3 * 2 + 1 - 4 ** 2 % 5 }} {{ (1 + 2) * 3 }} {{ not (1 == 2) }} {{ 1 != 2 }} {{ "a" not in "bc" }} {{ 3 >= 3 }} {{ -2 ** 2 }} {{ 2 ** -1 }} {{ 1 / 4 }} {{ 1e2 + 1 }} {{ 0x1f }} {{ 0b11 }} {{ 0o17 }}
# a line that is no comment {# one #} ## either
{# over
   lines {{ nothing }} {% do %} #}
{{ "{{" }} {{ "%}" }} {{ '{#' }}
{%- if false -%} x {%- else -%} y {%- endif -%}
   z
{% set text = namespace(value="") %}{% for part in ["a", "b"] %}{% set text.value = text.value ~ part %}{% endfor %}{{ text.value }}
{{ joiner is defined }}{% set comma = joiner(",") %}{% for x in [1, 2, 3] %}{{ comma() }}{{ x }}{% endfor %} {% set c = cycler("a", "b") %}{{ c.next() }}{{ c.next() }}{{ c.next() }}
{{ range(2, 8, 3) | list }} {{ range(3, 0, -1) | list }} {{ dict(a=1) }} {{ dict({"a": 1}, b=2) }} {{ [1, 2] == [1, 2] }} {{ {"a": 1} == {"a": 1} }} {{ (1, 2) == (1, 2) }} {{ [1, 2] < [1, 3] }}
