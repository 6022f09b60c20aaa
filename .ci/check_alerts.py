#!/usr/bin/env python3
"""Runs the tests of the alert rules, and fails if a query of the dashboard is none. promtool comes with Debian's package
prometheus; without it nothing is checked (exit code 77)."""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "deploy/observability"
SKIPPED = 77


def main():
    promtool = shutil.which("promtool")
    if promtool is None:
        print("SKIPPED: promtool is not installed (apt install prometheus)")
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
