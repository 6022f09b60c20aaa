#!/usr/bin/env python3
"""Fails if a metric of the code has no row in docs/operations.md, or a row has no metric; and if an alert, its test or the
dashboard names one that does not exist."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
METRIC = r"(?:backup|grpc_server|grpc_client|process)_[a-z0-9_]+"
# How a metric is declared: base/metrics.h.
DECLARATION = re.compile(r'MetricName k\w+\{\s*"([^"]+)"', re.DOTALL)
OBSERVABILITY = ("alerts.yml", "alerts_test.yml", "dashboard.json")


def declared():
    return {name for folder in ("base", "bridge", "content", "services", "storage") for path in (ROOT / folder).rglob("*")
            if path.suffix in (".h", ".cc") and not path.name.endswith("_test.cc")
            for name in DECLARATION.findall(path.read_text())}


def documented():
    """The first column of the table of metrics; `{a,b}` are the labels."""
    section = (ROOT / "docs/operations.md").read_text().partition("| Metric | Labels |")[2].partition("\n\n")[0]
    return re.findall(rf"^\| `({METRIC})` \|", section, re.MULTILINE)


def main():
    code, rows = declared(), documented()
    wrong = [f"{name} has no row in docs/operations.md" for name in sorted(code - set(rows))]
    wrong += [f"docs/operations.md lists {name}, which no code has" for name in sorted(set(rows) - code)]
    wrong += [f"docs/operations.md lists {name} twice" for name in sorted({name for name in rows if rows.count(name) > 1})]
    for file in OBSERVABILITY:
        for name in sorted(set(re.findall(rf"\b{METRIC}", (ROOT / "deploy/observability" / file).read_text()))):
            if name not in code and re.sub("_(bucket|count|sum)$", "", name) not in code:
                wrong.append(f"deploy/observability/{file} uses {name}, which no code has")
    print("\n".join(wrong) if wrong else f"{len(code)} metrics are documented")
    return 1 if wrong or not code else 0


if __name__ == "__main__":
    sys.exit(main())
