#!jinja|yaml
{% do hub.idem.event.put_nowait("piped") %}
a: {{ 1 }}
