"""What all runs with faults have in common: a seed, a folder, a journal, both processes, and the oracle at the end."""

import contextlib
import dataclasses
import json
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback

from cluster import Cluster
from journal import Journal
from oracle import Oracle, Resources, check_catalog, check_secrets, check_session_keys

SKIPPED = 77
SETTLE_S = 20


class Hanging(Exception):
    """What no client takes for an answer that did not come."""


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


def end_processes(cluster):
    """However they are."""
    for process in (cluster.bridge, cluster.service):
        if process.process.poll() is None:
            process.kill()


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
        self._cleanups = contextlib.ExitStack()
        self.defer = self._cleanups.callback  # For the end of the run, the last first.

    def times(self, ci, soak):
        """How often something is done."""
        return soak if self.is_soak else ci

    def note(self, text):
        """A line of the report, beside the table."""
        self.notes.append(text)

    def start(self, **flags):
        """Both processes; they are ended with the run, however it ends."""
        cluster = Cluster(self.folder, **flags)
        self.defer(end_processes, cluster)
        return cluster

    def resources(self, cluster):
        return {process.name: Resources.of(process) for process in (cluster.service, cluster.bridge)}

    def judge_resources(self, cluster, before, but_for=()):
        """I7, once both had time to let go; `but_for` are fields of Resources that it leaves out."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            now = self.resources(cluster)
            problems = [problem for name in now for problem in now[name].problems_since(before[name], name, but_for)]
            if not problems or time.monotonic() > deadline:
                self.problems += problems
                return
            time.sleep(0.1)

    def judge(self, cluster):
        """All invariants that the journal can tell of, on the running service, and then on the stopped one; both processes run."""
        self.problems += Oracle(self.journal, cluster.service_port).check()
        self.problems += check_session_keys(self.journal, self.journal.old_clients)
        code = cluster.service.stop()
        if code != 0:
            self.fail(f"the service ends with {code}")
        self.problems += check_catalog(cluster.data_dir)
        secrets = {"master key": (cluster.data_dir / "master.key").read_bytes()}
        if "--at_rest=client" not in cluster.service_flags:  # Which is what that mode is for: docs/operations.md.
            secrets.update((f"session key of {client.name!r}", client.aes) for client in self.journal.old_clients)
        self.problems += check_secrets((cluster.service.log_path, cluster.bridge.log_path), secrets)

    def fail(self, what):
        raise AssertionError(what)

    @staticmethod
    def check(is_so):
        """For what is to be tried again as long as it is not so."""
        assert is_so

    def end(self):
        self._cleanups.close()
        self.journal.close()
        self.tally.acknowledged = self.journal.acknowledged
        self.tally.lost = sum(problem.invariant in ("I1", "I2", "I3") for problem in self.problems)
        self.tally.longest_pause_s = max(self.tally.longest_pause_s, self.journal.longest_pause)

    def forget(self):
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclasses.dataclass(frozen=True)
class Scenario:
    """`play(run)` raises what was wrong, or Skipped; `promises` name those that it is for (docs/faults.md). `prepare()`, before
    there is a run, raises Skipped where it cannot be played, and may start this program anew, as in a namespace."""

    name: str
    promises: str
    play: object
    prepare: object
    deadline_s: int  # Of one run in every check; a soak's may take soak_deadline_s.
    soak_deadline_s: int

    def deadline(self, is_soak):
        return self.soak_deadline_s if is_soak else self.deadline_s


SCENARIOS = {}


def scenario(promises, prepare=lambda: None, deadline_s=120, soak_deadline_s=1800):
    """For a function that plays it; its first line says what that is."""
    def add(play):
        SCENARIOS[play.__name__] = Scenario(play.__name__, promises, play, prepare, deadline_s, soak_deadline_s)
        return play
    return add


@contextlib.contextmanager
def within(seconds):
    """Raises in the main thread, wherever that waits, once it takes longer."""
    def raise_it(*_):
        raise Hanging(f"it is not over within {seconds} s")
    before = signal.signal(signal.SIGALRM, raise_it)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def play(one, seed, is_soak, keep):
    """One run, which is prepared; returns its tally and what failed (None: nothing). The folder of a failed one moves to `keep`."""
    run = Run(seed, is_soak)
    error = None
    try:
        with within(one.deadline(is_soak)):
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
    if error:
        kept = keep / f"{one.name}-{seed}"
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(run.folder, kept)
        error += f"\nwhat is left of it: {kept}"
    else:
        run.forget()
    return run.tally, error


def as_json(tally):
    return json.dumps(dataclasses.asdict(tally))
