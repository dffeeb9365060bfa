"""Puts values on a real pop-evbus with each serial plugin, and prints what destinations would get.

Reads a line per value, a description or `{"json": TEXT}`, from a file; prints a line per value:
`{"json": HEX, "msgpack": HEX, "str": HEX}`, with the error's name in place of what there is not.
"""

import datetime
import decimal
import json
import logging
import struct
import sys
import warnings

# This project's contract would tell that no host is to get the events as well.
logging.disable()

with warnings.catch_warnings():
    # Those of the packages themselves.
    warnings.simplefilter("ignore")
    import pop.hub

    hub = pop.hub.Hub()
    hub.pop.sub.add(dyne_name="evbus")


def instant(seconds, microseconds, zone):
    time = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return time.replace(microsecond=microseconds, tzinfo=datetime.timezone.utc if zone else None)


BUILDERS = {
    "none": lambda _: None,
    "bool": bool,
    "int": int,
    "float": lambda bits: struct.unpack(">d", bytes.fromhex(bits))[0],
    "str": str,
    "bytes": bytes.fromhex,
    "list": lambda items: [build(item) for item in items],
    "tuple": lambda items: tuple(build(item) for item in items),
    "set": lambda items: {build(item) for item in items},
    "map": lambda pairs: {build(key): build(value) for key, value in pairs},
    "datetime": lambda parts: instant(*parts),
    "date": datetime.date.fromisoformat,
    "decimal": decimal.Decimal,
    "json": json.loads,
}


def build(description):
    ((kind, content),) = description.items()
    return BUILDERS[kind](content)


def delivered(value, plugin):
    hub.evbus.SERIAL_PLUGIN = plugin
    try:
        hub.evbus.broker.put_nowait(body=value, profile="default")
    except Exception as error:
        return type(error).__name__
    return hub.evbus.BUS.get_nowait().body.hex()


with open(sys.argv[1], encoding="utf-8") as descriptions:
    for line in descriptions:
        value = build(json.loads(line))
        print(json.dumps({plugin: delivered(value, plugin) for plugin in ("json", "msgpack", "str")}))
