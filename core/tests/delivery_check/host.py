"""The host under test: its lives over one state directory, and what is done to it meanwhile."""

import hashlib
import json
import os
import random
import signal
import subprocess
import time

import frames
from plan import DESTINATIONS
from programs import clean

PATIENCE = 90


class Host:
    def __init__(self, seed, home, evbus, plugins):
        self.choose = random.Random(f"{seed} host")
        self.home, self.evbus, self.plugins = home, evbus, plugins
        self.sock_dir = f"{home}/s"
        self.lives = []
        """Each: when it began and ended, whether it was killed, and its last status with the time of the question."""
        self.absent = []
        """Each: a destination's name, and from when to when it may have been missing from the acct file."""
        self.faults = []
        self.samples = self.reloads = 0
        self.missing = {}
        self.entries = list(DESTINATIONS)
        self.down = set()
        for destination in DESTINATIONS:
            os.mkdir(f"{home}/{destination.name}")
        self.process = None
        self.log = open(f"{home}/log", "ab")

    def start(self):
        self.write_acct()
        command = [self.evbus, "run", "--acct-file", f"{self.home}/acct.yml", "--plugin-dir", self.plugins]
        command += ["--sock-dir", self.sock_dir, "--state-dir", f"{self.home}/state", "--drain-timeout", "0.3"]
        self.life = {"begin": time.monotonic(), "killed": False, "status": None, "asked": 0}
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=self.log, env=clean())
        self.wait("a host that answers", lambda: frames.ask(self.sock_dir, "status"))

    def end(self, killed):
        self.life["killed"] = killed
        self.process.send_signal(signal.SIGKILL if killed else signal.SIGTERM)
        self.wait("the host to end", lambda: self.process.poll() is not None, alive=False)
        code = self.process.returncode
        self.life["end"] = time.monotonic()
        self.lives.append(self.life)
        self.process = None
        if not killed and code != 0:
            self.faults.append(f"a host that was ended by SIGTERM exits with {code}")

    def live(self, over):
        """A life from start to end, with disturbances at random moments. `over` says that nobody fires any more."""
        self.start()
        for _ in range(self.choose.randint(1, 12)):
            if over():
                break
            self.choose.choice((self.status, self.status, self.toggle, self.toggle, self.reload, self.remove, self.fail))()
            time.sleep(self.choose.uniform(0, 0.3))
        if self.choose.random() < 0.5:
            # Programs wait for room at the end.
            name = self.choose.choice(("block", "block-durable"))
            if name not in self.down:
                self.toggle(next(entry for entry in DESTINATIONS if entry.name == name))
            time.sleep(self.choose.uniform(0.1, 0.6))
        self.status()
        self.end(self.choose.random() < 0.5)

    def status(self):
        """Asks for the numbers, which must add up, and none of which may be damage: there is none."""
        asked = time.monotonic()
        answer = frames.ask(self.sock_dir, "status")
        if not answer or "destinations" not in answer:
            self.faults.append(f"a running host answers a question for its status with {answer}")
            return None
        lanes = {lane["pattern"]: lane for lane in answer["destinations"]}
        for pattern, lane in lanes.items():
            parts = ("accepted", "dead_lettered", "dropped", "deduplicated", "damaged", "lost", "queued")
            if sum(lane[part] for part in parts) != lane["received"]:
                self.faults.append(f"{pattern}: the sum does not hold: {lane}")
            if lane["damaged"] or lane["lost"]:
                self.faults.append(f"{pattern}: damaged or lost without damage: {lane}")
        self.samples += 1
        self.life.update(status=lanes, asked=asked)
        return lanes

    def toggle(self, destination=None):
        """Takes a destination's far system away, or brings it back."""
        name = destination.name if destination else self.choose.choice([entry.name for entry in DESTINATIONS])
        if not destination and len(self.down) > 2:
            name = self.choose.choice(sorted(self.down))
        up, away = f"{self.home}/{name}", f"{self.home}/{name}.away"
        os.rename(*((away, up) if name in self.down else (up, away)))
        self.down ^= {name}

    def write_acct(self, more=()):
        """Replaces the acct file: the entries that are to be there, in any order, with queues of any size."""
        self.choose.shuffle(self.entries)
        present = [entry for entry in self.entries if entry.name not in self.missing]
        entries = [*more, *(entry.entry(self.home, self.choose.choice((1, 20, 300))) for entry in present)]
        with open(f"{self.home}/acct.new", "w", encoding="utf-8") as file:
            file.write("#!json\n" + json.dumps({"file": entries}))
        os.rename(f"{self.home}/acct.new", f"{self.home}/acct.yml")
        if self.process:
            self.process.send_signal(signal.SIGHUP)

    def reload(self):
        """Another order and other queues; destinations that were taken out come back."""
        back, self.missing = self.missing, {}
        self.write_acct()
        self.reloads += 1
        if back:
            patterns = {entry.pattern for entry in DESTINATIONS}
            self.wait("destinations that are back", lambda: patterns == set(self.status() or ()))
            self.absent += [(name, begin, time.monotonic()) for name, begin in back.items()]

    def remove(self):
        """Takes a destination out of the file while programs fire at it, perhaps while they wait."""
        entry = self.choose.choice([entry for entry in DESTINATIONS if not entry.drops])
        self.missing.setdefault(entry.name, time.monotonic())
        self.write_acct()
        self.reloads += 1

    def fail(self):
        """A reload that fails half-way: the store of a new destination cannot be made. It changes nothing, not
        even for a destination that was taken out and is on its way out."""
        digest = hashlib.sha256(b"file\n0\nnew-*").hexdigest()[:12]
        os.makedirs(f"{self.home}/state/queues/file-new-_-{digest}.db", exist_ok=True)
        missing, self.missing = self.missing, {}
        self.write_acct([{"new-*": {"path": "/dev/null", "evbus": {"durable": True}}}])
        time.sleep(self.choose.uniform(0.05, 0.3))
        self.missing = missing
        self.write_acct()
        self.reloads += 2

    def finish(self):
        """All far systems are up and all destinations in the file: everything is delivered."""
        for destination in DESTINATIONS:
            if destination.name in self.down:
                self.toggle(destination)
        self.start()
        self.reload()
        self.wait("empty queues", lambda: all(lane["queued"] == 0 for lane in (self.status() or {"": {"queued": 1}}).values()))
        self.end(killed=False)
        self.log.close()

    def kill(self):
        """Leaves nothing running, whatever went wrong."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def wait(self, what, condition, alive=True):
        begin = time.monotonic()
        while not condition():
            ended = alive and self.process.poll() is not None
            if ended or time.monotonic() - begin > PATIENCE:
                raise RuntimeError(f"waited in vain for {what}" + (f"; the host exited with {self.process.poll()}" if ended else ""))
            time.sleep(0.02)
