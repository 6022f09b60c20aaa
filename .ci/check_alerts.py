#!/usr/bin/env python3
"""Runs the tests of the alert rules, and fails if a query of the dashboard is none. promtool comes with Debian's package
prometheus, which ./check unpacks into build/prometheus; without it nothing is checked (exit code 77)."""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

TREE = pathlib.Path(__file__).resolve().parents[1]
FOLDER = TREE / "deploy/observability"
SKIPPED = 77


def main():
    promtool = shutil.which("promtool") or shutil.which(TREE / "build/prometheus/usr/bin/promtool")
    if promtool is None:
        print("SKIPPED: there is no promtool (.ci/unpack_packages.sh build/prometheus prometheus)")
        return SKIPPED
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)  # JSON is YAML.
        file.flush()
        return max(subprocess.run([promtool, "check", "rules", file.name], check=False).returncode,
                   subprocess.run([promtool, "test", "rules", FOLDER / "alerts_test.yml"], check=False).returncode)


if __name__ == "__main__":
    sys.exit(main())
