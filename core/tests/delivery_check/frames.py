"""The frames of the event sockets as docs/EVENT_SOCKETS.md describes them, written from that page alone."""

import json
import os
import socket
import struct
import time

# What a host answers when a program has shut down its side. Anything else promises nothing, and neither does a
# connection that ends without an answer.
KEPT, KEPT_UNMATCHED = 0x06, 0x1A


def text(value):
    data = value.encode()
    return b"\xdb" + struct.pack(">I", len(data)) + data


def binary(data):
    return b"\xc6" + struct.pack(">I", len(data)) + data


def number(value):
    return b"\xcf" + struct.pack(">Q", value)


def mapping(pairs):
    return b"\xdf" + struct.pack(">I", len(pairs)) + b"".join(text(key) + value for key, value in pairs)


def frame(profile, body, fields):
    """One event. `fields` are the body's pairs as msgpack, `body` is its text."""
    now = time.time_ns()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + ".000000"
    head = mapping([("id", binary(os.urandom(16))), ("time", number(now)), ("json", text(body))])
    data = profile.encode() + b"\n\n" + mapping([*fields, ("_stamp", text(stamp))])
    return mapping([("head", mapping([("evbus", head)])), ("body", binary(data))])


def fire(sock_dir, events, prefixed, patience):
    """Fires (profile, body) pairs through a connection of their own; gives the host's answer, None without one."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(patience)
        try:
            link.connect(f"{sock_dir}/master_event_pull.ipc")
            for profile, body in events:
                fields = [(key, _pack(value)) for key, value in body.items()]
                payload = frame(profile, json.dumps(body), fields)
                link.sendall((struct.pack(">I", len(payload)) if prefixed else b"") + payload)
            link.shutdown(socket.SHUT_WR)
            answer = link.recv(1)
            return answer[0] if answer else None
        except OSError:
            return None


def _pack(value):
    return text(value) if isinstance(value, str) else number(value)


def answers(sock_dir):
    """Whether a host accepts connections."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(5)
        try:
            link.connect(f"{sock_dir}/master_event_pull.ipc")
            return True
        except OSError:
            return False


def ask(sock_dir, question):
    """Asks the control socket; None where no host answers."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(5)
        try:
            link.connect(f"{sock_dir}/evbus_control.ipc")
            link.sendall(json.dumps({"evbus": 1, "ask": question}).encode() + b"\n")
            line = link.makefile("rb").readline()
            return json.loads(line) if line.endswith(b"\n") else None
        except OSError:
            return None
