"""What the contract does with events, while the host is killed and replaced."""

import logging
import os
import sys
import time

os.environ["EVBUS_SOCK_DIR"] = sys.argv[1]
from evbus_idem.bridge import BRIDGE  # noqa: E402

told = []
handler = logging.Handler()
handler.emit = lambda record: told.append(record.getMessage())
logging.getLogger().addHandler(handler)


def fire(*texts):
    for text in texts:
        assert BRIDGE.wants_events()
        BRIDGE.fire(text, "profile")


fire("1", '"ü"', "[NaN]")
while BRIDGE._waiting or BRIDGE._batch:
    time.sleep(0.01)
print("sent")
sys.stdin.readline()
fire("10", "11", "12")
print("waiting")
sys.stdin.readline()
BRIDGE.close(60)
assert not BRIDGE.wants_events()
assert len(told) <= 1 and all("is gone, and events of Idem wait for it" in text for text in told), told
