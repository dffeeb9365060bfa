"""From Idem's event loop to the host, without ever making Idem wait.

Events wait in a bounded queue; a thread sends them in batches, each on a connection that the host confirms.
What it has not confirmed is sent again on a new connection, with the ids it had.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import threading
import time
from collections import deque
from typing import Deque, List, Optional, Set

from evbus_client import (
    BodyError,
    Client,
    EvbusError,
    NoHost,
    NotConfigured,
    NotConfirmed,
    OutgoingEvent,
    Refused,
)

QUEUE_EVENTS = 10_000
QUEUE_BYTES = 64 * 1024 * 1024
"""What may wait for the host; more is dropped."""
BATCH_BYTES = 8 * 1024 * 1024
FLUSH_SECONDS = 5.0
"""How long the end of a run waits for the host to take what is left."""
RETRY_SECONDS = 0.2
"""Between two attempts to reach a host that was there."""
ATTEMPTS = 3
"""How often a host that confirms nothing, as a Salt master does, is sent the same events."""
LOOK_SECONDS = 1.0
"""Between two looks for a host that was never there."""

log = logging.getLogger("evbus_idem")


class Bridge:
    """Passes events on. Any thread may call it; nothing here waits but :meth:`close`."""

    def __init__(self) -> None:
        self._start()
        atexit.register(self.close)

    def _start(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._waiting: Deque[OutgoingEvent] = deque()
        self._batch: List[OutgoingEvent] = []
        self._attempts = 0
        self._is_gone = False
        self._bytes = 0
        self._lost = 0
        self._client: Optional[Client] = None
        self._thread: Optional[threading.Thread] = None
        self._is_off = False
        self._is_closing = False
        self._look_at = 0.0
        self._told: Set[str] = set()
        self._to_tell: List[str] = []

    def wants_events(self) -> bool:
        """Whether there is, or was, a host: without one an event costs next to nothing."""
        if self._pid != os.getpid():
            # A forked child has no thread, and what waited is its parent's.
            self._start()
        self._tell_all()
        if self._is_off or self._is_closing:
            return False
        return self._thread is not None or self._look_for_host()

    def fire(self, text: str, profile: str) -> None:
        """Queues an event whose body is JSON text."""
        try:
            event = OutgoingEvent.from_json(text, profile)
        except BodyError:
            # Python's own JSON has NaN and the infinities; text keeps what they say.
            event = OutgoingEvent.raw(json.loads(text, parse_constant=str), profile)
        with self._changed:
            has_room = len(self._waiting) < QUEUE_EVENTS and self._bytes + len(event.frame) <= QUEUE_BYTES
            if has_room:
                self._waiting.append(event)
                self._bytes += len(event.frame)
                self._changed.notify_all()
            else:
                self._lost += 1
        if not has_room:
            self._tell(
                "full",
                "the evbus host is behind: events of Idem are dropped until it catches up; the end of the "
                "run says how many",
            )

    def failed(self, error: Exception) -> None:
        """Notes that an event could not be passed on; says so once."""
        with self._changed:
            self._lost += 1
        self._tell("failed", f"an event of Idem could not be passed on to the evbus host: {error}")

    def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """Waits until the host has everything, at most for a time, and says what it has not.

        A host that is gone by then is not waited for.
        """
        if self._pid != os.getpid() or self._thread is None:
            return
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(seconds)
        self._tell_all()
        with self._changed:
            lost = self._lost + len(self._waiting) + len(self._batch)
        if lost:
            log.warning("the evbus host did not get %d events of this run, or did not confirm them", lost)

    def _look_for_host(self) -> bool:
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_SECONDS
        try:
            client = Client()
            # A host that is there takes it; so this asks and sends nothing.
            client.probe()
        except NotConfigured:
            self._is_off = True
            self._tell("off", "EVBUS_SOCK_DIR is not set: events of Idem go to no evbus host")
            return False
        except EvbusError as error:
            self._tell("off", f"events of Idem go to no evbus host: {error}")
            return False
        with self._changed:
            if self._thread is None:
                self._client = client
                self._thread = threading.Thread(target=self._send_all, name="evbus-idem", daemon=True)
                self._thread.start()
        return True

    # The thread

    def _send_all(self) -> None:
        while self._next_batch():
            self._attempts = 0
            while not self._send():
                with self._changed:
                    if self._is_closing and self._is_gone:
                        return
                    self._changed.wait(RETRY_SECONDS)

    def _next_batch(self) -> bool:
        """Waits for events; false when there are none left and there will be no more."""
        with self._changed:
            self._batch = []
            while not self._waiting:
                if self._is_closing:
                    return False
                self._changed.wait()
            size = 0
            while self._waiting and size < BATCH_BYTES:
                event = self._waiting.popleft()
                self._batch.append(event)
                size += len(event.frame)
            self._bytes -= size
            return True

    def _send(self) -> bool:
        """Sends the batch; false when it has to be tried again."""
        assert self._client is not None
        try:
            # However long the host takes: the queue is bounded, and Idem does not wait for this thread.
            self._client.put_events(self._batch, timeout=None)
        except NoHost as error:
            self._is_gone = True
            self._tell_later("gone", f"the evbus host is gone, and events of Idem wait for it: {error}")
            return False
        except (NotConfirmed, Refused) as error:
            # Which of them it has not kept is not known: some may arrive twice, under the same ids.
            self._is_gone = False
            self._attempts += 1
            if self._attempts < ATTEMPTS:
                return False
            self._give_up(f"{len(self._batch)} events of Idem were not confirmed: {error}")
        except Exception as error:
            self._give_up(f"{len(self._batch)} events of Idem could not be sent: {error}")
        return True

    def _give_up(self, why: str) -> None:
        with self._changed:
            self._lost += len(self._batch)
        self._tell_later("lost", why)

    # What is said. Idem's log may be a provider of events itself, whose queue belongs to Idem's thread: so
    # the thread above says nothing, and nothing is said while the lock is held.

    def _tell_later(self, kind: str, text: str) -> None:
        with self._changed:
            if kind not in self._told:
                self._told.add(kind)
                self._to_tell.append(text)

    def _tell_all(self) -> None:
        while self._to_tell:
            try:
                text = self._to_tell.pop(0)
            except IndexError:
                return
            log.warning("%s", text)

    def _tell(self, kind: str, text: str) -> None:
        self._tell_later(kind, text)
        self._tell_all()


BRIDGE = Bridge()
