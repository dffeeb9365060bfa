"""Fires so many events through pop-evbus at its queue for the program itself; prints the seconds that it took, and those
of processor time."""

import asyncio
import sys
import time

EVENTS = int(sys.argv[1])
sys.argv = ["evbus"]

import pop.hub

hub = pop.hub.Hub()
hub.pop.sub.add(dyne_name="evbus")
hub.pop.config.load(["evbus", "acct", "rend"], cli="evbus", parse_cli=False)
hub.pop.loop.create()


async def fire():
    contexts = {"internal": [{"idem-*": {"routing_key": "bench"}}]}
    await hub.evbus.broker.init()
    bus = asyncio.ensure_future(hub.evbus.init.start(contexts))
    await hub.evbus.init.join()
    begun, used = time.perf_counter(), time.process_time()
    for number in range(EVENTS):
        await hub.evbus.broker.put(body={"tags": {}, "message": number, "run_name": ""}, profile="idem-run")
    await hub.evbus.init.stop()
    await bus
    took, used = time.perf_counter() - begun, time.process_time() - used
    arrived = (await hub.ingress.internal.get(routing_key="bench")).qsize()
    assert arrived == EVENTS, f"{arrived} of {EVENTS} events arrived"
    return took, used


print(*hub.pop.Loop.run_until_complete(fire()))
