{% do hub.idem.event.put({"name": "web"}, "idem-custom", {"ref": "app"}) %}
{% do hub.idem.event.put("text", tags=none) -%}
{% set fired = hub.idem.event.put_nowait(body=[1, 2]) %}
fired: {{ fired }}, {{ fired is none }}
{{ hub.evbus.broker.put_nowait(body="without an envelope", profile="raw") }}
{{ hub.evbus.broker.put(body={"without": ["an", "envelope"]}) }}
{% set event = hub.idem.event %}{% do event.put_nowait(3, "from-a-variable") %}
{% if hub.idem.event.put_nowait("in a condition") is none %}none{% else %}some{% endif %}
