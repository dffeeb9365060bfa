import datetime
import sys

from both import do, each, end, make, raises
from evbus_client import Event, NotConfirmed

kind, sock_dir, prefix_frames = sys.argv[1:]
client = make(kind, sock_dir, prefix_frames=prefix_frames == "prefixed")
client.subscribe("ready")
# A listener of 3008 may miss what is published right after it connected.
while do(client.get_event(0.1, "ready")) is None:
    assert do(client.fire_event({}, "ready", timeout=60_000))

at = datetime.datetime(2024, 2, 29, 12, 34, 56, 789012)
assert do(client.fire_event({"at": at, 1: b"\xff", "set": {1}, "big": 2**70}, "salt/job/1"))
event = do(client.get_event(60, "salt/job/", full=True))
assert event["tag"] == "salt/job/1" and event["data"].pop("_stamp")
assert event["data"] == {"at": at, 1: b"\xff", "set": [1], "big": str(2**70)}, event

# A master takes the event, and never says so.
raises(NotConfirmed, lambda: client.put({"a": 1}, "put"), "fire_event")
event = next(each(client.iter_events("put")))
assert isinstance(event, Event) and event.id is None and event.body["message"] == {"a": 1}, event
end(client)
