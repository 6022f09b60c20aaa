"""Bridge and service that are cut off from each other, on a wire of the tests' own between two network namespaces."""

import random
import time

import virtual_wire
from cluster import Cluster, Process
from journaled_clients import LegacyPlayer, Load
from scenario import Skipped, end_processes, scenario
from virtual_wire import BLACK_HOLE, CLEAN_THERE, HERE, NO_FAULTS, Faults, Wire

PORT = 50051  # Nobody else is in the namespace.
CLIENTS = 6
SIZES = (100, 5_000, 70_000, 300_000)
RIDE_THROUGH_S = 30
MEMORY_LIMIT = 256 << 20


class WiredCluster(Cluster):
    """The bridge is behind the wire, all else on this side."""

    def __init__(self, directory, wire, bridge_flags=()):
        self.wire = wire
        super().__init__(directory, service_flags=[f"--listen=0.0.0.0:{PORT}", "--insecure_grpc"], bridge_flags=bridge_flags)

    def start_bridge(self):
        self.bridge = Process("backup-bridge", ["--bind=0.0.0.0", "--port=1357", f"--service={HERE}:{PORT}", "--insecure_grpc",
                                                *self.bridge_flags], self.directory, prefix=self.wire.prefix)
        self.port = self.bridge.port


def faults_of(dice):
    """(what it is called, faults, how long)."""
    length = dice.choice((0.1, 0.3, 1.0, 3.0))
    return dice.choice((
        ("black hole", BLACK_HOLE, length),
        ("one way", Faults(loss_there=1.0), length),
        ("the other way", Faults(loss_back=1.0), length),
        ("resets", Faults(resets=True), length),
        ("loss", Faults(loss_there=0.2, loss_back=0.2), 3.0),
        ("delay", Faults(delay_s=dice.choice((0.1, 0.5, 1.0, 2.0)), jitter_s=0.1), 3.0),
        ("disorder", Faults(jitter_s=0.05, duplicates=0.3), 2.0)))


def prepare():
    if not virtual_wire.is_possible():
        raise Skipped("no network namespaces, TUN or veth devices (this takes root)")
    virtual_wire.enter_own_namespace()


@scenario("R12", prepare, deadline_s=180)
def partitions(run):
    """black holes, one way, resets, loss, delay and disorder between bridge and service"""
    wire = Wire(random.Random(run.seed))
    run.defer(wire.close)
    cluster = WiredCluster(run.folder, wire)
    run.defer(end_processes, cluster)
    players = [LegacyPlayer(run.journal, cluster.port, f"client {number}", random.Random(run.seed + number), SIZES, host=CLEAN_THERE)
               for number in range(CLIENTS)]
    load = Load(players).start()
    load.wait_for_service("the start")
    for _ in range(run.times(6, 100)):
        what, faults, length_s = faults_of(run.dice)
        if run.is_soak and run.dice.random() < 0.1:
            length_s = run.dice.uniform(10, RIDE_THROUGH_S)
        wire.faults = faults
        time.sleep(length_s)  # The length of the cut.
        wire.faults = NO_FAULTS
        run.tally.faults += 1
        load.wait_for_service(f"{what} for {length_s} s")
    load.wait_for_all()
    load.stop()
    memory = run.resources(cluster)["backup-bridge"].memory
    assert memory < MEMORY_LIMIT, f"the bridge holds {memory} bytes"
    run.judge(cluster)
