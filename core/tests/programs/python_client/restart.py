import sys

from both import do, each, end, make
from evbus_client import Gap

client = make(*sys.argv[1:])


def fire():
    do(client.put(1, "put"))
    client.put_nowait(1, "nowait")
    assert do(client.fire_event({}, "salt"))


# Its connections, one of them open, are the old host's.
fire()
do(client.flush())
assert do(client.get_event(no_block=True)) is None
print("connected")
for event in each(client.iter_events()):
    if isinstance(event, Gap):
        assert event.lost_at <= event.back_at
        print("gap", event.reason)
        continue
    print("event", event.profile, event.body)
    if event.profile == "second":
        break
assert client.gaps == 1
fire()
do(client.flush())
print("fired")
end(client)
