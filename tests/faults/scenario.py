"""What all runs with faults have in common: a seed, a folder, a journal, both processes, and the oracle at the end."""

import dataclasses
import json
import pathlib
import random
import shutil
import sys
import tempfile
import time
import traceback

from cluster import Cluster
from journal import Journal
from oracle import Oracle, Resources, check_catalog

SKIPPED = 77
SETTLE_S = 20


class Skipped(Exception):
    """Why this machine cannot play a scenario."""


@dataclasses.dataclass
class Tally:
    """What came of runs: the row of a table."""

    runs: int = 0
    faults: int = 0
    acknowledged: int = 0
    lost: int = 0
    longest_pause_s: float = 0.0

    def add(self, other):
        self.runs += other.runs
        self.faults += other.faults
        self.acknowledged += other.acknowledged
        self.lost += other.lost
        self.longest_pause_s = max(self.longest_pause_s, other.longest_pause_s)


class Run:
    """One run of a scenario. `is_soak`: as much as there is, not what fits into every check."""

    def __init__(self, seed, is_soak):
        self.seed, self.is_soak = seed, is_soak
        self.dice = random.Random(seed)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="faults-"))
        self.journal = Journal(self.folder / "journal")
        self.tally = Tally(runs=1)
        self.problems = []
        self.notes = []
        self._cleanups = []

    def times(self, ci, soak):
        """How often something is done."""
        return soak if self.is_soak else ci

    def defer(self, action, *arguments):
        """To be done at the end of the run, the last first."""
        self._cleanups.append((action, arguments))

    def note(self, text):
        """A line of the report, beside the table."""
        self.notes.append(text)

    def start(self, **flags):
        """Both processes; they are ended with the run, however it ends."""
        cluster = Cluster(self.folder, **flags)
        self.defer(self._end, cluster)
        return cluster

    @staticmethod
    def _end(cluster):
        for process in (cluster.bridge, cluster.service):
            if process.process.poll() is None:
                process.kill()

    def resources(self, cluster):
        return {process.name: Resources.of(process) for process in (cluster.service, cluster.bridge)}

    def judge_resources(self, cluster, before):
        """I7, once both had time to let go."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            now = self.resources(cluster)
            problems = [problem for name in now for problem in now[name].problems_since(before[name], name)]
            if not problems or time.monotonic() > deadline:
                self.problems += problems
                return
            time.sleep(0.1)

    def judge(self, cluster):
        """All invariants that the journal can tell of, on the running service, and then on the stopped one."""
        self.problems += Oracle(self.journal, cluster.service_port).check()
        code = cluster.service.stop()
        if code != 0:
            self.fail(f"the service ends with {code}")
        self.problems += check_catalog(cluster.data_dir)

    def fail(self, what):
        raise AssertionError(what)

    def end(self):
        for action, arguments in reversed(self._cleanups):
            action(*arguments)
        self._cleanups = []
        self.journal.close()
        self.tally.acknowledged = self.journal.acknowledged
        self.tally.lost = sum(problem.invariant in ("I1", "I2", "I3") for problem in self.problems)
        self.tally.longest_pause_s = max(self.tally.longest_pause_s, self.journal.longest_pause)

    def forget(self):
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclasses.dataclass(frozen=True)
class Scenario:
    """`play(run)` raises what was wrong, or Skipped; `promises` are the rows of docs/promises.md that it is for. `prepare()`, before
    there is a run, raises Skipped where it cannot be played, and may start this program anew, as in a namespace."""

    name: str
    promises: str
    play: object
    prepare: object
    deadline_s: int  # Of one run in every check; a soak's may take soak_deadline_s.
    soak_deadline_s: int


SCENARIOS = {}


def scenario(promises, prepare=lambda: None, deadline_s=120, soak_deadline_s=1800):
    def add(play):
        SCENARIOS[play.__name__] = Scenario(play.__name__, promises, play, prepare, deadline_s, soak_deadline_s)
        return play
    return add


def play(one, seed, is_soak, keep=None):
    """One run; returns its tally and what failed (None: nothing). The folder of a failed one moves to `keep`."""
    one.prepare()
    run = Run(seed, is_soak)
    error = None
    try:
        one.play(run)
    except Exception as raised:  # Told with the seed.
        error = "".join(traceback.format_exception(raised))
    finally:
        try:
            run.end()
        except Exception as raised:
            error = error or repr(raised)
    if run.problems:
        error = (error or "") + "\n".join(map(str, run.problems[:40])) + f"\n{len(run.problems)} problems"
    for note in run.notes:
        print(note, file=sys.stderr)
    if error and keep:
        kept = pathlib.Path(keep) / f"{one.name}-{seed}"
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(run.folder, kept)
        error += f"\nwhat is left of it: {kept}"
    else:
        run.forget()
    return run.tally, error


def as_json(tally):
    return json.dumps(dataclasses.asdict(tally))
