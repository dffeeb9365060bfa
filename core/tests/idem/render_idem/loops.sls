{% for name in ["web", "db", "cache"] if name != "db" %}
{{ loop.index }}/{{ loop.length }} {{ name }}: {{ "first" if loop.first }}{{ "last" if loop.last }}{{ loop.cycle("odd", "even") }}
{% do hub.idem.event.put_nowait({"name": name, "index": loop.index0, "left": loop.revindex}, "idem-" ~ name) %}
{% else %}
none
{% endfor %}
{% for _ in [] %}{% do hub.idem.event.put_nowait("never") %}{% else %}{% do hub.idem.event.put_nowait("empty") %}{% endfor %}
{% for a in range(3) -%}
  {%- for b in range(a) -%}
    {%- do hub.idem.event.put_nowait([a, b, loop.depth]) -%}
    ({{ a }},{{ b }})
  {%- endfor %}
{%- endfor %}
{% for number in range(10) %}{% if number == 2 %}{% continue %}{% endif %}{% if number > 4 %}{% break %}{% endif %}{{ number }}{% do hub.idem.event.put_nowait(number) %}{% endfor %}
{% for key, value in {"b": 1, "a": 2}.items() %}{{ key }}={{ value }};{% do hub.idem.event.put_nowait({key: value}) %}{% endfor %}
{% for key in {"b": 1, "a": 2} %}{{ key }} {{ loop.previtem is defined }} {{ loop.changed(key) }};{% endfor %}
{% for item in [{"n": [1, [2]]}, {"n": [3]}] recursive %}{{ item.n | length }}{% endfor %}
