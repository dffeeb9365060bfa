{% do hub.idem.event.put_nowait("before") %}
{% do hub.idem.event.put_nowait() %}
