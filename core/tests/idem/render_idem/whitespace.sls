  {%- set a = 1 -%}
  
a: {{- a -}}   
  b
{# a comment #}
{#- another -#}

   {%+ if true +%}
   x
   {%- endif %}
	tab {% raw %}{{ not rendered }} {% hub.idem.event.put_nowait(1) %}{% endraw %}
{% raw -%}   trimmed   {%- endraw %}
{% do hub.idem.event.put_nowait("after") %}


