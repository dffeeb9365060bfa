"""Fires events with the installed Salt's library.

Argument: the master's socket directory. Reads lines of JSON [TAG, DATA] from standard input, and writes a
line when the event of each has been sent.
"""

import json
import sys

import salt.utils.event


def main():
    with salt.utils.event.MasterEvent(sys.argv[1], listen=False) as event:
        for line in sys.stdin:
            tag, data = json.loads(line)
            if not event.fire_event(data, tag):
                sys.exit(f"the event {tag} was not sent")
            print(tag, flush=True)


main()
