"""Descriptors, threads and memory that run out: in every listener and component, and what comes back when there are some again."""

import contextlib
import os
import random
import resource
import socket
import struct
import time
import urllib.request

import model_client as m
from control_group import ControlGroup
from journaled_clients import LegacyPlayer, Load, mixed, until_served
from oracle import Resources
from scenario import Skipped, scenario
from supervisor import Supervisor

CLIENTS = 8
FLOOD = 150
SERVED_S = 30
SIZES = (100, 5_000, 70_000, 300_000, 3 << 20)
GIBIBYTE = 1 << 30
# Of the service; what is more is refused. See R22.
MEMORY = 512 << 20
TIGHT = 24 << 20  # Beyond what it has at rest: too little on purpose.


def operations_flags(folder, name):
    return ["--operations_listen=127.0.0.1:0", f"--operations_bound_port_file={folder}/{name}.operations"]


def start_with_operations(run, **flags):
    cluster = run.start(service_flags=operations_flags(run.folder, "service"), bridge_flags=operations_flags(run.folder, "bridge"), **flags)
    ports = [int((run.folder / f"{name}.operations").read_text()) for name in ("service", "bridge")]
    return cluster, ports


def is_alive(port):
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=SERVED_S) as answer:
        return answer.status == 200
    return False


@contextlib.contextmanager
def flooded(ports):
    """Many connections to every listener at once."""
    sockets = []
    for port in ports:
        for _ in range(FLOOD):
            with contextlib.suppress(OSError):
                sockets.append(socket.create_connection(("127.0.0.1", port), timeout=1))
    try:
        yield
    finally:
        for one in sockets:
            one.close()


def wait_for_listeners(load, operations, after):
    load.wait_for_service(after)
    for port in operations:
        deadline = time.monotonic() + SERVED_S
        while not is_alive(port):
            assert time.monotonic() < deadline, f"/livez is deaf {SERVED_S} s after {after}"
            time.sleep(0.05)


@scenario("R15", deadline_s=240)
def descriptors(run):
    """no more descriptors than are open, in the midst of everything, and floods of every listener"""
    cluster, operations = start_with_operations(run)
    load = Load(mixed(run.journal, cluster, run.dice, CLIENTS, SIZES)).start()
    load.wait_for_service("the start")
    before = run.resources(cluster)
    listeners = (cluster.port, cluster.service_port, *operations)
    for spare in run.dice.sample(range(12), run.times(3, 12)):
        for process in (cluster.service, cluster.bridge):
            soft, hard = resource.prlimit(process.process.pid, resource.RLIMIT_NOFILE)
            used = Resources.of(process).descriptors
            # The numbers of descriptors count, not how many there are.
            resource.prlimit(process.process.pid, resource.RLIMIT_NOFILE, (used + spare, hard))
            with flooded(listeners):
                run.tally.faults += 1
                time.sleep(run.dice.uniform(0.2, 1.0))  # While there are none.
            resource.prlimit(process.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
            wait_for_listeners(load, operations, f"{process.name} had {spare} descriptors")
    load.stop()
    run.judge_resources(cluster, before)
    run.judge(cluster)


def prepare_pids():
    if not ControlGroup.is_possible("pids"):
        raise Skipped("no control group that bounds threads can be made (pids)")


@scenario("R15", prepare_pids, deadline_s=240)
def threads(run):
    """no more threads than there are, while more clients come, with large files too"""
    group = ControlGroup("pids")
    run.defer(group.close)
    cluster, operations = start_with_operations(run, prefix=group.prefix)
    load = Load(mixed(run.journal, cluster, run.dice, CLIENTS, SIZES)).start()
    load.wait_for_service("the start")
    before = run.resources(cluster)
    for number in range(run.times(2, 20)):
        group.limit(group.used() + run.dice.randrange(3))
        crowd = Load(mixed(run.journal, cluster, run.dice, CLIENTS * 2, SIZES, prefix=f"crowd {number} of")).start()
        with flooded((cluster.port, cluster.service_port, *operations)):
            run.tally.faults += 1
            time.sleep(run.dice.uniform(0.5, 2.0))  # While there are none.
        group.limit(None)
        wait_for_listeners(load, operations, "there were no threads")
        crowd.stop()
    load.stop()
    run.judge_resources(cluster, before)
    run.judge(cluster)


def prepare_memory():
    if not ControlGroup.is_possible("memory"):
        raise Skipped("no control group that bounds memory can be made (memory)")


def start_in_group(run):
    """The service in a control group that bounds memory, the bridge not; returns both."""
    group = ControlGroup("memory")
    run.defer(group.close)
    cluster = run.start()
    cluster.service.stop()
    cluster.prefix = group.prefix
    cluster.start_service()
    return cluster, group


@scenario("R22", prepare_memory, deadline_s=240)
def memory(run):
    """a service that is killed again and again because there is too little memory"""
    cluster, group = start_in_group(run)
    group.limit(Resources.of(cluster.service).memory + TIGHT)
    with Supervisor(cluster, pause_s=0.1) as supervisor:
        load = Load(mixed(run.journal, cluster, run.dice, CLIENTS, (100, 70_000, 3 << 20, 8 << 20))).start()
        deadline = time.monotonic() + run.times(15, 300)
        while time.monotonic() < deadline:
            if supervisor.starts > run.times(3, 200):
                break
            time.sleep(0.1)
        group.limit(None)
        load.wait_for_service("the limit was taken away")
        load.stop()
    run.tally.faults += supervisor.starts
    if supervisor.starts != group.kills():
        run.fail(f"{supervisor.starts} starts, but {group.kills()} kills for want of memory:\n{cluster.service.log()[-2000:]}")
    if supervisor.starts == 0:
        run.note(f"memory: {TIGHT >> 20} MiB more than at rest are enough: nothing was killed")
    run.judge(cluster)


def declare(client, name, size, sent):
    """A connection on which a file of that size was begun."""
    connection = client.connect()
    payload = struct.pack("<I", size) + m.name_field(name) + os.urandom(sent)
    connection.send(client.id, client.version, m.FILE, payload, payload_size=4 + m.NAME_SIZE + size)
    return connection


@scenario("R22", prepare_memory, deadline_s=240)
def declared(run):
    """a thousand files of 1 GiB that are declared at once, in as much memory as the service may take"""
    cluster, group = start_in_group(run)
    group.limit(MEMORY)
    keeper = LegacyPlayer(run.journal, cluster.port, "keeper", random.Random(run.seed)).sign_up()
    wanted, connections = run.times(300, 1000), []
    for number in range(wanted):
        with contextlib.suppress(OSError):
            connections.append(declare(keeper.client, b"huge %d" % (number % 100), GIBIBYTE, 64 << 10))
            run.tally.faults += 1
    assert len(connections) > wanted / 2, f"{len(connections)} of {wanted} were taken"
    for _ in range(20):
        until_served(lambda: keeper.transfer(*keeper.choose()))
    for connection in connections:
        connection.close()
    assert group.kills() == 0, "the service was killed for want of memory"
    assert cluster.service.process.poll() is None, cluster.service.log()
    until_served(lambda: keeper.transfer(*keeper.choose()))
    run.judge(cluster)
