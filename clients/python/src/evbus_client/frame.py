"""Events as frames of the event sockets, and back. ``docs/EVENT_SOCKETS.md`` describes the format."""

from __future__ import annotations

import datetime
import itertools
import os
import secrets
import time
import uuid
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, Optional

import msgpack

from . import body as bodies
from .errors import BodyError, LostSync

PULL_SOCKET = "master_event_pull.ipc"
PUB_SOCKET = "master_event_pub.ipc"
KEPT = b"\x06"
UNMATCHED = b"\x1a"
NOT_KEPT = b"\x15"
MAX_ANSWER_BYTES = 1024
MAX_FRAME_BYTES = 100 * 1024 * 1024
MAX_TAG_BYTES = 64 * 1024

_STAMP = "_stamp"
_DATETIME = 78
_DATETIME_FORMAT = "%Y%m%dT%H:%M:%S.%f"


@dataclass(frozen=True)
class OutgoingEvent:
    """An event that is ready to be fired: checked, with its id and its time.

    Firing it twice fires the same event twice: destinations see one id. Make it with :meth:`message`,
    :meth:`raw` or :meth:`from_json`; all raise :class:`BodyError` when a host would not take it.
    """

    profile: str
    """What patterns are matched against; Salt calls it the tag."""
    json: str
    """The body's text, which destinations get byte for byte."""
    id: uuid.UUID
    time_unix_ns: int
    frame: bytes = field(repr=False)
    """The frame, without a length before it."""

    @classmethod
    def message(
        cls,
        body: Any,
        profile: str = "default",
        tags: Optional[Mapping[str, Any]] = None,
        run_name: str = "",
    ) -> "OutgoingEvent":
        """An event with ``body`` as the message in the envelope, as Idem fires it."""
        return cls.raw(bodies.envelope(body, tags, run_name), profile)

    @classmethod
    def raw(cls, body: Any, profile: str = "default") -> "OutgoingEvent":
        """An event with ``body`` alone, as Idem's lower layer (``broker.put``) fires it."""
        value = bodies.plain(body)
        return cls._make(value, bodies.to_text(value), profile)

    @classmethod
    def from_json(cls, text: str, profile: str = "default") -> "OutgoingEvent":
        """An event whose body is JSON text, spaces and all."""
        return cls._make(bodies.from_text(text), text, profile)

    @classmethod
    def _make(cls, value: Any, text: str, profile: str) -> "OutgoingEvent":
        tag = _tag(profile)
        now = time.time_ns()
        event_id = _next_id(now)
        stamp = _stamp(now)
        wrap = not isinstance(value, dict) or _STAMP in value
        data = {"body": value, _STAMP: stamp} if wrap else {**value, _STAMP: stamp}
        head: Dict[str, Any] = {"id": event_id.bytes, "time": now}
        if wrap:
            head["wrap"] = True
        head["json"] = text
        frame = _frame({"evbus": head}, tag, _pack(data))
        return cls(profile, text, event_id, now, frame)


@dataclass(frozen=True)
class Event:
    """An event as a listener receives it."""

    tag: str
    data: Dict[Any, Any]
    """Salt's DATA, with ``_stamp``."""
    id: Optional[uuid.UUID] = None
    """None where a Salt program fired the event."""
    time_unix_ns: Optional[int] = None
    """When an evbus program fired it, in nanoseconds since 1970."""
    wrapped: bool = field(default=False, repr=False)

    @property
    def profile(self) -> str:
        """The tag, by its name in evbus."""
        return self.tag

    @property
    def whole(self) -> Dict[Any, Any]:
        """What Salt's library gives for ``full=True``."""
        return {"tag": self.tag, "data": self.data}

    @property
    def body(self) -> Any:
        """The body as it was fired; for an event of a Salt program, DATA."""
        if self.id is None:
            return self.data
        if self.wrapped:
            return self.data.get("body")
        return {key: value for key, value in self.data.items() if key != _STAMP}


def salt_frame(data: Mapping[Any, Any], tag: str) -> bytes:
    """The frame of an event as Salt's programs write it, with ``_stamp``."""
    if not isinstance(data, Mapping):
        raise BodyError(f"data: found {type(data).__name__}, expected a dict")
    stamped = {**data, _STAMP: _stamp(time.time_ns())}
    return _frame({}, _tag(tag), _pack(stamped, default=_salt_default))


def prefixed(frame: bytes) -> bytes:
    """The frame after its length, as Salt 3006.26, 3007.15, 3008.2 and their later releases fire."""
    return len(frame).to_bytes(4, "big") + frame


@dataclass(frozen=True)
class Frame:
    """A frame that arrived, before anybody wanted its DATA."""

    tag: str
    data: bytes
    head: Any

    def event(self) -> Optional[Event]:
        """The event in it; None where DATA is no map."""
        try:
            data = msgpack.unpackb(
                self.data,
                raw=False,
                strict_map_key=False,
                unicode_errors="surrogateescape",
                ext_hook=_ext_hook,
            )
        except (ValueError, TypeError, msgpack.UnpackException):
            return None
        if not isinstance(data, dict):
            return None
        ours = self.head.get(b"evbus") if isinstance(self.head, dict) else None
        if not isinstance(ours, dict):
            return Event(self.tag, data)
        event_id, fired = ours.get(b"id"), ours.get(b"time")
        if not isinstance(event_id, bytes) or len(event_id) != 16 or not isinstance(fired, int):
            return Event(self.tag, data)
        return Event(self.tag, data, uuid.UUID(bytes=event_id), fired, ours.get(b"wrap") is True)


class Decoder:
    """Finds frames in what one connection to a pub socket sends, whichever framing it has.

    Keeps no more than one frame of at most 100 MiB and what has been fed.
    """

    def __init__(self) -> None:
        self._is_prefixed: Optional[bool] = None
        self._buffer = bytearray()
        self._bare = _unpacker()

    def feed(self, data: bytes) -> None:
        """Takes what was read.

        :raises LostSync: it is no frame, or too long a one.
        """
        if self._is_prefixed is None and data:
            self._is_prefixed = data[0] < 0x80
        if self._is_prefixed:
            self._buffer += data
            return
        try:
            self._bare.feed(data)
        except msgpack.BufferFull:
            raise LostSync(f"the host sent a frame of more than {MAX_FRAME_BYTES} bytes") from None

    def __iter__(self) -> Iterator[Frame]:
        """The frames that are whole; those without a tag are skipped."""
        while True:
            found = self._next()
            if found is None:
                return
            frame = _content(found)
            if frame is not None:
                yield frame

    def _next(self) -> Optional[Dict[Any, Any]]:
        try:
            if not self._is_prefixed:
                value = self._bare.unpack()
            else:
                if len(self._buffer) < 4:
                    return None
                end = 4 + int.from_bytes(self._buffer[:4], "big")
                if not 4 < end <= 4 + MAX_FRAME_BYTES:
                    raise LostSync(f"the host announced a frame of {end - 4} bytes")
                if len(self._buffer) < end:
                    return None
                payload = bytes(self._buffer[4:end])
                del self._buffer[:end]
                value = msgpack.unpackb(payload, raw=True, strict_map_key=False)
        except msgpack.OutOfData:
            return None
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise LostSync(f"the host sent data that is not msgpack: {error}") from None
        if not isinstance(value, dict):
            raise LostSync(f"the host sent {type(value).__name__}, expected a frame, which is a map")
        return value


def _unpacker() -> Any:
    return msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=MAX_FRAME_BYTES)


def _content(value: Dict[Any, Any]) -> Optional[Frame]:
    content = value.get(b"body")
    if not isinstance(content, bytes):
        return None
    tag, end, data = content.partition(b"\n\n")
    if not tag or not end:
        return None
    try:
        return Frame(tag.decode(), data, value.get(b"head"))
    except UnicodeDecodeError:
        return None


def _tag(profile: str) -> bytes:
    if not isinstance(profile, str):
        raise BodyError(f"the profile: found {type(profile).__name__}, expected str")
    try:
        tag = profile.encode()
    except UnicodeEncodeError as error:
        raise BodyError(f"the profile {profile!r} cannot be written as UTF-8: {error.reason}") from None
    if not tag or len(tag) > MAX_TAG_BYTES or b"\n\n" in tag:
        raise BodyError(
            f"the profile has {len(tag)} bytes; expected 1 to {MAX_TAG_BYTES} without two newlines in a row"
        )
    return tag


def _frame(head: Dict[str, Any], tag: bytes, data: bytes) -> bytes:
    frame: bytes = msgpack.packb({"head": head, "body": tag + b"\n\n" + data}, use_bin_type=True)
    if len(frame) > MAX_FRAME_BYTES:
        raise BodyError(f"the event's frame has {len(frame)} bytes; expected at most {MAX_FRAME_BYTES}")
    return frame


def _pack(data: Any, default: Any = None) -> bytes:
    packed: bytes = msgpack.packb(
        data, use_bin_type=True, unicode_errors="replace", default=default or _big_integer
    )
    return packed


def _big_integer(value: Any) -> Any:
    # Integers that need more than 64 bits are the only thing that msgpack lacks and a body may hold.
    return str(value)


def _salt_default(value: Any) -> Any:
    if isinstance(value, (datetime.datetime, datetime.date)):
        return msgpack.ExtType(_DATETIME, value.strftime(_DATETIME_FORMAT).encode())
    if isinstance(value, Set):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, int):
        return str(value)
    raise BodyError(f"data holds {type(value).__name__}, which Salt's events cannot; convert it first")


def _ext_hook(code: int, data: bytes) -> Any:
    if code == _DATETIME:
        try:
            return datetime.datetime.strptime(data.decode(), _DATETIME_FORMAT)
        except ValueError:
            pass
    return msgpack.ExtType(code, data)


def _stamp(unix_ns: int) -> str:
    """UTC with microseconds and without an offset, as Salt 3006 and 3007 write it."""
    seconds, rest = divmod(unix_ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest // 1000:06}"


class _Ids:
    """Ids in the form of a version 7 UUID: milliseconds, a counter, and 42 bits drawn once per process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.counter = itertools.count()
        self.process = secrets.randbits(42)


_ids = _Ids()


def _next_id(unix_ns: int) -> uuid.UUID:
    global _ids
    ids = _ids
    if ids.pid != os.getpid():
        ids = _ids = _Ids()
    counter = next(ids.counter) & 0xFFFF_FFFF
    return uuid.UUID(
        int=((unix_ns // 1_000_000) & (1 << 48) - 1) << 80
        | 0x7 << 76
        | (counter >> 20) << 64
        | 0b10 << 62
        | (counter & 0xF_FFFF) << 42
        | ids.process
    )
