"""A run of Salt: a master, minions, and the commands of an ordinary day. Records every event of the master's bus.

Arguments: a directory for everything that belongs to the run, the file for the recording, and two free ports. Each line of
the recording is an event as JSON, `{"tag": ..., "data": ...}`, in the order of the bus. The file is there when it is complete;
then this program waits for its end.
"""

import getpass
import json
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import time

import salt.client
import salt.config
import salt.runner
import salt.utils.event

MINIONS = ["web1", "web2", "db1"]
# Far longer than any of the commands takes; the program that started this one has a limit for the whole run.
PATIENCE = 60
# The tag of the event that ends the recording.
END = "recording/end"

STATES = """\
motd:
  file.managed:
    - name: {root}/{{{{ grains['id'] }}}}/motd
    - contents: Welcome to {{{{ grains['id'] }}}}
certificate:
  file.exists:
    - name: {root}/{{{{ grains['id'] }}}}/certificate
"""
# A job whose state fails, jobs that change grains, jobs of one minion, a function that does not exist.
COMMANDS = [
    ("*", "test.ping", []),
    ("*", "state.apply", ["web"]),
    ("web1", "event.send", ["app/deployed/web1", {"version": "1.4.2", "services": ["api", "søk"]}]),
    ("*", "grains.setval", ["role", "frontend"]),
    ("db1", "cmd.run", ["echo backed up"]),
    ("db1", "backup.full", []),
]
# Beside these, the master and the minions fire what belongs to their work: keys, starts, refreshed caches, presence.
EXPECTED = ["app/deployed/web1", "salt/beacon/web1/load/", "salt/presence/present"]

root, recording = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
publish_port, return_port = map(int, sys.argv[3:5])
# In the directory of the recording, so that it can take its place.
unfinished = recording.with_suffix(".unfinished")


def configure():
    write(root / "states/web.sls", STATES.format(root=root))
    # One of the transports that Salt has; it needs no library of C++.
    both = {
        "transport": "tcp",
        "publish_port": publish_port,
        "user": getpass.getuser(),
        "log_level": "warning",
        "keysize": 2048,
    }
    master = both | places("master") | {
        "interface": "127.0.0.1",
        "ret_port": return_port,
        "auto_accept": True,
        "worker_threads": 2,
        "file_roots": {"base": [str(root / "states")]},
        "presence_events": True,
        "state_events": True,
        "loop_interval": 1,
    }
    write(root / "master/master", json.dumps(master))
    # Reports at every interval, whatever the load is.
    load = [{"averages": {span: [-2, -1] for span in ("1m", "5m", "15m")}}, {"interval": 2}]
    for name in MINIONS:
        minion = both | places(name) | {
            "id": name,
            "master": "127.0.0.1",
            "master_port": return_port,
            "mine_enabled": False,
            # These would ask the system and its name servers for what the run does not need.
            "enable_fqdns_grains": False,
            "enable_gpu_grains": False,
            "beacons": {"load": load} if name == "web1" else {},
        }
        write(root / name / "minion", json.dumps(minion))


def places(name):
    home = root / name
    return {"root_dir": str(home), "log_file": str(home / "log"), "sock_dir": str(root / f"{name}.s")}


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def start(program, name, *more):
    """Starts `salt-master` or `salt-minion`."""
    code = f"import sys; sys.argv[0] = 'salt-{program}'; import salt.scripts; salt.scripts.salt_{program}()"
    directory = ["--config-dir", str(root / name)]
    return subprocess.Popen([sys.executable, "-E", "-s", "-c", code, *directory, *more])


def record(options, connected):
    """Writes down every event until the last one."""
    with open_bus(options, listen=True) as bus, unfinished.open("w", encoding="utf-8", buffering=1) as file:
        connected.set()
        while True:
            event = bus.get_event(full=True)
            if event is None:
                continue
            if event["tag"] == END:
                return
            line = {"tag": event["tag"], "data": event["data"]}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def open_bus(options, listen):
    return salt.utils.event.get_event("master", opts=options, listen=listen)


def tags():
    text = unfinished.read_text(encoding="utf-8")
    return [json.loads(line)["tag"] for line in text.split("\n")[:-1]]


def wait_for(what, holds, processes):
    print("waiting for", what, flush=True)
    deadline = time.monotonic() + PATIENCE
    while not holds():
        for process in processes:
            if process.poll() is not None:
                sys.exit(f"{process.args} ended with {process.returncode}")
        if time.monotonic() > deadline:
            sys.exit(f"waited in vain for {what}")
        time.sleep(0.05)


def run():
    configure()
    processes = [start("master", "master")]
    options = salt.config.master_config(str(root / "master/master"))
    sockets = pathlib.Path(options["sock_dir"])
    names = ["master_event_pub.ipc", "master_event_pull.ipc"]
    wait_for("the master's sockets", lambda: all((sockets / name).exists() for name in names), processes)
    connected = multiprocessing.Event()
    recorder = multiprocessing.Process(target=record, args=(options, connected), daemon=True)
    recorder.start()
    wait_for("the recorder", connected.is_set, processes)
    processes += [start("minion", name, "--disable-keepalive") for name in MINIONS]
    started = {f"salt/minion/{name}/start" for name in MINIONS}
    wait_for("the minions", lambda: started <= set(tags()), processes)

    client = salt.client.LocalClient(mopts=options)
    for target, function, arguments in COMMANDS:
        print("running", function, "on", target, flush=True)
        answers = client.cmd(target, function, arguments, timeout=PATIENCE)
        if sorted(answers) != sorted(MINIONS if target == "*" else [target]):
            sys.exit(f"{function} on {target}: {answers}")
    salt.runner.RunnerClient(options).cmd("manage.up", print_event=False)
    for tag in EXPECTED:
        wait_for(tag, lambda tag=tag: any(found.startswith(tag) for found in tags()), processes)
    with open_bus(options, listen=False) as bus:
        bus.fire_event({}, END)
    recorder.join(PATIENCE)
    if recorder.exitcode != 0:
        sys.exit(f"the recorder ended with {recorder.exitcode}")
    os.replace(unfinished, recording)
    signal.pause()


if __name__ == "__main__":
    run()
