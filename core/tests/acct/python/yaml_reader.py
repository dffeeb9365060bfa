"""Reads YAML texts as Idem does: says whether each is read, and whether what the host made of it is the same."""

import json
import sys

import yaml
from rend.rend.yaml_file import YamlSafeLoader


def read(text):
    return yaml.load(text, Loader=YamlSafeLoader)


def typed(value, inside=()):
    """A value with the types and the order of everything in it, as what can be compared."""
    if id(value) in inside:
        return "itself"
    if isinstance(value, dict):
        inside = (*inside, id(value))
        return ["dict", [[typed(k, inside), typed(v, inside)] for k, v in value.items()]]
    if isinstance(value, (list, tuple)):
        # The host has no tuples.
        inside = (*inside, id(value))
        return ["list", [typed(item, inside) for item in value]]
    if isinstance(value, set):
        return ["set", sorted(repr(typed(item)) for item in value)]
    return [type(value).__name__, repr(value)]


def mixed(value, inside=()):
    """Whether a mapping or set in a value has keys that are not text."""
    if id(value) in inside:
        return False
    inside = (*inside, id(value))
    if isinstance(value, (dict, set)) and any(not isinstance(key, str) for key in value):
        return True
    if isinstance(value, dict):
        return any(mixed(item, inside) for item in value.values())
    return isinstance(value, (list, tuple)) and any(mixed(item, inside) for item in value)


def compare(text, ours):
    try:
        value = read(text)
        theirs = typed(value)
    except Exception as error:
        merges = " MERGE" if "<<" in text or "merge" in text else ""
        return {"refused": f"{type(error).__name__}: {error}{merges}"}
    found = {"value": repr(theirs), "itself": "'itself'" in repr(theirs), "mixed": mixed(value)}
    if ours is not None:
        try:
            again = typed({} if ours == "" else read(ours))
        except Exception as error:
            again = repr(error)
        found["same"] = again == theirs
        found["ours"] = repr(again)
    return found


for line in sys.stdin:
    pairs = json.loads(line)
    print(json.dumps({"ok": [compare(*pair) for pair in pairs]}), flush=True)
