"""Where events go in the check: a destination per policy, and what each of them promises."""

import fnmatch
from dataclasses import dataclass

RETRY = {"first_delay": 0.01, "max_delay": 0.1}


@dataclass(frozen=True)
class Destination:
    name: str
    pattern: str
    policy: dict

    @property
    def durable(self):
        return self.policy.get("durable", False)

    @property
    def drops(self):
        return self.policy.get("when_full") == "drop_newest"

    def wants(self, profile):
        return fnmatch.fnmatchcase(profile, self.pattern)

    def entry(self, home, events):
        """Its entry in the acct file, with so many events for its queue."""
        queue = {"queue": {"events": events}, "retry": RETRY, **self.policy}
        return {self.pattern: {"path": f"{home}/{self.name}/out.jsonl", "fsync": "never", "evbus": queue}}


DESTINATIONS = [
    Destination("durable", "*", {"durable": True}),
    Destination("spill", "s-*", {"when_full": "spill"}),
    Destination("block", "b-*", {"when_full": "block"}),
    Destination("block-durable", "bd-*", {"when_full": "block", "durable": True}),
    Destination("drop", "*-x", {"when_full": "drop_newest"}),
    Destination("ordered", "o-*", {"durable": True, "ordered": True}),
    Destination("isolated", "i-*", {"durable": True, "isolate": "process"}),
]

PROFILES = [f"{first}-{last}" for first in ("s", "b", "bd", "o", "i") for last in ("x", "y")]
