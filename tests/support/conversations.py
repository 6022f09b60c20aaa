"""Conversations of many model clients at once, and what must be in the store when they are over."""

import collections
import concurrent.futures
import dataclasses
import functools
import itertools
import random
import traceback

import dialect_client as f
import exposition
from cluster import ClusterTest, Process
from stored_files import all_newest_verified, name_text

PROCESSES = 2
RESTORES_AT_ONCE = 4
CONVERSATIONS_AT_ONCE = 96
BATCH = 100
SHOWN_FAILURES = 10

SIZES = (0, 1, 15, 16, 17, 1024, 4000)
# The last two make payload sizes with a zero byte in the middle, for families with and without the id in front.
LARGER_SIZES = (130538, 65536 - 275, 65536 - 259)
FILES_A_RUN = 2


@functools.cache
def content_of(size, seed):
    """Random bytes, the same in every process."""
    return random.Random(f"{size} {seed}").randbytes(size)


@dataclasses.dataclass(frozen=True)
class Conversations:
    """One client's two runs; files are (name, size, seed)."""

    style: f.Style
    name: bytes
    first: tuple
    second: tuple
    start: str = "signs up"


@dataclasses.dataclass
class Outcome:
    """What must be in the store: by (client, name) the newest (size, seed, size as stored), and how many were confirmed."""

    newest: dict = dataclasses.field(default_factory=dict)
    verified: int = 0
    conversations: int = 0
    failures: list = dataclasses.field(default_factory=list)

    def add(self, other):
        self.newest.update(other.newest)
        self.verified += other.verified
        self.conversations += other.conversations
        self.failures += other.failures


def start_run(client, plan, files):
    """The first run, in one of the ways in which a client can come to its id."""
    if plan.start == "signs up":
        return client.first_run(files)
    return client.run_after_denial(files, registers=plan.start == "denied, registers")


def check_transfer(style, transfer):
    """With one pretended mismatch or none, the right candidate comes before a client gives up."""
    f.require(transfer.verified or style.mismatches > 1, f"not confirmed: {transfer.answered}")


def converse(ports, plan):
    """Both runs of one client, and somebody who wants its name."""
    outcome = Outcome()
    try:
        client = f.DialectClient(ports[plan.style.family.name], plan.name, plan.style, key_number=len(plan.name))
        for run, files in ((functools.partial(start_run, client, plan), plan.first), (client.second_run, plan.second)):
            transfers = run({name: content_of(size, seed) for name, size, seed in files})
            outcome.conversations += 1
            for name, size, seed in files:
                check_transfer(plan.style, transfers[name])
                if transfers[name].verified:
                    outcome.newest[client.id, name] = size, seed, len(client.as_stored(content_of(size, seed)))
                    outcome.verified += 1
        f.DialectClient(ports[plan.style.family.name], plan.name, plan.style).find_name_taken()
        outcome.conversations += 1
    except Exception:  # Shown by the test.
        outcome.failures.append(f"{plan.style} ({plan.start}): {traceback.format_exc(limit=-2)}")
    return outcome


def converse_all(ports, plans):
    """What one worker process does; the keys are made before threads would each make their own."""
    for number in range(f.SPARE_KEYS):
        f.rsa_key(number)
    total = Outcome()
    with concurrent.futures.ThreadPoolExecutor(CONVERSATIONS_AT_ONCE) as pool:
        for outcome in pool.map(functools.partial(converse, ports), plans):
            total.add(outcome)
    return total


def starts(style):
    """Ways to an id. A fresh one is good only for who tells it, and for whom it was given out by name."""
    if style.family.reconnect_request == "PUBLIC_KEY" or style.zero_ids is f.ZeroIds.ALWAYS:
        return ("signs up",)
    names_itself = any(field.kind == "CLIENT_NAME" for field in style.family.dialect.request_of["RECONNECT"].fields)
    goes_on = ("denied, goes on",) if names_itself and style.zero_ids is f.ZeroIds.NEVER else ()
    return "signs up", "signs up", "denied, registers", *goes_on


def plans_of(styles, choose):
    """Conversations of a client of each style."""
    for index, style in enumerate(styles):
        sizes = SIZES + (choose(LARGER_SIZES),) if index % 4 == 0 else SIZES
        first = tuple((b"dir\\file %d" % at, choose(sizes), choose(range(4))) for at in range(FILES_A_RUN))
        second = tuple((b"dir\\file %d" % at, choose(sizes), 4) for at in range(1, FILES_A_RUN + 1))
        name = b"%s %d" % (style.family.name.encode(), index)
        yield Conversations(style, name, first, second, choose(starts(style)))


def batched(items, size):
    """Tuples of up to `size` items."""
    iterator = iter(items)
    while batch := tuple(itertools.islice(iterator, size)):
        yield batch


class ConversationTest(ClusterTest):
    """Each test has a store of its own and a bridge in front of it; it may have a second one."""

    def start_cluster(self, *bridge_flags, service_flags=()):
        self.operations_port_file = self.folder / "operations"
        self.cluster = self.start(bridge_flags=bridge_flags, service_flags=[
            "--operations_listen=127.0.0.1:0", f"--operations_bound_port_file={self.operations_port_file}", *service_flags])

    def start_second_bridge(self, *flags):
        folder = self.folder / "second"
        folder.mkdir()
        bridge = Process("backup-bridge", ["--bind=127.0.0.1", "--port=0", f"--service=127.0.0.1:{self.cluster.service_port}",
                                           *flags], folder)
        self.addCleanup(bridge.stop)
        return bridge

    def versions_stored(self, state):
        return exposition.scrape(int(self.operations_port_file.read_text())).value("backup_versions", state=state)

    def play(self, ports, plans):
        """All conversations, then a look into the store."""
        batches = list(batched(plans, BATCH))
        total = Outcome()
        with concurrent.futures.ProcessPoolExecutor(PROCESSES) as pool:
            for outcome in pool.map(functools.partial(converse_all, ports), batches):
                total.add(outcome)
        shown = "\n".join(total.failures[:SHOWN_FAILURES])
        clients = sum(len(batch) for batch in batches)
        self.assertEqual(total.failures, [], f"{len(total.failures)} of {clients} clients failed:\n{shown}")
        self.check_stored(total)

    def check_stored(self, total):
        """The newest confirmed contents, no more and no fewer; and nothing left that nobody decided on."""
        self.assertEqual(self.versions_stored("received"), 0)
        self.assertEqual(self.versions_stored("verified"), total.verified)
        expected = collections.defaultdict(dict)
        for (client_id, name), (size, seed, stored_size) in total.newest.items():
            expected[client_id][name_text(name)] = content_of(size, seed).ljust(stored_size, b"\0")
        restore = functools.partial(all_newest_verified, self.cluster.service)
        with concurrent.futures.ThreadPoolExecutor(RESTORES_AT_ONCE) as pool:
            for client_id, stored in zip(expected, pool.map(restore, expected)):
                self.assertTrue(stored == expected[client_id], f"{client_id.hex()}: {stored.keys()}")
