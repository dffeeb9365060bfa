{% set level = 3 %}
{% if level > 5 %}high{% elif level in [1, 2, 3] and not level == 1 %}low{% do hub.idem.event.put_nowait("low") %}{% else %}other{% do hub.idem.event.put_nowait("other") %}{% endif %}
{% if "eb" in "web" or nothing_here is defined %}in{% endif %} {{ "x" if false }}|
{{ level is odd }} {{ level is divisibleby 3 }} {{ level is number }} {{ "a" is string }} {{ [] is iterable }} {{ {} is mapping }} {{ (1, 2) is sequence }}
{{ nothing is undefined }} {{ nothing | default("fallback") }} {{ "" | default("empty", true) }} {{ none is none }} {{ 1 is sameas 1 }} {{ 1.0 == 1 }} {{ 1 < 2 < 3 }}
{{ level is integer }} {{ 1.5 is float }} {{ true is boolean }} {{ "a" is in ["a"] }} {{ "ABC" is upper }} {{ "abc" is lower }} {{ 2 is even }} {{ 1 is eq 1 }} {{ 1 is ne 2 }} {{ 3 is gt 2 }} {{ 3 is le 2 }}
