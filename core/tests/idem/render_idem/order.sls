{% for n in range(3) %}{% hub.idem.event.put_nowait({"n": n, "at": "statement"}) %}{{ hub.idem.event.put_nowait({"n": n, "at": "expression"}) }}
{% set x = hub.idem.event.put_nowait({"n": n, "at": "set"}) %}{% do hub.idem.event.put({"n": n, "at": "put"}) %}{% endfor %}
{{ [hub.idem.event.put_nowait(1), hub.idem.event.put_nowait(2)] }}
{{ {"a": hub.idem.event.put_nowait(3)} }}
{{ false and hub.idem.event.put_nowait("not reached") }}{{ true or hub.idem.event.put_nowait("not reached") }}
