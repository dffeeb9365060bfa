"""An interpreter with Salt's event library, which the tests talk to.

Reads Python, one JSON string per line, and answers each with one line: {"value": V} for an expression,
{"value": null} for statements, {"raised": "TypeError: ..."} for what failed. What JSON has no form for
is told as Python writes it.

Argument: the directory of the event sockets, which the Python read here knows as SOCK_DIR.
"""

import json
import os
import sys

# Salt, and what the tests print, must not come between the answers.
answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)


def evaluate(source, names):
    try:
        code = compile(source, "test", "eval")
    except SyntaxError:
        exec(compile(source, "test", "exec"), names)
        return None
    return eval(code, names)


def answer(source, names):
    try:
        return {"value": evaluate(source, names)}
    except Exception as error:
        return {"raised": f"{type(error).__name__}: {error}"}


def main():
    names = {"SOCK_DIR": sys.argv[1]}
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line), names), default=repr) + "\n")
        answers.flush()


main()
