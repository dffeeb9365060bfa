import sys
import time

from both import do, end, make, raises
from evbus_client import NoHost

client = make(*sys.argv[1:])
for call in [
    lambda: client.put(1),
    lambda: client.put_nowait(1),
    lambda: client.probe(),
]:
    error = raises(NoHost, call, "cannot connect to the event socket", "check that a host is running")
    assert isinstance(error, ConnectionError)
    assert "Errno" not in str(error) and error.errno, repr(error)
do(client.put_events([]))
do(client.flush())
start = time.monotonic()
began = time.monotonic()
assert do(client.fire_event({}, "tag", timeout=200)) is False
assert 0.2 <= time.monotonic() - began < 100, "milliseconds, as Salt's"
client.subscribe("tag")
assert do(client.get_event(no_block=True)) is None
assert do(client.get_event(wait=0.2)) is None
assert 0.4 <= time.monotonic() - start < 60
end(client)
