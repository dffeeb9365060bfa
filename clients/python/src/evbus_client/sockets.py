"""The Unix sockets, without waiting: what :class:`Client` and :class:`AsyncClient` have in common.

Every socket here is non-blocking. ``connect`` on a Unix socket answers at once, so nothing waits.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from pathlib import Path
from typing import Optional, Tuple, Union

from .errors import LostSync, NoHost, NoRoom, NotConfigured
from .frame import MAX_ANSWER_BYTES, PUB_SOCKET, PULL_SOCKET, Event
from .inbox import Inbox
from .verdict import is_kept

log = logging.getLogger("evbus_client")
UNCONFIRMED = "some of %d events fired without waiting may not have arrived: %s"

READ_BYTES = 64 * 1024
RETRY_SECONDS = 0.1
"""How long a listener stays away from a host that ended, or that closes its connections at once."""


class Paths:
    """The sockets of a directory.

    :raises NotConfigured: there is neither a directory nor ``EVBUS_SOCK_DIR``.
    """

    def __init__(self, sock_dir: Union[str, "os.PathLike[str]", None]) -> None:
        found = os.fspath(sock_dir) if sock_dir is not None else os.environ.get("EVBUS_SOCK_DIR")
        if not found:
            raise NotConfigured(
                "no socket directory; pass sock_dir, or set EVBUS_SOCK_DIR, the one that `evbus run "
                "--sock-dir` was given"
            )
        self.pull = str(Path(found) / PULL_SOCKET)
        self.pub = str(Path(found) / PUB_SOCKET)


MAX_ADDRESS_BYTES = 107
"""The longest path in a socket's address on Linux."""


def _connect(connection: socket.socket, path: str) -> None:
    """Connects to a path of any length: a longer one leads through its directory."""
    if len(os.fsencode(path)) <= MAX_ADDRESS_BYTES:
        connection.connect(path)
        return
    directory, name = os.path.split(path)
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{opened}/{name}")
    finally:
        os.close(opened)


_WORDS = {
    errno.ENOENT: "the socket does not exist",
    errno.ECONNREFUSED: "nothing listens on it",
    errno.EACCES: "this user may not use it",
    errno.EPERM: "this user may not use it",
    errno.ENOTDIR: "part of its path is not a directory",
    errno.EPIPE: "the host closed the connection",
    errno.ECONNRESET: "the host closed the connection",
    errno.ECONNABORTED: "the host closed the connection",
    errno.ENOTCONN: "the host closed the connection",
}


def in_words(error: OSError) -> str:
    """What the system answered, without its codes."""
    return _WORDS.get(error.errno or 0) or error.strerror or str(error)


def lost(error: OSError) -> str:
    """The sentence about a connection that was lost while events were on their way."""
    return (
        f"the connection to the host was lost ({in_words(error)}), and events that it has not acknowledged may "
        "not have arrived; check that the host is running, and see its log"
    )


def connect(path: str) -> socket.socket:
    """A new connection.

    :raises NoHost: nobody listens there.
    :raises NoRoom: the host has not accepted those that connected before; try again in a moment.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _connect(connection, path)
    except BlockingIOError:
        connection.close()
        raise NoRoom(
            errno.EAGAIN, f"the host at {path} is too busy to accept a connection; try again in a moment"
        ) from None
    except OSError as error:
        connection.close()
        if isinstance(error, PermissionError):
            advice = (
                "run the program as the host's user, or start the host with --sock-group and a group of "
                "this user"
            )
        else:
            advice = (
                "check that a host is running with this socket directory (`evbus run --sock-dir`), or use the "
                "directory of one that is"
            )
        raise NoHost(
            error.errno,
            f"cannot connect to the event socket {path}: {in_words(error)}; {advice}",
        ) from None
    return connection


class Inlet:
    """The connection that listens, made again when it breaks. Not thread-safe: its client locks."""

    def __init__(self, path: str, inbox: Inbox) -> None:
        self._path = path
        self._inbox = inbox
        self._socket: Optional[socket.socket] = None
        self._tried_at = -RETRY_SECONDS
        self._heard = False
        self.has_more = False
        """Whether more may have arrived than :meth:`next` has looked at."""

    def next(self, tag: str, match_type: str) -> Optional[Event]:
        """The next wanted one of the events that have arrived, after reading at most once: a bus that
        never pauses must not keep its listener from looking at the time. See :attr:`has_more`."""
        self.has_more = False
        try:
            event = self._inbox.take(tag, match_type)
            if event is None and self.connect() and self._read():
                self.has_more = True
                event = self._inbox.take(tag, match_type)
            return event
        except LostSync as error:
            self._drop(str(error))
            return None

    def fileno(self) -> Optional[int]:
        """What to wait on for more; None while there is no connection: try again after a moment."""
        return None if self._socket is None else self._socket.fileno()

    def connect(self) -> bool:
        """Connects if need be and if it can be."""
        if self._socket is None:
            now = time.monotonic()
            if now < self._tried_at + RETRY_SECONDS:
                return False
            self._tried_at = now
            try:
                self._socket = connect(self._path)
            except (NoHost, NoRoom):
                return False
            self._heard = False
            self._inbox.connected()
        return True

    def close(self) -> None:
        """Closes the connection, on purpose: what is missed until the next one is no gap."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _read(self) -> bool:
        """Reads once; false when there is nothing."""
        assert self._socket is not None
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            self._drop(in_words(error))
            return True
        if data:
            self._inbox.feed(data)
            self._heard = True
        elif self._heard:
            self._drop("the host closed the connection")
        else:
            self._drop(
                "the host closed the connection before it sent anything: it does not let this user listen (see "
                "its --sock-group), has reached its limit of listeners, or has ended; see its log"
            )
        return True

    def _drop(self, reason: str) -> None:
        self.close()
        self._inbox.broke(reason)


class Outlet:
    """The connection that fires without waiting for the host's word.

    A frame that the socket takes only in part is finished with the next call; nothing is kept but its
    rest. Not thread-safe: its client locks.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: Optional[socket.socket] = None
        self._rest = memoryview(b"")
        self._events = 0
        """How many events of ours this connection has taken: the host has not confirmed them."""

    @property
    def is_idle(self) -> bool:
        """Whether the host has confirmed all that it was sent."""
        return self._socket is None

    def send(self, frame: bytes, *, confirmed: bool) -> None:
        """Writes a frame, connecting if need be.

        :param confirmed: whether the host will be asked for its word on it.
        :raises NoHost: nobody listens; nothing of the frame was sent.
        :raises NoRoom: the socket takes nothing; nothing of the frame was sent.
        """
        if self._socket is not None:
            try:
                self._write(frame)
            except ConnectionError as error:
                self.break_off(in_words(error))
            else:
                self._events += confirmed
                return
        self._socket = connect(self._path)
        try:
            self._write(frame)
        except ConnectionError as error:
            self.break_off(in_words(error))
            raise NoHost(
                error.errno,
                f"the host at {self._path} closed the connection at once, and nothing was sent; see the host's log",
            ) from None
        self._events += confirmed

    def fileno(self) -> Optional[int]:
        """What to wait on for room."""
        return None if self._socket is None else self._socket.fileno()

    def detach(self) -> Tuple[socket.socket, bytes, int]:
        """Gives the connection away, to be finished: with what is left to write, and how many events
        want confirming."""
        if self._socket is None:
            raise RuntimeError("there is no connection; ask is_idle first")
        given = (self._socket, bytes(self._rest), self._events)
        self._forget()
        return given

    def break_off(self, why: str) -> None:
        """Closes the connection, and says how many events may be lost with it."""
        if self._socket is not None:
            if self._events and not self._is_confirmed():
                log.warning(UNCONFIRMED, self._events, why)
            self._socket.close()
        self._forget()

    def abandon(self) -> None:
        """In a child process: closes the copy of the parent's connection, which goes on in the parent."""
        if self._socket is not None:
            self._socket.close()
        self._forget()

    def _is_confirmed(self) -> bool:
        """Whether a host that ended had said that it has everything."""
        assert self._socket is not None
        try:
            return not self._rest and is_kept(self._socket.recv(MAX_ANSWER_BYTES))
        except OSError:
            return False

    def _forget(self) -> None:
        self._socket, self._rest, self._events = None, memoryview(b""), 0

    def _write(self, frame: bytes) -> None:
        assert self._socket is not None
        try:
            while self._rest:
                self._rest = self._rest[self._socket.send(self._rest) :]
            # Up to about 100 KiB the kernel takes a frame whole or not at all.
            sent = self._socket.send(frame)
        except BlockingIOError:
            raise NoRoom(
                errno.EAGAIN,
                f"the socket {self._path} has no room, because the host is behind; try again in a moment",
            ) from None
        self._rest = memoryview(frame)[sent:]
