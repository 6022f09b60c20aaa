#!/usr/bin/env python3
"""Runs the fuzz targets, which `cmake --preset fuzz && cmake --build --preset fuzz` makes (docs/fuzzing.md).

    run.py                          lists the targets
    run.py --seconds S [NAME ...]   each for S seconds, as many at once as there are processors; then a table
    run.py --runs N [NAME ...]      the same, each until it has tried N inputs
    run.py --merge [NAME ...]       adds to tests/fuzz/corpus what such runs found that reaches more code

What runs find is kept in build/fuzz/corpus, where the next run begins; FUZZ_BUILD_DIR names another build folder. Exit codes: 0 no target broke a promise, 1 one did: a
line tells how to repeat it; 77 there are no targets here."""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "tests" / "fuzz" / "corpus"
BUILD = pathlib.Path(os.environ.get("FUZZ_BUILD_DIR", ROOT / "build" / "fuzz"))
SKIPPED = 77
# An input that takes longer, or that takes the process beyond this memory, breaks a promise, too.
LONGEST_INPUT_S = 30
MOST_MEMORY_MIB = 2048
# Inputs are small: what is large is made of them by the target.
LARGEST_INPUT = 4096


@dataclasses.dataclass
class Result:
    executions: int = 0
    per_second: int = 0
    found: int = 0
    coverage: str = "-"
    crash: str = ""


def read_targets():
    """The files whose coverage counts, by target."""
    try:
        lines = (BUILD / "fuzz_targets.txt").read_text().splitlines()
    except FileNotFoundError:
        return {}
    return {name: files for name, *files in map(str.split, lines) if program(name).exists()}


def program(name):
    return BUILD / "bin" / f"{name}_fuzzer"


def folders(name):
    """Where new inputs go, and all that there are."""
    mine = BUILD / "corpus" / name
    mine.mkdir(parents=True, exist_ok=True)
    return [str(folder) for folder in (mine, COMMITTED / name) if folder.is_dir()]


def coverage(name, files):
    """How many of the lines of these files the inputs that are kept reach."""
    if not files or not (shutil.which("llvm-profdata") and shutil.which("llvm-cov")):
        return "-"
    raw, merged = (BUILD / "corpus" / f"{name}.{end}" for end in ("profraw", "profdata"))
    subprocess.run([program(name), "-runs=0", *folders(name)], env={**os.environ, "LLVM_PROFILE_FILE": str(raw)}, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run(["llvm-profdata", "merge", "-o", merged, raw], check=True)
    told = subprocess.run(["llvm-cov", "export", "--summary-only", f"--instr-profile={merged}", program(name),
                           *(str(ROOT / file) for file in files)], check=True, stdout=subprocess.PIPE, text=True).stdout
    return f"{json.loads(told)['data'][0]['totals']['lines']['percent']:.0f} %"


def run(name, files, limit):
    crashes = BUILD / "crashes"
    crashes.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [program(name), *folders(name), limit, f"-timeout={LONGEST_INPUT_S}", f"-rss_limit_mb={MOST_MEMORY_MIB}",
         f"-max_len={LARGEST_INPUT}", f"-artifact_prefix={crashes}/{name}-", "-print_final_stats=1"],
        env={**os.environ, "LLVM_PROFILE_FILE": os.devnull}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        errors="replace")

    def stat(of):
        return int((re.findall(rf"stat::{of}:\s+(\d+)", done.stderr) or [0])[-1])
    result = Result(stat("number_of_executed_units"), stat("average_exec_per_sec"), stat("new_units_added"))
    if done.returncode != 0:
        kept = re.findall(r"Test unit written to (\S+)", done.stderr)
        result.crash = f"{program(name)} {kept[-1]}" if kept else f"{program(name)} ended with {done.returncode}"
        print(f"{done.stderr[-8000:]}\nFAILED: {result.crash}", file=sys.stderr, flush=True)
        return result
    result.coverage = coverage(name, files)
    return result


def merge(name):
    target = COMMITTED / name
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run([program(name), "-merge=1", f"-max_len={LARGEST_INPUT}", target, BUILD / "corpus" / name],
                   env={**os.environ, "LLVM_PROFILE_FILE": os.devnull}, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    print(f"{name}: {len(list(target.iterdir()))} inputs")


def table(results):
    heads = ("target", "executions", "a second", "new inputs", "lines of its files", "broken")
    lines = [heads] + [(name, str(each.executions), str(each.per_second), str(each.found), each.coverage, "yes" if each.crash else "-")
                       for name, each in sorted(results.items())]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]

    def row(cells):
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"
    return "\n".join([row(heads), row(["-" * width for width in widths]), *map(row, lines[1:])])


def positive(text):
    """To libFuzzer 0 seconds are no limit, and a negative number of runs is none."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 at least")
    return value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--seconds", type=positive)
    how.add_argument("--runs", type=positive)
    how.add_argument("--merge", action="store_true")
    flags = parser.parse_args()
    targets = read_targets()
    if not targets:
        print("NOT TESTED: no fuzz targets are built", file=sys.stderr)
        return SKIPPED
    unknown = set(flags.names) - set(targets)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    names = flags.names or list(targets)
    if flags.merge:
        for name in names:
            merge(name)
        return 0
    if flags.seconds is None and flags.runs is None:
        print("\n".join(f"{name}: {' '.join(targets[name])}" for name in names))
        return 0
    limit = f"-runs={flags.runs}" if flags.seconds is None else f"-max_total_time={flags.seconds}"
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = dict(zip(names, pool.map(lambda name: run(name, targets[name], limit), names)))
    print(table(results))
    broken = [each.crash for each in results.values() if each.crash]
    for command in broken:
        print(f"again: {command}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
