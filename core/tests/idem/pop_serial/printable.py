"""Prints the `repr` of the characters of a file that this Python's Unicode has, a thousand a line."""

import json
import sys
import unicodedata

with open(sys.argv[1], encoding="utf-8", newline="") as file:
    known = [character for character in file.read() if unicodedata.category(character) != "Cn"]
for start in range(0, len(known), 1000):
    text = "".join(known[start : start + 1000])
    print(json.dumps([text, repr([text])]))
print("null")
