a: {{ 1 }}
{% do hub.idem.event.put_nowait("text
over lines") %}
b: 2
