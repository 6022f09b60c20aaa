"""What is between the service and its PostgreSQL, or its object store, cuts, loses answers, holds, delays and refuses."""

import os
import pathlib
import random
import uuid

import postgres_server
import s3_store
from faulty_relay import NO_FAULTS, Faults, FaultyRelay
from journaled_clients import Load, mixed
from oracle import Oracle, check_session_keys
from scenario import Skipped, scenario

CLIENTS = 8
# In the catalog alone, and in packs of several pieces.
SIZES = (0, 100, 5_000, 70_000, 300_000, 2_000_000)
LENGTHS_S = (0.2, 0.5, 1.0, 3.0)

FAULTS = {
    "cut on the way there": Faults(cut_there=0.05),
    "cut on the way back": Faults(cut_back=0.05),
    "answers are lost": Faults(lost_answers=0.05),
    "all answers are lost": Faults(lost_answers=1.0),
    "nothing is answered": Faults(is_deaf=True),
    "all is slow": Faults(delay_s=0.3),
}
HTTP_FAULTS = FAULTS | {
    "every second request is refused": Faults(unavailable=0.5),
    "all requests are refused": Faults(unavailable=1.0),
}


def play_faults(run, relay, kinds, cluster):
    """Each kind once, in some order, or in a soak more; then the oracle, of a service that has run all the time."""
    load = Load(mixed(run.journal, cluster, run.dice, CLIENTS, SIZES)).start()
    load.wait_for_service("the start")
    for _ in range(run.times(1, 20)):
        for what in run.dice.sample(sorted(kinds), len(kinds)):
            length_s = run.dice.choice(LENGTHS_S)
            relay.faults = kinds[what]
            load.stopping.wait(length_s)  # The length of the fault.
            relay.faults = NO_FAULTS
            load.wait_for_service(f"{what} for {length_s} s")
    load.wait_for_all()
    load.stop()
    run.tally.faults += relay.injected
    assert relay.injected > 0, "no fault met anything"
    assert cluster.service.process.poll() is None, f"the service has ended:\n{cluster.service.log()}"
    run.problems += Oracle(run.journal, cluster.service_port).check()
    run.problems += check_session_keys(run.journal, run.journal.old_clients)
    code = cluster.service.stop()
    assert code == 0, f"the service ends with {code}"


def needs_postgres():
    if postgres_server.programs() is None:
        raise Skipped("PostgreSQL is not installed (tests/support/postgres_packages.txt)")


@scenario("R12", needs_postgres, deadline_s=240)
def catalog_relay(run):
    """cuts, lost answers (of commits too), holds and delays between the service and PostgreSQL"""
    server = postgres_server.Server()
    run.defer(server.close)
    relay = FaultyRelay(pathlib.Path(server.folder) / ".s.PGSQL.5432", random.Random(run.seed))
    run.defer(relay.close)
    database = server.new_database()
    cluster = run.start(service_flags=[f"--catalog=postgres://{postgres_server.ROLE}@127.0.0.1:{relay.port}/{database}"])
    play_faults(run, relay, FAULTS, cluster)


def needs_a_store():
    if not s3_store.stores():
        raise Skipped("no object store runs (tests/support/s3_engines.sh)")


@scenario("R12", needs_a_store, deadline_s=240)
def store_relay(run):
    """cut bodies, lost answers (of completed uploads too), 503 storms, holds and delays between the service and an object store"""
    store = run.dice.choice(s3_store.stores())
    os.environ.update(store.environment())
    relay = FaultyRelay(int(store.port), random.Random(run.seed))
    run.defer(relay.close)
    prefix = f"faults/{uuid.uuid4().hex}"
    cluster = run.start(service_flags=[f"--blobs=s3://{s3_store.BUCKET}/{prefix}", f"--s3_endpoint=http://127.0.0.1:{relay.port}"])
    run.note(f"the store is {store.name}")
    play_faults(run, relay, HTTP_FAULTS, cluster)
