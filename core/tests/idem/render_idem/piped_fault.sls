#!jinja|yaml
{% do hub.idem.event.put_nowait("before") %}
  {{ nothing.here }}
