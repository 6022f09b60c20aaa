#!/usr/bin/env python3
"""Runs with faults.

    run.py                       lists the scenarios
    run.py NAME [--seed N]       one run, as every check has it; a seed repeats a run
    run.py NAME --soak           one run with all that the scenario has
    run.py --hours H [NAME ...]  all mixed, each with a new seed every time, for H hours; then a table

Exit codes: 0 nothing was lost, 1 something was, 77 this machine cannot play it."""

import argparse
import dataclasses
import importlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

from scenario import SCENARIOS, SKIPPED, Skipped, Tally, as_json, play  # noqa: E402

KEEP = HERE.parents[1] / "build" / "faults"
END_S = 120  # For a run that ends what it started, and tells what failed.
NO_SCENARIOS = {"run", "scenario"}


def load():
    for path in sorted(HERE.glob("*.py")):
        if path.stem not in NO_SCENARIOS:
            importlib.import_module(path.stem)


def replay(name, seed, is_soak):
    return f"tests/faults/run.py {name} --seed {seed}" + (" --soak" if is_soak else "")


def run_one(name, seed, is_soak):
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    try:
        SCENARIOS[name].prepare()
    except Skipped as why:
        print(f"NOT TESTED: {name}: {why}", file=sys.stderr)
        return SKIPPED
    print(f"again: {replay(name, seed, is_soak)}", flush=True)
    tally, error = play(SCENARIOS[name], seed, is_soak, KEEP)
    if error:
        print(f"{name} failed:\n{error}", file=sys.stderr)
    print(as_json(tally), flush=True)
    return 1 if error else 0


def table(rows):
    heads = ("scenario", "runs", "faults injected", "acknowledged", "lost", "longest pause", "failed")
    lines = [heads] + [(name, str(tally.runs), str(tally.faults), str(tally.acknowledged), str(tally.lost),
                        f"{tally.longest_pause_s:.1f} s", ", ".join(map(str, failed)) or "-") for name, (tally, failed) in rows.items()]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    def row(cells):
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"
    return "\n".join([row(heads), row(["-" * width for width in widths]), *map(row, lines[1:])])


def soak(hours, names):
    """Each run is a process of its own, so that one that hangs or breaks is one row's failure."""
    end = time.monotonic() + hours * 3600
    dice = random.SystemRandom()
    rows, skipped = {name: (Tally(), []) for name in names}, {}
    while True:
        names = [name for name in rows if name not in skipped]
        dice.shuffle(names)
        for name in names:
            if time.monotonic() > end:
                break
            seed = dice.randrange(1 << 32)
            tally, failed = rows[name]
            child = subprocess.Popen([sys.executable, __file__, name, "--seed", str(seed), "--soak"], stdout=subprocess.PIPE,
                                     text=True, start_new_session=True)
            try:
                said, _ = child.communicate(timeout=SCENARIOS[name].soak_deadline_s + END_S)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                said, _ = child.communicate()
                print(f"{name} hangs: {replay(name, seed, True)}", flush=True)
            if child.returncode == SKIPPED:
                skipped[name] = True
                continue
            lines = [line for line in said.splitlines() if line.startswith("{")]
            tally.add(Tally(**json.loads(lines[-1])) if lines else Tally(runs=1))
            if child.returncode != 0:
                failed.append(seed)
                print(f"FAILED: {replay(name, seed, True)}", flush=True)
        if time.monotonic() > end or not names:
            break
    for name in skipped:
        del rows[name]
    print(table(rows))
    for name in skipped:
        print(f"NOT TESTED: {name}: this machine cannot play it")
    return 1 if any(failed for _, failed in rows.values()) else 0


def main():
    load()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--soak", action="store_true")
    parser.add_argument("--hours", type=float)
    flags = parser.parse_args()
    unknown = set(flags.names) - set(SCENARIOS)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    if flags.hours is not None:
        return soak(flags.hours, flags.names or list(SCENARIOS))
    if not flags.names:
        for name, one in SCENARIOS.items():
            print(f"{name:<16} {one.promises:<14} {(one.play.__doc__ or '').splitlines()[0]}")
        return 0
    if len(flags.names) > 1:
        parser.error("one at a time, or --hours")
    return run_one(flags.names[0], flags.seed, flags.soak)


if __name__ == "__main__":
    sys.exit(main())
