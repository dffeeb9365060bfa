{% do hub.idem.event.put_nowait("before") %}
{% if %}
