"""The client for programs with an asyncio event loop."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, AsyncIterator, Awaitable, Dict, Iterator, Optional, Type, TypeVar, Union

from .client import make_event
from .errors import EvbusError, NoHost, NoRoom, NotConfirmed, TimedOut
from .frame import MAX_ANSWER_BYTES, Event, OutgoingEvent, prefixed, salt_frame
from .inbox import Gap, Inbox, check
from .sockets import RETRY_SECONDS, UNCONFIRMED, Inlet, Outlet, Paths, connect, log, lost
from .verdict import judge, not_in_time

T = TypeVar("T")


class AsyncClient:
    """As :class:`evbus_client.Client`, method by method, for asyncio (and uvloop).

    **Tasks.** Any number may fire; one at a time receives, others wait for it. Every call may be cancelled:
    an event that was being fired may have arrived, and no received event is lost.

    **Threads and loops.** It belongs to the thread and the event loop that use it first.

    **Processes.** After a ``fork`` the child makes connections of its own.
    """

    def __init__(
        self, sock_dir: Union[str, "os.PathLike[str]", None] = None, *, prefix_frames: bool = False
    ) -> None:
        self._paths = Paths(sock_dir)
        self._prefix_frames = prefix_frames
        self._inbox = Inbox()
        self._start()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._receiving: Optional[asyncio.Lock] = None
        self._outlet = Outlet(self._paths.pull)
        self._inlet = Inlet(self._paths.pub, self._inbox)

    def _own(self) -> None:
        if self._pid != os.getpid():
            self._outlet.abandon()
            self._inlet.close()
            self._start()

    # Firing

    async def put(
        self,
        body: Any,
        profile: str = "default",
        tags: Optional[Mapping[str, Any]] = None,
        *,
        run_name: str = "",
        raw: bool = False,
        timeout: Optional[float] = 30,
    ) -> None:
        """As :meth:`evbus_client.Client.put`."""
        await self.put_events([make_event(body, profile, tags, run_name, raw)], timeout)

    async def put_events(self, events: Iterable[OutgoingEvent], timeout: Optional[float] = 30) -> None:
        """As :meth:`evbus_client.Client.put_events`."""
        frames = list(self._frames(events))
        if frames:
            self._own()
            await _within(timeout, self._put(frames))

    async def _put(self, frames: Iterable[bytes]) -> None:
        if not self._outlet.is_idle:
            connection, rest, events = self._outlet.detach()
            try:
                await _finish(connection, [rest], is_asked=events > 0)
            except EvbusError as error:
                log.warning(UNCONFIRMED, events, error)
        while True:
            try:
                connection = connect(self._paths.pull)
                break
            except NoRoom:
                await asyncio.sleep(RETRY_SECONDS / 10)
        await _finish(connection, frames)

    def put_nowait(
        self,
        body: Any,
        profile: str = "default",
        tags: Optional[Mapping[str, Any]] = None,
        *,
        run_name: str = "",
        raw: bool = False,
    ) -> None:
        """As :meth:`evbus_client.Client.put_nowait`; it never waits, so it is no coroutine."""
        event = make_event(body, profile, tags, run_name, raw)
        self._own()
        for frame in self._frames([event]):
            self._outlet.send(frame, confirmed=True)

    async def flush(self, timeout: Optional[float] = 30) -> None:
        """As :meth:`evbus_client.Client.flush`."""
        self._own()
        if not self._outlet.is_idle:
            connection, rest, events = self._outlet.detach()
            await _within(timeout, _finish(connection, [rest], is_asked=events > 0))

    async def fire_event(self, data: Mapping[Any, Any], tag: str, timeout: float = 1000) -> bool:
        """As :meth:`evbus_client.Client.fire_event`."""
        frame = salt_frame(data, tag)
        if self._prefix_frames:
            frame = prefixed(frame)
        self._own()
        give_up = asyncio.get_running_loop().time() + timeout / 1000
        while True:
            try:
                self._outlet.send(frame, confirmed=False)
                return True
            except (NoHost, NoRoom):
                left = give_up - asyncio.get_running_loop().time()
                if left <= 0:
                    return False
                await asyncio.sleep(min(RETRY_SECONDS / 10, left))

    def _frames(self, events: Iterable[OutgoingEvent]) -> Iterator[bytes]:
        for event in events:
            yield prefixed(event.frame) if self._prefix_frames else event.frame

    def probe(self) -> None:
        """As :meth:`evbus_client.Client.probe`; it never waits, so it is no coroutine."""
        connect(self._paths.pull).close()

    # Listening

    def subscribe(self, tag: str, match_type: str = "startswith") -> None:
        """As :meth:`evbus_client.Client.subscribe`; it never waits, so it is no coroutine."""
        self._own()
        self._inbox.subscribe(tag, match_type)
        self._inlet.connect()

    def unsubscribe(self, tag: str, match_type: str = "startswith") -> None:
        """As :meth:`evbus_client.Client.unsubscribe`; it never waits, so it is no coroutine."""
        self._inbox.unsubscribe(tag, match_type)

    async def get_event(
        self,
        wait: float = 5,
        tag: str = "",
        full: bool = False,
        match_type: Optional[str] = None,
        no_block: bool = False,
        auto_reconnect: bool = False,
    ) -> Optional[Dict[Any, Any]]:
        """As :meth:`evbus_client.Client.get_event`."""
        match_type = check(match_type, tag)
        self._own()
        if no_block:
            event = await self._arrived(tag, match_type)
        else:
            try:
                event = await asyncio.wait_for(self._next(tag, match_type), wait or None)
            except asyncio.TimeoutError:
                return None
        if event is None:
            return None
        return event.whole if full else event.data

    async def iter_events(
        self,
        tag: str = "",
        full: Optional[bool] = None,
        match_type: Optional[str] = None,
        auto_reconnect: bool = False,
    ) -> AsyncIterator[Union[Event, Gap, Dict[Any, Any]]]:
        """As :meth:`evbus_client.Client.iter_events`."""
        match_type = check(match_type, tag)
        self._own()
        seen = self._inbox.gap_count
        while True:
            event = await self._next(tag, match_type, seen)
            gaps = self._inbox.gaps_after(seen)
            seen = self._inbox.gap_count
            # What was taken after a gap follows it.
            for gap in gaps if full is None else ():
                yield gap
            if event is not None:
                yield event if full is None else event.whole if full else event.data

    @property
    def gaps(self) -> int:
        """How often the connection broke and was made again while listening."""
        return self._inbox.gap_count

    @property
    def dropped(self) -> int:
        """How many cached events had to go."""
        return self._inbox.dropped

    async def _next(self, tag: str, match_type: str, seen_gaps: Optional[int] = None) -> Optional[Event]:
        """The next event; None as soon as there is a gap that was not seen."""
        if self._receiving is None:
            self._receiving = asyncio.Lock()
        async with self._receiving:
            while True:
                if seen_gaps is not None and seen_gaps != self._inbox.gap_count:
                    return None
                # Nothing is awaited between taking an event and returning it, so that being cancelled
                # loses none.
                event = self._inlet.next(tag, match_type)
                if event is not None:
                    return event
                if seen_gaps is not None and seen_gaps != self._inbox.gap_count:
                    return None
                fd = self._inlet.fileno()
                if self._inlet.has_more:
                    # Other tasks get their turn.
                    await asyncio.sleep(0)
                elif fd is None:
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    await _readable(fd)

    async def _arrived(self, tag: str, match_type: str) -> Optional[Event]:
        """The next of the events that have arrived, whoever else is waiting for some."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + RETRY_SECONDS
        while True:
            event = self._inlet.next(tag, match_type)
            if event is not None or not self._inlet.has_more or loop.time() >= give_up:
                return event
            await asyncio.sleep(0)

    # The end

    async def close(self, timeout: Optional[float] = 30) -> None:
        """As :meth:`evbus_client.Client.close`; call it when no task receives."""
        self._own()
        self._inlet.close()
        await self.flush(timeout)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self.close()


async def _readable(fd: int) -> None:
    """Waits until there is something to read, and leaves it there."""
    loop = asyncio.get_running_loop()
    ready: "asyncio.Future[None]" = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(fd, wake)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


async def _within(timeout: Optional[float], work: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(work, timeout)
    except asyncio.TimeoutError as error:
        if isinstance(error, TimedOut):
            raise
        raise not_in_time(timeout) from None


async def _finish(connection: socket.socket, frames: Iterable[bytes], is_asked: bool = True) -> None:
    loop = asyncio.get_running_loop()
    with connection:
        try:
            for frame in frames:
                await loop.sock_sendall(connection, frame)
            connection.shutdown(socket.SHUT_WR)
            if is_asked:
                answer = b""
                while len(answer) < MAX_ANSWER_BYTES:
                    part = await loop.sock_recv(connection, MAX_ANSWER_BYTES)
                    if not part:
                        break
                    answer += part
                judge(answer)
        except ConnectionError as error:
            if isinstance(error, EvbusError):
                raise
            raise NotConfirmed(error.errno, lost(error)) from None
