"""Renders SLS files with a real Idem, and prints for each what it gives and what it fires.

Reads lines of `[NAME, TEXT]` from a file; prints a line for each:
`{"text": TEXT or null, "error": TEXT or null, "events": [[PROFILE, BODY], ...]}`. Templates include what is
beside this script. Further arguments are those of `idem state`.
"""

import asyncio
import json
import logging
import os
import sys
import warnings

# This project's contract would tell that no host is to get the events as well.
logging.disable()
sys.argv, lines = ["idem", "state", "none", *sys.argv[2:]], sys.argv[1]
os.chdir(os.path.dirname(__file__))

with warnings.catch_warnings():
    # Those of the packages themselves.
    warnings.simplefilter("ignore")
    import pop.hub

    hub = pop.hub.Hub()
    hub.pop.sub.add(dyne_name="idem")
    hub.pop.config.load(hub.idem.CONFIG_LOAD, cli="idem")

hub.idem.RUN_NAME = "nightly"


async def rendered(name, text):
    # As Idem's own `resolve.init` does, which gives the data on to the next step of the pipe, `yaml`.
    texts = []
    for block in hub.rend.init.blocks(fn=name, content=text.encode()).values():
        pipe = [step for step in block.get("pipe", [b"jinja"]) if step == b"jinja"]
        data = block["bytes"]
        if pipe:
            data = await hub.rend.init.parse_bytes(block | {"pipe": pipe}, params={})
        texts.append(data if isinstance(data, str) else data.decode())
    return "".join(texts)


async def main():
    bus = await hub.evbus.broker.init()
    with open(lines, encoding="utf-8", newline="\n") as orders:
        for line in orders:
            name, text = json.loads(line)
            answer = {"text": None, "error": None, "events": []}
            try:
                answer["text"] = await rendered(name, text)
            except Exception as error:
                answer["error"] = f"{type(error).__name__}: {error}"
            while not bus.empty():
                event = bus.get_nowait()
                answer["events"].append([event.profile, json.loads(event.body)])
            print(json.dumps(answer))


asyncio.run(main())
