"""Answers one JSON line per JSON line, with pop-evbus itself: which internal queues each event of a file reaches.

The file is loaded, the events are matched and put into queues by pop-evbus's own functions, in the order in which Idem
calls them.
"""

import asyncio
import json
import sys

sys.argv = ["evbus"]

import dict_tools.data
import pop.hub

LIMIT_SECONDS = 60
"""For the events of one file."""

hub = pop.hub.Hub()
hub.pop.sub.add(dyne_name="evbus")
hub.pop.config.load(["evbus", "acct", "rend"], cli="evbus", parse_cli=False)
hub.pop.loop.create()

failures = []
hub.failed = failures.append
# What is loaded cannot be changed; this is the command line's `--error-callback-ref`.
hub.OPT = dict_tools.data.NamespaceDict(hub.OPT, evbus={**hub.OPT["evbus"], "error_callback_ref": "failed"})


async def answer(order):
    contexts = await hub.evbus.acct.profiles(acct_file=order["file"], acct_key=None)
    if order["match_plugin"] == "regex":
        # Loading drops it, so that only glob ever runs; firing would heed it.
        contexts["match_plugin"] = "regex"
    await hub.evbus.broker.init()
    listener = asyncio.ensure_future(hub.evbus.init.start(contexts))
    await hub.evbus.init.join()
    for event, name in enumerate(order["names"]):
        # Both ways in which programs fire.
        if event % 2:
            await hub.evbus.broker.put(body={"event": event}, profile=name)
        else:
            hub.evbus.broker.put_nowait(body={"event": event}, profile=name)
    await hub.evbus.init.stop()
    await listener
    return [sorted(queues) for queues in read(len(order["names"]))]


def read(events):
    """The queues of each event; the queue without a routing key is the empty text, as it is the host's."""
    reached = [[] for _ in range(events)]
    for key, queue in hub.ingress.internal.QUEUE.items():
        while not queue.empty():
            reached[json.loads(queue.get_nowait())["event"]].append(key or "")
    for failure in failures:
        # A profile without data matches, and then pop-evbus takes nothing for a mapping and loses the event.
        if str(failure["exception"]) != "'NoneType' object has no attribute 'get'":
            raise failure["exception"]
        reached[json.loads(failure["body"])["event"]].append("")
    failures.clear()
    return reached


for line in sys.stdin:
    try:
        call = asyncio.wait_for(answer(json.loads(line)), LIMIT_SECONDS)
        print(json.dumps({"ok": hub.pop.Loop.run_until_complete(call)}), flush=True)
    except Exception as error:
        print(json.dumps({"error": repr(error)}), flush=True)
        # What it has left behind would be part of the next answer.
        break
