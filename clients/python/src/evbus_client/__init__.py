"""Fire events at an evbus host or a Salt master, and listen to them.

>>> from evbus_client import Client
>>> with Client("/run/evbus") as client:                                    # doctest: +SKIP
...     client.put({"name": "web", "result": True}, profile="idem-run", tags={"type": "state-result"})

:class:`Client` is for programs with threads, :class:`AsyncClient` for asyncio. Both are made for a socket
directory: the one that ``evbus run --sock-dir`` was given, or a Salt master's.
"""

from .asynchronous import AsyncClient
from .client import Client
from .errors import (
    BodyError,
    EvbusError,
    LostSync,
    NoHost,
    NoRoom,
    NotConfigured,
    NotConfirmed,
    Refused,
    TimedOut,
)
from .frame import Event, OutgoingEvent
from .inbox import Gap

__all__ = [
    "AsyncClient",
    "BodyError",
    "Client",
    "EvbusError",
    "Event",
    "Gap",
    "LostSync",
    "NoHost",
    "NoRoom",
    "NotConfigured",
    "NotConfirmed",
    "OutgoingEvent",
    "Refused",
    "TimedOut",
]
