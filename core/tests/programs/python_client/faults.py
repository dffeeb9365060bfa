import os

from both import raises
from evbus_client import AsyncClient, BodyError, Client, EvbusError, NotConfigured, OutgoingEvent

deep = []
for _ in range(128):
    deep = [deep]

for body, *texts in [
    (float("nan"), "body['message']: found nan", "finite"),
    ({"a": [1.0, float("-inf")]}, "body['message']['a'][1]: found -inf"),
    ({"a": {1: 2}}, "body['message']['a']: found int 1 as a key, expected str"),
    ({"a": [0, object()]}, "body['message']['a'][1]: found object"),
    (b"bytes", "body['message']: found bytes"),
    ({1, "a"}, "body['message']: the set cannot be sorted"),
    (deep, "nested more than 128 levels deep"),
]:
    raises(BodyError, lambda body=body: OutgoingEvent.message(body), *texts)
assert len(OutgoingEvent.raw(deep[0]).json) == 2 * 128

for profile in ["", "a\n\nb", "x" * 65537, "\udc80", None]:
    raises(BodyError, lambda profile=profile: OutgoingEvent.raw(1, profile), "the profile")
assert OutgoingEvent.raw(1, "x" * 65536).profile

raises(BodyError, lambda: OutgoingEvent.from_json("[1,"), "not JSON")
raises(BodyError, lambda: OutgoingEvent.from_json("[NaN]"), "NaN")
raises(BodyError, lambda: OutgoingEvent.from_json("[" * 100000), "nested")
raises(BodyError, lambda: OutgoingEvent.message(1, tags=[]), "tags: found list")
raises(BodyError, lambda: OutgoingEvent.raw("x" * (51 * 1024 * 1024)), "bytes; expected at most")
assert issubclass(BodyError, (EvbusError, ValueError))

assert "EVBUS_SOCK_DIR" not in os.environ
for kind in [Client, AsyncClient]:
    raises(NotConfigured, kind, "EVBUS_SOCK_DIR")
os.environ["EVBUS_SOCK_DIR"] = "/nowhere"
Client()
raises(BodyError, lambda: Client().fire_event([], "tag"), "data: found list")
raises(BodyError, lambda: Client().fire_event({"a": object()}, "tag"), "object")
raises(ValueError, lambda: Client().get_event(match_type="glob"), "startswith")
raises(ValueError, lambda: Client().subscribe("(", "regex"), "regular expression")
