#!/usr/bin/env python3
"""Fails if a reason of base/error.h has no row in docs/operations.md, no test that names it, or no meaning for old clients."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


def main():
    header = (ROOT / "base/error.h").read_text()
    constants = re.findall(r"\bk\w+", re.search(r"enum class Reason \{(.*?)\};", header, re.DOTALL).group(1))
    documented = re.findall(r"`([A-Z_]+)`", (ROOT / "docs/operations.md").read_text())
    meanings = (ROOT / "bridge/request/translation.cc").read_text()
    tests = "".join(path.read_text() for folder in ("base", "bridge", "content", "services", "storage")
                    for path in (ROOT / folder).rglob("*") if path.name.endswith(("_test.cc", "_contract.h")))
    missing = []
    for constant in constants:
        name = re.sub(r"(?<!^)([A-Z])", r"_\1", constant[1:]).upper()
        if name not in documented:
            missing.append(f"{name} is not documented in docs/operations.md")
        if f"Reason::{constant}" not in tests:
            missing.append(f"no test names {name}")
        if f"case Reason::{constant}:" not in meanings:
            missing.append(f"{name} means nothing to old clients in bridge/request/translation.cc")
    print("\n".join(missing) if missing else f"{len(constants)} reasons are documented, tested and have a meaning")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
