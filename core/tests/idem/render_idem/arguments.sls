{% do hub.idem.event.put_nowait("before") %}
{% do hub.idem.event.put_nowait("a", "b", {}, 1) %}
