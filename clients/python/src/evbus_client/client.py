"""The client for programs with threads."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Dict, Iterator, Optional, Type, Union

from .errors import EvbusError, NoHost, NoRoom, NotConfirmed, TimedOut
from .frame import MAX_ANSWER_BYTES, Event, OutgoingEvent, prefixed, salt_frame
from .inbox import Gap, Inbox, check
from .sockets import RETRY_SECONDS, UNCONFIRMED, Inlet, Outlet, Paths, connect, log, lost
from .verdict import judge, not_in_time


class Client:
    """Fires events at the host of a socket directory, and listens to it.

    Nothing is connected until it is used, and a broken connection is made again by itself, so a client
    may be made before its host runs and outlive it.

    **Threads.** Any number may fire, also while another listens. One thread at a time receives;
    others wait for it.

    **Processes.** A client may be used on both sides of a ``fork``: the child makes connections of its
    own. What the parent had not finished sending stays the parent's; subscriptions and cached events
    are copied.

    :param sock_dir: the socket directory; ``EVBUS_SOCK_DIR`` if it is not given.
    :param prefix_frames: put its length before each frame that is fired: needed to fire at a master of
        Salt 3006.26, 3007.15, 3008.2 and their later releases. An evbus host takes both. What is
        listened to needs no setting.
    :raises NotConfigured: there is neither.
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
        self._firing = threading.Lock()
        self._listening = threading.RLock()
        self._outlet = Outlet(self._paths.pull)
        self._inlet = Inlet(self._paths.pub, self._inbox)

    def _own(self) -> None:
        """In a forked child: leaves the parent's connections and locks, which are copies, alone."""
        if self._pid != os.getpid():
            self._outlet.abandon()
            self._inlet.close()
            self._start()

    # Firing

    def put(
        self,
        body: Any,
        profile: str = "default",
        tags: Optional[Mapping[str, Any]] = None,
        *,
        run_name: str = "",
        raw: bool = False,
        timeout: Optional[float] = 30,
    ) -> None:
        """Fires an event and waits until the host has it: in the queues of every destination that it
        goes to, and on disk where one is ``durable``.

        Events that are fired one after the other arrive in that order, those of :meth:`put_nowait`
        included. Threads that fire at the same time, with waiting and without, take a client each if
        each one's order matters.

        :param body: the message; see :mod:`evbus_client.body` for what it may hold.
        :param profile: what the patterns of destinations are matched against.
        :param tags: stand beside the message in the envelope; those that are strings also travel as
            Kafka headers and AMQP properties.
        :param run_name: the run that the event belongs to, in the envelope.
        :param raw: fire the body alone, without the envelope; ``tags`` and ``run_name`` are not used.
        :param timeout: seconds to wait for the host; None waits without end. A host without room for
            the event answers when it has room.
        :raises BodyError: the event cannot be made; nothing was sent.
        :raises NoHost: no host runs; nothing was sent.
        :raises NotConfirmed: the host ended before it answered; fire it again and it may arrive twice.
        :raises Refused: the host did not take it.
        :raises TimedOut: the host did not answer in time; it may still take the event.
        """
        self.put_events([make_event(body, profile, tags, run_name, raw)], timeout)

    def put_events(self, events: Iterable[OutgoingEvent], timeout: Optional[float] = 30) -> None:
        """Fires many events in one go, and waits until the host has them all. Much faster than one
        :meth:`put` each.

        :raises NotConfirmed, Refused, TimedOut: some may not have arrived; firing the same
            :class:`OutgoingEvent` again keeps its id, by which destinations know it.
        """
        frames = list(self._frames(events))
        if not frames:
            return
        self._own()
        deadline = _Deadline(timeout)
        with self._firing:
            # Else an event fired before this one could arrive after it.
            earlier = None if self._outlet.is_idle else self._outlet.detach()
        if earlier is not None:
            try:
                _finish(earlier[0], [earlier[1]], deadline, timeout, is_asked=earlier[2] > 0)
            except TimedOut:
                raise
            except EvbusError as error:
                log.warning(UNCONFIRMED, earlier[2], error)
        _finish(_connect(self._paths.pull, deadline, timeout), frames, deadline, timeout)

    def put_nowait(
        self,
        body: Any,
        profile: str = "default",
        tags: Optional[Mapping[str, Any]] = None,
        *,
        run_name: str = "",
        raw: bool = False,
    ) -> None:
        """Fires an event and never waits: it is in the socket, or the call raises.

        That the host has it is known after :meth:`flush`. An event longer than about 100 KiB may be
        taken in part; the rest is written with the next call.

        :raises BodyError: the event cannot be made.
        :raises NoHost: no host runs.
        :raises NoRoom: the socket takes nothing now; nothing was sent. Try later, or drop the event.
        """
        event = make_event(body, profile, tags, run_name, raw)
        self._own()
        with self._firing:
            for frame in self._frames([event]):
                self._outlet.send(frame, confirmed=True)

    def flush(self, timeout: Optional[float] = 30) -> None:
        """Waits until the host has all that was fired without waiting.

        :raises NotConfirmed, Refused, TimedOut: some of it may not have arrived.
        """
        self._own()
        with self._firing:
            if self._outlet.is_idle:
                return
            connection, rest, events = self._outlet.detach()
        _finish(connection, [rest], _Deadline(timeout), timeout, is_asked=events > 0)

    def fire_event(self, data: Mapping[Any, Any], tag: str, timeout: float = 1000) -> bool:
        """Fires an event as a Salt program does: ``data`` as it is, with ``_stamp``. The host never
        answers; so this is the way to fire at a Salt master.

        :param timeout: milliseconds, as for Salt, to wait for a host, and for room in the socket.
        :return: whether the socket has it.
        :raises BodyError: ``data`` is no dict, or holds what msgpack lacks.
        """
        frame = salt_frame(data, tag)
        if self._prefix_frames:
            frame = prefixed(frame)
        self._own()
        deadline = _Deadline(timeout / 1000)
        while True:
            with self._firing:
                try:
                    self._outlet.send(frame, confirmed=False)
                    return True
                except (NoHost, NoRoom):
                    waiting = self._outlet.fileno()
            if deadline.is_over():
                return False
            if waiting is None:
                time.sleep(deadline.at_most(RETRY_SECONDS))
            else:
                _wait(waiting, select.POLLOUT, deadline.at_most(RETRY_SECONDS))

    def _frames(self, events: Iterable[OutgoingEvent]) -> Iterator[bytes]:
        for event in events:
            yield prefixed(event.frame) if self._prefix_frames else event.frame

    def probe(self) -> None:
        """Returns if a host listens for events; never waits, and sends nothing.

        :raises NoHost: none does.
        :raises NoRoom: it has not accepted those that connected before.
        """
        connect(self._paths.pull).close()

    # Listening

    def subscribe(self, tag: str, match_type: str = "startswith") -> None:
        """Keeps events with this tag for later: those that arrive while :meth:`get_event` waits for
        another tag are cached instead of forgotten. Connects, if there is a host.

        At most 10,000 events and 32 MiB are cached; then the oldest go, counted in :attr:`dropped`.
        """
        self._own()
        with self._listening:
            self._inbox.subscribe(tag, match_type)
            self._inlet.connect()

    def unsubscribe(self, tag: str, match_type: str = "startswith") -> None:
        """Ends one :meth:`subscribe`, and forgets what was cached for it alone."""
        self._own()
        with self._listening:
            self._inbox.unsubscribe(tag, match_type)

    def get_event(
        self,
        wait: float = 5,
        tag: str = "",
        full: bool = False,
        match_type: Optional[str] = None,
        no_block: bool = False,
        auto_reconnect: bool = False,
    ) -> Optional[Dict[Any, Any]]:
        """The next event whose tag matches, as Salt's ``get_event`` gives it; None when there was none
        in time, and when there is no host.

        Events with other tags that come before it are forgotten, unless :meth:`subscribe` wants them.
        There is no replay: what was published before the client connected is not seen. It connects
        with the first call of a listening method, and again by itself, for as long as it waits.

        :param wait: seconds; 0 waits without end.
        :param full: give ``{"tag": TAG, "data": DATA}`` in place of DATA.
        :param match_type: how ``tag`` matches: startswith (the default), endswith, find, regex or
            fnmatch.
        :param no_block: look only at what has arrived, for a tenth of a second at most.
        :param auto_reconnect: taken since Salt has it; this client always connects again.
        :raises ValueError: there is no such match type, or the tag is no regular expression.
        """
        match_type = check(match_type, tag)
        self._own()
        seconds = RETRY_SECONDS if no_block else wait or None
        event = self._next(tag, match_type, _Deadline(seconds), no_block)
        if event is None:
            return None
        return event.whole if full else event.data

    def iter_events(
        self,
        tag: str = "",
        full: Optional[bool] = None,
        match_type: Optional[str] = None,
        auto_reconnect: bool = False,
    ) -> Iterator[Union[Event, Gap, Dict[Any, Any]]]:
        """Every event whose tag matches, without end, as :class:`Event`; and a :class:`Gap` wherever
        the connection broke and was made again, since events may be missing there.

        :param full: as Salt's: True gives ``{"tag": TAG, "data": DATA}`` and False DATA in place of
            :class:`Event`, and no :class:`Gap`.
        :param match_type: as for :meth:`get_event`.
        :param auto_reconnect: as for :meth:`get_event`.
        """
        match_type = check(match_type, tag)
        seen = self._inbox.gap_count
        while True:
            self._own()
            with self._listening:
                # Short waits, so that other threads get their turn and a gap is shown when it ends.
                event = self._next(tag, match_type, _Deadline(RETRY_SECONDS))
                gaps = self._inbox.gaps_after(seen)
                seen = self._inbox.gap_count
            # What was taken after a gap follows it.
            if full is None:
                yield from gaps
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

    def _next(
        self, tag: str, match_type: str, deadline: "_Deadline", no_block: bool = False
    ) -> Optional[Event]:
        with self._listening:
            while True:
                event = self._inlet.next(tag, match_type)
                if event is not None or deadline.is_over():
                    return event
                if self._inlet.has_more:
                    continue
                if no_block:
                    return None
                fd = self._inlet.fileno()
                if fd is None:
                    time.sleep(deadline.at_most(RETRY_SECONDS))
                else:
                    _wait(fd, select.POLLIN, deadline.left())

    # The end

    def close(self, timeout: Optional[float] = 30) -> None:
        """Flushes, and closes the connections; the client may be used again.

        :raises NotConfirmed, Refused, TimedOut: as :meth:`flush`.
        """
        self._own()
        with self._listening:
            self._inlet.close()
        self.flush(timeout)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()


def make_event(
    body: Any, profile: str, tags: Optional[Mapping[str, Any]], run_name: str, raw: bool
) -> OutgoingEvent:
    """The event of one call of ``put`` or ``put_nowait``."""
    if raw:
        return OutgoingEvent.raw(body, profile)
    return OutgoingEvent.message(body, profile, tags, run_name)


class _Deadline:
    def __init__(self, seconds: Optional[float]) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds

    def left(self) -> Optional[float]:
        return None if self._at is None else max(0.0, self._at - time.monotonic())

    def at_most(self, seconds: float) -> float:
        left = self.left()
        return seconds if left is None else min(seconds, left)

    def is_over(self) -> bool:
        return self.left() == 0


def _wait(fd: int, event: int, seconds: Optional[float]) -> bool:
    """Waits for a socket; unlike ``select``, whatever its number is."""
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(None if seconds is None else int(seconds * 1000) + 1 if seconds else 0))


def _connect(path: str, deadline: _Deadline, timeout: Optional[float]) -> socket.socket:
    while True:
        try:
            return connect(path)
        except NoRoom:
            if deadline.is_over():
                raise not_in_time(timeout) from None
            time.sleep(deadline.at_most(RETRY_SECONDS / 10))


def _finish(
    connection: socket.socket,
    frames: Iterable[bytes],
    deadline: _Deadline,
    timeout: Optional[float],
    is_asked: bool = True,
) -> None:
    """Writes what is left, and waits for the host's word on everything that the connection has taken."""
    fd = connection.fileno()
    with connection:
        try:
            for frame in frames:
                rest = memoryview(frame)
                while rest:
                    try:
                        rest = rest[connection.send(rest) :]
                    except BlockingIOError:
                        if not _wait(fd, select.POLLOUT, deadline.left()):
                            raise not_in_time(timeout) from None
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while is_asked and len(answer) < MAX_ANSWER_BYTES:
                try:
                    part = connection.recv(MAX_ANSWER_BYTES)
                except BlockingIOError:
                    if not _wait(fd, select.POLLIN, deadline.left()):
                        raise not_in_time(timeout) from None
                else:
                    if not part:
                        break
                    answer += part
            if is_asked:
                judge(answer)
        except ConnectionError as error:
            if isinstance(error, EvbusError):
                raise
            raise NotConfirmed(error.errno, lost(error)) from None
