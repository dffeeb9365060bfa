"""Bodies: checked, and written as the JSON text that destinations get.

A body is what JSON can hold: ``dict`` with ``str`` keys, ``list``, ``tuple``, ``str``, ``int``, ``float``,
``bool`` and ``None``. Sets become sorted lists. Everything else is a :class:`BodyError` at the call, as
are NaN and the infinities, which JSON lacks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from typing import Any, Dict, List, Optional

from .errors import BodyError

MAX_DEPTH = 128
"""The deepest nesting of a body that a host takes, the envelope included."""

_EXACT = frozenset((str, int, bool, type(None)))
_INFINITY = float("inf")


def envelope(message: Any, tags: Optional[Mapping[str, Any]], run_name: str) -> Dict[str, Any]:
    """What stands around a message when it is fired the way Idem fires; no other key ever does."""
    if tags is not None and not isinstance(tags, Mapping):
        raise BodyError(f"tags: found {_kind(tags)}, expected a dict")
    return {"tags": {} if tags is None else tags, "message": message, "run_name": run_name}


def plain(value: Any) -> Any:
    """Copies a body, with nothing in it but the types that JSON has.

    :raises BodyError: it holds what JSON cannot; the text names the place.
    """
    try:
        return _plain(value, 0)
    except _Fault as fault:
        # From the inside out; a deep place is cut.
        place = "".join(f"[{key!r}]" for key in reversed(fault.keys))
        raise BodyError(f"body{place[:200]}: {fault}") from None


def to_text(value: Any) -> str:
    """Writes what :func:`plain` gave: no spaces, characters as they are.

    Half of a surrogate pair, which Python's own file names may hold and UTF-8 may not, leaves as an
    escape; all other characters of that text then do so as well.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text


def from_text(text: str) -> Any:
    """Reads JSON text that is to be sent as it stands.

    :raises BodyError: it is not one JSON value, holds NaN or is nested too deeply.
    """

    def constant(name: str) -> Any:
        raise BodyError(f"the body's JSON text holds {name}, which JSON lacks")

    try:
        value = json.loads(text, parse_constant=constant)
    except RecursionError:
        raise BodyError("body: nested far too deeply") from None
    except json.JSONDecodeError as error:
        raise BodyError(
            f"the body's text is not JSON: {error}; expected one JSON value, such as "
            '{"key": 1} or "text" with its quotes'
        ) from None
    return plain(value)


class _Fault(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.keys: List[Any] = []


def _plain(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind in _EXACT:
        return value
    if isinstance(value, float):
        if value != value or value in (_INFINITY, -_INFINITY):
            raise _Fault(f"found {float(value)!r}, which JSON lacks; expected a finite number")
        return float.__float__(value)
    if isinstance(value, (Mapping, Set, list, tuple)):
        if depth == MAX_DEPTH:
            raise _Fault(f"nested more than {MAX_DEPTH} levels deep, the most a host takes")
        if isinstance(value, Mapping):
            return {_key(key): _item(key, item, depth + 1) for key, item in value.items()}
        if isinstance(value, Set):
            value = _sorted(value)
        return [_item(index, item, depth + 1) for index, item in enumerate(value)]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    raise _Fault(f"found {_kind(value)}, which JSON lacks; convert it before you fire it")


def _item(key: Any, value: Any, depth: int) -> Any:
    try:
        return _plain(value, depth)
    except _Fault as fault:
        fault.keys.append(key)
        raise


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise _Fault(f"found {_kind(key)} {key!r} as a key, expected str")
    return str.__str__(key)


def _sorted(value: Any) -> Any:
    try:
        return sorted(value)
    except TypeError as error:
        raise _Fault(f"the set cannot be sorted: {error}; fire a list") from None


def _kind(value: Any) -> str:
    return type(value).__name__
