{% set deep = {"list": [1, [2, [3, {"x": none}]]], "ü": {"nested": {"true": true}}, "empty": [[], {}]} %}
{% do hub.idem.event.put_nowait(deep, "idem-deep", {"ref": "a", "number": 1, "list": [1], "null": none}) %}
{% do hub.idem.event.put_nowait(body=(1, 2, "x")) %}
{% do hub.idem.event.put_nowait(body={1: "one", 2: "two"}) %}
{% do hub.idem.event.put_nowait(body={true: 1, none: 2, 1.5: 3}) %}
{% do hub.idem.event.put_nowait(body=none) %}
{% do hub.idem.event.put_nowait(body="") %}
{% do hub.idem.event.put_nowait(body=12345678901234567890123) %}
{% do hub.idem.event.put_nowait(body=[0.1, 1e3, -0.0, 4 / 2, 7 // 2, 2 ** 70]) %}
{% do hub.idem.event.put_nowait(body="a\"b\\c\n\t'") %}
{% do hub.idem.event.put_nowait(body=range(3) | list) %}
{% do hub.idem.event.put_nowait(body=params) %}
{% do hub.idem.event.put_nowait(body=deep.list[1][1], profile="idem-" ~ "x" | upper) %}
{% do hub.idem.event.put_nowait(tags={"ref": "b"}, body={"a": deep["ü"]}) %}
