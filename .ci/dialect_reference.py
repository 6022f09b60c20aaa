#!/usr/bin/env python3
"""Compares the reference in docs/dialects.md with proto/backup/bridge/v1/dialect.proto, whose comments it is made from.
usage: dialect_reference.py [--update]"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/dialects.md"
BEGIN, END = "<!-- From dialect.proto, by .ci/dialect_reference.py: -->\n", "<!-- End of that. -->\n"
OPENING = re.compile(r"(message|enum) (\w+) \{")
FIELD = re.compile(r"((?:repeated )?[\w.]+) (\w+) = \d+;")
VALUE = re.compile(r"(\w+) = \d+;")


def reference(proto):
    """A table for each message and enumeration, in the file's order."""
    tables, open_names, comment = {}, [], []
    for line in proto.splitlines():
        line = line.strip()
        if line.startswith("//"):
            comment.append(line.removeprefix("//").strip())
            continue
        text, comment = " ".join(comment), []
        if opening := OPENING.match(line):
            open_names.append(opening[2])
            head = "| Field | Type | Meaning |\n|---|---|---|" if opening[1] == "message" else "| Value | Meaning |\n|---|---|"
            tables[".".join(open_names)] = [text, "", head]
        elif line == "}":
            open_names.pop()
        elif field := FIELD.match(line):
            tables[".".join(open_names)].append(f"| `{field[2]}` | {field[1]} | {text} |")
        elif (value := VALUE.match(line)) and not value[1].endswith("UNSPECIFIED"):
            tables[".".join(open_names)].append(f"| `{value[1]}` | {text} |")
    return "".join(f"\n### {name}\n\n" + "\n".join(lines) + "\n" for name, lines in tables.items()) + "\n"


def main(update):
    made = reference((ROOT / "proto/backup/bridge/v1/dialect.proto").read_text())
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    old, _, after = rest.partition(END)
    if update:
        PAGE.write_text(before + BEGIN + made + END + after)
    elif old != made:
        print("docs/dialects.md and dialect.proto differ: run .ci/dialect_reference.py --update", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main("--update" in sys.argv[1:]))
