"""What the contract does with events that the host does not take."""

import logging
import os
import sys

os.environ["EVBUS_SOCK_DIR"] = sys.argv[1]
from evbus_idem.bridge import BRIDGE  # noqa: E402

told = []
handler = logging.Handler()
handler.emit = lambda record: told.append(record.getMessage())
logging.getLogger().addHandler(handler)

fired = 0
while not told:
    assert BRIDGE.wants_events()
    BRIDGE.fire(str(fired), "profile")
    fired += 1
for _ in range(10):
    BRIDGE.fire('"dropped"', "profile")
assert len(told) == 1 and "events of Idem are dropped" in told[0], told
print(fired - 1)
sys.stdin.readline()
BRIDGE.close(60)
assert told[1:] == ["the evbus host did not get 11 events of this run, or did not confirm them"], told
