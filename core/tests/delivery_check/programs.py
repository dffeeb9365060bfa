"""The programs that fire: each a process of its own, which notes what it was told."""

import json
import os
import random
import subprocess
import time

import frames
from plan import PROFILES


def run(seed, program, events, home, evbus, ledger):
    """Fires numbered events, batch after batch, and writes a line about each batch to `ledger`."""
    choose = random.Random(f"{seed} {program}")
    sock_dir, first = f"{home}/s", 0
    with open(ledger, "w", encoding="utf-8", buffering=1) as told:
        while first < events:
            count = min(choose.choice((1, 3, 30, events // 40 + 1, events // 20 + 1)), events - first)
            profiles = choose.sample(PROFILES, choose.randint(1, 3))
            batch = [
                (choose.choice(profiles), {"p": program, "n": first + at, "fill": "x" * choose.choice((0, 20, 300, 3000))})
                for at in range(count)
            ]
            by_command, prefixed = choose.random() < 0.25, choose.random() < 0.5
            # Impatient and patient programs: a patient one is still waiting when the host ends.
            patience = choose.choice((0.5, 2, 10))
            while not frames.answers(sock_dir):
                time.sleep(0.02)
            begin = time.monotonic()
            answer = None
            if by_command:
                kept = put(evbus, sock_dir, batch, patience)
            else:
                answer = frames.fire(sock_dir, batch, prefixed, patience)
                kept = answer in (frames.KEPT, frames.KEPT_UNMATCHED)
            line = {
                "begin": begin,
                "end": time.monotonic(),
                "kept": kept,
                "unmatched": answer == frames.KEPT_UNMATCHED,
                "how": "put" if by_command else "socket",
                "events": [(profile, body["n"], len(body["fill"])) for profile, body in batch],
            }
            told.write(json.dumps(line) + "\n")
            first += count


def put(evbus, sock_dir, batch, patience):
    """Fires a batch with `evbus put`; True where it exits with 0."""
    lines = "".join(json.dumps({"profile": profile, "body": body}) + "\n" for profile, body in batch)
    command = [evbus, "put", "--events", "--timeout", str(patience), "--sock-dir", sock_dir]
    return subprocess.run(command, input=lines.encode(), stderr=subprocess.DEVNULL, env=clean()).returncode == 0


def clean():
    """An environment that holds nothing of the developer's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("EVBUS_", "ACCT_", "XDG_"))}
