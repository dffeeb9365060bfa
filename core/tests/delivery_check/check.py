"""Compares what programs were told with what arrived, through kills, ends, reloads and far systems that go away.

    check.py --evbus FILE --plugin-dir DIR [--seed N] [--seeds N] [--events N]

8 programs fire numbered events, by `evbus put` and by frames of their own, at destinations of every policy. What a
program was told to be kept must be at each destination that wants it when all queues are empty, with two exceptions:
what is not `durable` may go with a host that is killed, and `drop_newest` may drop what its count admits to.
Prints a line per seed, and a line per contradiction. Exits with 1 where there is one. Everything but time is decided
by the seed.
"""

import argparse
import collections
import json
import multiprocessing
import os
import shutil
import sqlite3
import sys
import tempfile
import time

import programs
from host import Host
from plan import DESTINATIONS

PROGRAMS = 8


def check(seed, events, evbus, plugins):
    """One seed: gives its contradictions."""
    begin, home = time.monotonic(), tempfile.mkdtemp(prefix="evb")
    host = Host(seed, home, evbus, plugins)
    fork = multiprocessing.get_context("fork")
    firing = [
        fork.Process(target=programs.run, args=(seed, number, events // PROGRAMS, home, evbus, f"{home}/told{number}"), daemon=True)
        for number in range(PROGRAMS)
    ]
    for program in firing:
        program.start()
    try:
        while any(program.is_alive() for program in firing):
            host.live(lambda: not any(program.is_alive() for program in firing))
        if any(program.exitcode for program in firing):
            raise RuntimeError("a program that fires failed")
        host.finish()
        batches = read_ledgers(home)
        found = host.faults + compare(host, batches)
    except RuntimeError as error:
        batches, found = [], [*host.faults, str(error)]
    finally:
        for program in firing:
            program.kill()
        host.kill()
    kept = sum(len(batch["events"]) for batch in batches if batch["kept"])
    kills = sum(life["killed"] for life in host.lives)
    print(
        f"seed {seed}: {sum(len(batch['events']) for batch in batches)} events fired, {kept} acknowledged; {kills} kills, "
        f"{len(host.lives) - kills} stops, {host.reloads} reloads, {host.samples} sums; "
        f"{len(found)} contradictions, {time.monotonic() - begin:.0f} s",
        flush=True,
    )
    for fault in found:
        print(f"  seed {seed}: {fault}", flush=True)
    if found:
        print(f"  seed {seed}: everything is left in {home}", flush=True)
    else:
        shutil.rmtree(home)
    return found


def read_ledgers(home):
    """What all programs were told, each program's batches in their order."""
    batches = []
    for program in range(PROGRAMS):
        with open(f"{home}/told{program}", encoding="utf-8") as lines:
            batches += [{"program": program, **json.loads(line)} for line in lines]
    return batches


def compare(host, batches):
    """Holds what was told against the destinations' files and the stores."""
    fired = {(batch["program"], n): (profile, fill) for batch in batches for profile, n, fill in batch["events"]}
    found, ids = [], {}
    left = left_in_stores(host.home)
    for destination in DESTINATIONS:
        arrived, order = {}, collections.defaultdict(list)
        for line in read_lines(f"{host.home}/{destination.name}/out.jsonl"):
            body = line["body"]
            place = (body["p"], body["n"])
            profile, fill = fired.get(place, (None, None))
            if line["profile"] != profile or body != {"p": place[0], "n": place[1], "fill": "x" * fill}:
                found.append(f"{destination.name}: event {place} arrived as nobody fired it: {line}")
            elif not destination.wants(profile):
                found.append(f"{destination.name}: event {place} of {profile} belongs elsewhere")
            if ids.setdefault(place, line["id"]) != line["id"]:
                found.append(f"{destination.name}: event {place} has two ids")
            if place not in arrived:
                arrived[place] = line["id"]
                order[place[0]].append(place[1])
        if left.get(destination.pattern):
            found.append(f"{destination.name}: {left[destination.pattern]} rows are left where the queue is said to be empty")
        found += missing(host, destination, batches, arrived)
        if destination.policy.get("ordered"):
            found += disorder(destination, batches, order)
    return found


def missing(host, destination, batches, arrived):
    """What was acknowledged and is not there, as far as the destination's policy does not allow that."""
    found, dropped = [], collections.Counter()
    for batch in batches:
        begin, end, program = batch["begin"], batch["end"], batch["program"]
        absent = any(name == destination.name and since <= end and begin <= until for name, since, until in host.absent)
        if not batch["kept"] or absent:
            continue
        if batch["unmatched"] and destination.pattern == "*":
            found.append(f"{destination.name}: program {program} was told that an event matches no destination; all match this one")
        gone = [n for profile, n, _ in batch["events"] if destination.wants(profile) and (program, n) not in arrived]
        lives = [number for number, life in enumerate(host.lives) if life["begin"] <= end and begin <= life["end"]]
        killed = any(host.lives[number]["killed"] for number in lives)
        if not gone or (killed and not destination.durable):
            continue
        if destination.drops:
            # What was acknowledged after the last look at the count cannot be compared with it.
            if len(lives) == 1 and end < host.lives[lives[0]]["asked"]:
                dropped[lives[0]] += len(gone)
            continue
        how = [f"{'killed' if host.lives[number]['killed'] else 'ended'} {host.lives[number]['end'] - end:.2f} s later" for number in lives]
        found.append(
            f"{destination.name} {destination.policy}: {len(gone)} of {len(batch['events'])} events of program {program}, "
            f"kept as {batch['how']} was told after {end - begin:.2f} s, are gone ({gone[0]} to {gone[-1]}); host {', '.join(how)}"
        )
    for life, count in dropped.items():
        lane = host.lives[life]["status"][destination.pattern]
        if count > lane["dropped"]:
            found.append(f"{destination.name}: {count} acknowledged events are gone and {lane['dropped']} counted as dropped, life {life}")
    return found


def disorder(destination, batches, order):
    """Acknowledged batches of one program arrive in their order, and the events of any batch in theirs."""
    found = []
    batch_of = {(batch["program"], n): batch for batch in batches for _, n, _ in batch["events"]}
    for program, numbers in order.items():
        last = -1
        for n in numbers:
            batch = batch_of[program, n]
            if n < last and (batch["kept"] and batch_of[program, last]["kept"] or batch is batch_of[program, last]):
                found.append(f"{destination.name}: event {n} of program {program} came behind {last}")
            last = n
    return found


def left_in_stores(home):
    """Rows in the stores by pattern: queued events, packs of them, and dead letters."""
    rows = collections.Counter()
    for file in os.scandir(f"{home}/state/queues"):
        if file.is_file() and file.name.endswith(".db"):
            store = sqlite3.connect(file.path)
            pattern = store.execute("SELECT pattern FROM destination").fetchone()[0]
            rows[pattern] = sum(store.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("queue", "packs", "dead_letters"))
            store.close()
    return rows


def read_lines(path):
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def main():
    options = argparse.ArgumentParser(description="Compare what programs were told with what arrived.")
    options.add_argument("--evbus", required=True, help="the program under test")
    options.add_argument("--plugin-dir", required=True, help="a directory with the plugins glob and file")
    options.add_argument("--seed", type=int, default=1, help="the first seed")
    options.add_argument("--seeds", type=int, default=1, help="how many")
    options.add_argument("--events", type=int, default=100_000, help="how many events each seed fires")
    given = options.parse_args()
    found = []
    for seed in range(given.seed, given.seed + given.seeds):
        found += check(seed, given.events, given.evbus, given.plugin_dir)
    print(f"{given.seeds} seeds: {len(found)} contradictions")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
