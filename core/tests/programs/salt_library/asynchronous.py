"""Listens and fires through Salt's asynchronous interface, and prints what was heard.

Argument: the directory of the event sockets. Prints one JSON object: the tags "heard" up to the last one
fired, what the Python runtime "warned" of, and the errors of calls that are "refused".
"""

import json
import sys
import warnings

import salt.utils.event

try:
    from salt.ext.tornado import gen, ioloop  # Salt 3006 has its own.
except ImportError:
    from tornado import gen, ioloop

heard = []


def note(raw):
    tag, _data = salt.utils.event.SaltEvent.unpack(raw)
    heard.append(tag)


async def note_async(raw):
    note(raw)


async def until(condition, meanwhile=lambda: None):
    while not condition():
        meanwhile()
        await gen.sleep(0.01)


async def main(loop, sock_dir):
    listening = salt.utils.event.MasterEvent(sock_dir, io_loop=loop)
    firing = salt.utils.event.MasterEvent(sock_dir, listen=False, io_loop=loop)
    handler = note if salt.version.__version__.startswith("3006.") else note_async
    listening.set_event_handler(handler)
    # Nothing tells when it has connected.
    await until(lambda: heard, lambda: firing.fire_event({}, "ready"))

    refused = []
    try:
        listening.get_event(wait=0)
    except AssertionError:
        refused.append("get_event")

    firing.fire_event({"n": 1}, "fire_event")
    await firing.fire_event_async({"n": 2}, "fire_event_async")
    with salt.utils.event.MasterEvent(sock_dir, listen=False) as blocking:
        await blocking.fire_event_async({"n": 3}, "blocking/fire_event_async")
        await until(lambda: "blocking/fire_event_async" in heard)
    firing.fire_event({}, "end")
    await until(lambda: "end" in heard)
    return refused


with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", RuntimeWarning)
    loop = ioloop.IOLoop()
    loop.make_current()
    refused = loop.run_sync(lambda: main(loop, sys.argv[1]))
    warned = [str(it.message) for it in caught if it.category is RuntimeWarning]
print(json.dumps({"heard": heard, "warned": warned, "refused": refused}))
