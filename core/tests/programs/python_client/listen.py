import inspect
import sys
import threading
import time
import uuid

from both import do, each, end, make
from evbus_client import Client, OutgoingEvent

kind, listens_in, fires_in = sys.argv[1:]
client = make(kind, listens_in)
host = Client(fires_in, prefix_frames=listens_in != fires_in)

# What comes for others while one tag is waited for is kept for subscriptions alone.
client.subscribe("kept/")
client.subscribe("the end$", "regex")
for profile in ["kept/1", "lost", "the end", "kept/2", "wanted/1", "after"]:
    host.put(profile, profile)
event = do(client.get_event(wait=60, tag="wanted/", full=True))
assert event["tag"] == "wanted/1" and event["data"]["message"] == "wanted/1", event
assert event["data"]["_stamp"] and event["data"]["tags"] == {}
assert do(client.get_event(tag="kept/2"))["message"] == "kept/2"
assert do(client.get_event(tag="end", match_type="endswith"))["message"] == "the end"
client.unsubscribe("kept/")
assert do(client.get_event(tag="kept/", no_block=True)) is None
# The wait above has looked at all that was there.
assert do(client.get_event(no_block=True)) is None

for match_type, tag in [
    ("startswith", "salt/jo"),
    ("endswith", "/ret"),
    ("find", "job/2"),
    ("regex", r"salt/job/\d+"),
    ("fnmatch", "salt/*/ret"),
]:
    assert host.fire_event({1: b"\xff", "two": [None]}, "salt/job/2/ret")
    data = do(client.get_event(60, tag, False, match_type))
    assert data[1] == b"\xff" and data["two"] == [None], data

# As Salt, from the beginning of the tag.
host.put(1, "x/job/2")
host.put(1, "last")
assert do(client.get_event(60, r"job/\d+|last", True, "regex"))["tag"] == "last"

# An iterator gives events whole.
host.put({"_stamp": 1}, "it", raw=True)
host.put([1], "it", raw=True)
host.put({"a": "ü" * 1000}, "it", raw=True)
host.fire_event({"b": 1}, "it")
host.put("x" * 3_000_000, "it")
got = []
for event in each(client.iter_events("it")):
    got.append(event)
    if len(got) == 5:
        break
assert [event.body for event in got[:3]] == [{"_stamp": 1}, [1], {"a": "ü" * 1000}]
assert all(isinstance(event.id, uuid.UUID) and event.profile == "it" for event in got[:3])
assert got[0].time_unix_ns < got[1].time_unix_ns
assert got[3].id is None and got[3].body["b"] == 1 and got[3].body["_stamp"]
assert len(got[4].body["message"]) == 3_000_000
assert client.gaps == 0 and client.dropped == 0

# Arguments stand where they stand in Salt's library, and give what they give there.
def names(call):
    return list(inspect.signature(call).parameters)


assert names(client.get_event) == ["wait", "tag", "full", "match_type", "no_block", "auto_reconnect"]
assert names(client.iter_events) == ["tag", "full", "match_type", "auto_reconnect"]
assert names(client.fire_event) == ["data", "tag", "timeout"]
for full in (True, False):
    host.fire_event({"n": 1}, "as/in/salt")
    found = next(each(client.iter_events("a[s]/in", full, "regex", True)))
    if full:
        assert found["tag"] == "as/in/salt"
        found = found["data"]
    assert found["n"] == 1 and "_stamp" in found

# The cache is bounded, and the newest are kept.
client.subscribe("many")
host.put_events(OutgoingEvent.message(number, "many") for number in range(10_500))
host.put("done", "done")
assert do(client.get_event(60, "done"))["message"] == "done"
assert client.dropped == 500, client.dropped
assert do(client.get_event(60, "many"))["message"] == 500

# A bus that never pauses keeps nobody from looking at the time.
stop = threading.Event()


def never_pause():
    busy = Client(fires_in)
    while not stop.is_set():
        busy.put_events(noise)
    busy.close()


noise = [OutgoingEvent.raw("x" * 100, "noise")] * 500
threads = [threading.Thread(target=never_pause) for _ in range(2)]
for thread in threads:
    thread.start()
assert do(client.get_event(60, "noise"))["body"]
start = time.monotonic()
assert do(client.get_event(0.3, "silence")) is None
assert do(client.get_event(tag="silence", no_block=True)) is None
assert time.monotonic() - start < 30
stop.set()
for thread in threads:
    thread.join()
host.close()
end(client)
