import datetime
import sys

from both import do, end, make
from evbus_client import OutgoingEvent

client = make(*sys.argv[1:])
do(client.put({"b": [1, 2.5, None, True], "a": "für"}))
do(client.put("text", "idem-run", {"type": "x", "n": 1}, run_name="nightly"))
do(client.put({"set": {"b", "a"}, "tuple": (1, 2)}, "raw", raw=True))
do(client.put([1], profile="raw", raw=True))
do(client.put({"_stamp": "mine"}, "raw", raw=True))
do(client.put(123456789012345678901234567890, "big", raw=True))
deep = []
for _ in range(127):
    deep = [deep]
do(client.put(deep, "deep", raw=True))
do(
    client.put_events(
        [
            OutgoingEvent.from_json('{ "price" : 1.10 }', "text"),
            OutgoingEvent.from_json('"second"', "text"),
            OutgoingEvent.raw("\udc80", "half"),
        ],
        timeout=60,
    )
)
for number in range(2):
    assert client.put_nowait(number, "now") is None
do(client.flush())
do(client.flush())
client.put_nowait(2, "now", {"k": "v"}, run_name="r")
do(client.put("follows what did not wait", "after"))
at = datetime.datetime(2024, 2, 29, 12, 34, 56, 789012)
assert do(client.fire_event({"x": 1, "at": at}, "salt/job")) is True
end(client)
