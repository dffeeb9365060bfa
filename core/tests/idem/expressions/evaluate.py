"""Evaluates expressions with the real Jinja2, one for each JSON line, and says what they give as JSON.

An order is `{"sample": NAME, "expression": TEXT, "ours": JSON}`. The answer is what Jinja2 gives and what was given as
`ours`, both written in the same way; null is a fault.
"""

import copy
import json
import pathlib
import platform
import sys
import types
import uuid

import jinja2

sys.dont_write_bytecode = True
from filters import FILTERS  # noqa: E402

SAMPLES = json.loads(pathlib.Path(__file__).with_name("samples.json").read_text(encoding="utf-8"))

ENVIRONMENT = jinja2.Environment(undefined=jinja2.StrictUndefined)
ENVIRONMENT.filters.update(FILTERS)


class Variables:
    """An environment without a variable."""

    def __call__(self, name, default=None):
        return default


def names(sample):
    body, profile = sample["body"], sample["profile"]
    found = {
        "profile": profile,
        "tag": profile,
        "parts": profile.split("/"),
        "tags": sample["tags"],
        "body": body,
        "message": body,
        "id": str(uuid.UUID(int=1)),
        "time": 1764547200.123456,
        "env": Variables(),
        "host": platform.node(),
    }
    if set(body) == {"tags", "message", "run_name"}:
        found |= {"message": body["message"], "run_name": body["run_name"]}
    return found


def plain(value):
    """What JSON lacks, in the way of a program that wants to write it."""
    if isinstance(value, (types.GeneratorType, range, type({}.keys()), type({}.values()), type({}.items()), reversed, map)):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def evaluated(sample, expression):
    try:
        compiled = ENVIRONMENT.compile_expression(expression, undefined_to_none=False)
        # Jinja2 can change what it is given.
        value = compiled(**names(copy.deepcopy(SAMPLES[sample])))
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=plain)
    except Exception:
        # A fault of any kind; which, the two say in different words.
        return None


for line in sys.stdin:
    order = json.loads(line)
    theirs = evaluated(order["sample"], order["expression"])
    ours = order["ours"]
    if ours is not None:
        ours = json.dumps(json.loads(ours), ensure_ascii=False)
    print(json.dumps({"ok": {"theirs": theirs, "ours": ours}}), flush=True)
