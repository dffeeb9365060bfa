"""What the host's word at the end of a connection means."""

from __future__ import annotations

import errno
from typing import Optional

from .errors import NotConfirmed, Refused, TimedOut
from .frame import KEPT, NOT_KEPT, UNMATCHED


def is_kept(answer: bytes) -> bool:
    """Whether the host keeps every event at every destination that it belongs to; an event without one is
    only for listeners."""
    return answer in (KEPT, UNMATCHED)


def judge(answer: bytes) -> None:
    """Raises unless the host keeps everything; ``answer`` is all that it wrote until the connection ended."""
    if is_kept(answer):
        return
    if answer.startswith(NOT_KEPT):
        reason = answer[1:].decode("utf-8", "replace")
        raise Refused(f"the host did not keep every event: {reason}")
    raise NotConfirmed(
        errno.ECONNRESET,
        "the host closed the connection before it acknowledged all events; some may not have "
        "arrived (a Salt master never acknowledges: use fire_event there)",
    )


def not_in_time(timeout: Optional[float]) -> TimedOut:
    return TimedOut(
        errno.ETIMEDOUT, f"the host did not acknowledge all events within {timeout} seconds; they may still be delivered"
    )
