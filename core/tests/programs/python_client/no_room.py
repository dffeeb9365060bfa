import sys
import time

from both import do, end, make, raises
from evbus_client import NoRoom, TimedOut

# The host is stopped: nobody reads.
client = make(*sys.argv[1:])
fired = 0
while True:
    try:
        client.put_nowait([fired, "x" * 10_000], "now", raw=True)
        fired += 1
    except NoRoom as error:
        assert isinstance(error, BlockingIOError)
        break
start = time.monotonic()
raises(NoRoom, lambda: client.put_nowait(1, "never"))
assert do(client.fire_event({}, "never", timeout=100)) is False
# It is sent, and the host says nothing to it.
late = make(*sys.argv[1:])
raises(TimedOut, lambda: late.put(1, "late", timeout=0.1), "0.1 seconds")
assert time.monotonic() - start < 60
print(fired)
sys.stdin.readline()
do(client.flush(60))
# More than the socket takes at once: what it took in part is finished.
client.put_nowait("x" * 2_000_000, "big", raw=True)
end(client)
