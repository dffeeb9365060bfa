"""What the host's word at the end of a connection means."""

from __future__ import annotations

import errno
from typing import Optional

from .errors import NotConfirmed, Refused, TimedOut
from .frame import ACKNOWLEDGED


def judge(answer: bytes) -> None:
    """Raises unless the host has everything."""
    if answer == ACKNOWLEDGED:
        return
    if answer:
        raise Refused("the host did not take every event, and its log says why; the others were taken")
    raise NotConfirmed(
        errno.ECONNRESET,
        "the host closed the connection without saying that it has everything; some events may not have "
        "arrived (a Salt master never says it: use fire_event there)",
    )


def not_in_time(timeout: Optional[float]) -> TimedOut:
    return TimedOut(
        errno.ETIMEDOUT, f"the host did not take everything within {timeout} seconds; it may have no room"
    )
