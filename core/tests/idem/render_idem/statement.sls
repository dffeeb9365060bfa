{%- hub.idem.event.put_nowait(body={"message": "event content"}, profile="default", tags={}) %}
{% hub.idem.event.put_nowait("positional", "idem-custom", {"ref": "a.b"}) %}
{%-hub.idem.event.put_nowait(profile="idem-custom", body=[1, 2.5, none, true, "ü"]) -%}
web:
  test.nop: []
