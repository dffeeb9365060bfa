"""Answers one JSON line per JSON line, with acct's own functions: what is in a file, encrypted or not."""

import json
import sys

sys.argv = ["acct"]

import pop.hub

hub = pop.hub.Hub()
hub.pop.sub.add(dyne_name="acct")
hub.pop.config.load(["acct", "rend"], cli="acct", parse_cli=False)
hub.pop.loop.create()


def answer(order):
    if order["do"] == "read":
        call = hub.rend.init.parse(order["file"], pipe="jinja|yaml")
    elif order["do"] == "encrypt":
        call = hub.crypto.init.encrypt_file(
            crypto_plugin=order["cipher"],
            acct_file=order["file"],
            acct_key=order["key"],
            output_file=order["output"],
            render_pipe="jinja|yaml",
        )
    else:
        call = hub.crypto.init.decrypt_file(
            crypto_plugin=order["cipher"], acct_file=order["file"], acct_key=order["key"]
        )
    found = hub.pop.Loop.run_until_complete(call)
    return json.loads(json.dumps(found, default=dict))


for line in sys.stdin:
    try:
        print(json.dumps({"ok": answer(json.loads(line))}), flush=True)
    except Exception as error:
        print(json.dumps({"error": repr(error)}), flush=True)
