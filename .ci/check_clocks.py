#!/usr/bin/env python3
"""Fails if the wall clock is read, or waited by, elsewhere than in base/clock.h: it jumps when somebody sets it.

Waits, deadlines and timeouts use std::chrono::steady_clock, base/mutex.h, base/periodic_task.h and rpc/deadline.h; whoever
needs the time of day is given a Clock. Tests run where nobody sets the clock.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = ("base", "bridge", "content", "crypto", "legacy_client", "rpc", "services", "storage", "tests")
# The one asker of the time, and what takes the wall clock out of Abseil's waits.
ALLOWED = {"base/clock.h", "base/monotonic_waits.cc"}
FORBIDDEN = re.compile(
    r"\bsystem_clock\b|\bhigh_resolution_clock\b|\butc_clock\b|\babsl::(Now|GetCurrentTimeNanos)\(|\bgettimeofday\(|"
    r"\btime\((nullptr|NULL|0)\)|\bCLOCK_REALTIME|\bGPR_CLOCK_(REALTIME|PRECISE)\b|\babsl::(Mutex|CondVar)\b|"
    r"\b(Wait|Await)WithDeadline\(|\bsem_(timed|clock)wait\(|\bpthread_cond_timedwait\(|\bpthread_mutex_timedlock\(|"
    r"\bmq_timed(send|receive)\(|\bCURRENT_TIMESTAMP\b|\bstrftime\('[^']*', *'now'|\b(date|time|datetime|unixepoch)\('now'")


def is_checked(path):
    name = path.name
    return (path.suffix in (".cc", ".h") and not name.endswith("_test.cc")
            and path.relative_to(ROOT).as_posix() not in ALLOWED)


def main():
    found = []
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if is_checked(path)]
    for path in files:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = line.partition("//")[0]
            if match := FORBIDDEN.search(code):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match.group()} is of the wall clock")
    print("\n".join(found) if found else f"{len(files)} files leave the wall clock to {', '.join(sorted(ALLOWED))}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
