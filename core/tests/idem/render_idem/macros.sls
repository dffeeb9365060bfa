{% macro told(name, level="info", tags={}) -%}
  {%- do hub.idem.event.put_nowait({"name": name, "level": level}, "idem-custom", tags) -%}
  {{ name }} ({{ level }})
{%- endmacro %}
{{ told("web") }}
{{ told("db", level="warning", tags={"ref": "x"}) }}
{% macro around(name) %}<{{ caller() }} of {{ name }}>{% endmacro %}
{% call around("cache") %}{{ told("body") }}{% endcall %}
{% set text %}captured {{ told("inner") }}{% endset %}
{{ text }}
{% macro plain(first, second=2) %}{{ first }}{{ second }}{% endmacro %}{{ plain(1) }} {{ plain(second=2, first=1) }} {{ told.name }}
