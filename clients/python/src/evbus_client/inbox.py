"""What a listener does with what arrives, without the socket: Salt's tag matching and its cache."""

from __future__ import annotations

import fnmatch
import re
import time
from collections import deque
from dataclasses import dataclass
from typing import Callable, Deque, Dict, List, Optional, Tuple

from .frame import Decoder, Event

MATCHERS: Dict[str, Callable[[str, str], bool]] = {
    "startswith": lambda tag, wanted: tag.startswith(wanted),
    "endswith": lambda tag, wanted: tag.endswith(wanted),
    "find": lambda tag, wanted: wanted in tag,
    "regex": lambda tag, wanted: re.search("^" + wanted, tag) is not None,
    "fnmatch": lambda tag, wanted: fnmatch.fnmatch(tag, wanted),
}
"""Salt's match types. It puts ``^`` before a regular expression, so ``a|b`` is ``^a|b``."""

CACHE_EVENTS = 10_000
CACHE_BYTES = 32 * 1024 * 1024
GAPS = 100


@dataclass(frozen=True)
class Gap:
    """Stands between two events where events may be missing: the connection broke and was made again.

    The host was restarted, or it cut this listener off since it did not keep up.
    """

    reason: str
    lost_at: float
    """When the connection was found broken, in seconds since 1970."""
    back_at: float
    """When the new one stood: all that is published from then on arrives."""


class Inbox:
    """Frames in, wanted events out. Not thread-safe: its client locks."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._subscriptions: List[Tuple[str, str]] = []
        self._cache: Deque[Tuple[Event, int]] = deque()
        self._cache_bytes = 0
        self._gaps: Deque[Gap] = deque(maxlen=GAPS)
        self._lost: Optional[Tuple[str, float]] = None
        self.gap_count = 0
        self.dropped = 0

    def subscribe(self, tag: str, match_type: str) -> None:
        check(match_type, tag)
        self._subscriptions.append((tag, match_type))

    def unsubscribe(self, tag: str, match_type: str) -> None:
        """Ends a subscription, and forgets what was cached for it alone."""
        if (tag, match_type) in self._subscriptions:
            self._subscriptions.remove((tag, match_type))
        self._cache = deque(item for item in self._cache if self._is_subscribed(item[0].tag))
        self._cache_bytes = sum(size for _, size in self._cache)

    def feed(self, data: bytes) -> None:
        self._decoder.feed(data)

    def broke(self, reason: str) -> None:
        """Notes the end of a connection that had stood; half a frame is forgotten."""
        if self._lost is None:
            self._lost = (reason, time.time())

    def connected(self) -> None:
        """Notes a new connection."""
        self._decoder = Decoder()
        if self._lost is not None:
            self._gaps.append(Gap(*self._lost, back_at=time.time()))
            self.gap_count += 1
            self._lost = None

    def gaps_after(self, count: int) -> List[Gap]:
        """The gaps that came after the first ``count`` ones; the last hundred are kept."""
        new = self.gap_count - count
        return list(self._gaps)[-new:] if new > 0 else []

    def take(self, tag: str, match_type: str) -> Optional[Event]:
        """The first event with a wanted tag: from the cache, then from what has arrived.

        An event that is not wanted now is cached if a subscription wants it, and else forgotten. None
        means that all that has arrived was looked at.
        """
        is_wanted = MATCHERS[match_type]
        for index, (event, size) in enumerate(self._cache):
            if is_wanted(event.tag, tag):
                del self._cache[index]
                self._cache_bytes -= size
                return event
        for frame in self._decoder:
            wanted = is_wanted(frame.tag, tag)
            if not wanted and not self._is_subscribed(frame.tag):
                continue
            found = frame.event()
            if found is None:
                continue
            if wanted:
                return found
            self._remember(found, len(frame.data) + len(frame.tag))
        return None

    def _is_subscribed(self, tag: str) -> bool:
        return any(MATCHERS[kind](tag, wanted) for wanted, kind in self._subscriptions)

    def _remember(self, event: Event, size: int) -> None:
        self._cache.append((event, size))
        self._cache_bytes += size
        while len(self._cache) > CACHE_EVENTS or self._cache_bytes > CACHE_BYTES:
            self._cache_bytes -= self._cache.popleft()[1]
            self.dropped += 1


#: How a tag matches where nothing is said, as in Salt.
DEFAULT_MATCH_TYPE = "startswith"


def check(match_type: Optional[str], tag: str) -> str:
    """The match type that is meant.

    :raises ValueError: there is no such match type, or the tag is no regular expression.
    """
    if match_type is None:
        return DEFAULT_MATCH_TYPE
    if match_type not in MATCHERS:
        raise ValueError(f"match_type: found {match_type!r}, expected one of {', '.join(MATCHERS)}")
    if match_type == "regex":
        try:
            re.compile(tag)
        except re.error as error:
            raise ValueError(f"the tag {tag!r} is not a valid regular expression: {error}") from None
    return match_type
