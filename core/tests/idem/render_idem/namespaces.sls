{% set ns = namespace(count=0, names=[]) %}
{% for name in ["a", "b", "c"] %}
{%- set ns.count = ns.count + loop.index %}
{%- set ns.names = ns.names + [name] %}
{%- set hidden = name %}
{%- endfor %}
{{ ns.count }} {{ ns.names }} {{ hidden is defined }}
{% set a, b = 1, [2] %}{{ a }} {{ b }}
{% with x = 1, y = 2 %}{{ x + y }}{% endwith %} {{ x is defined }}
{% do hub.idem.event.put_nowait({"count": ns.count, "names": ns.names}) %}
