"""Disks that fail calls: EIO and ENOSPC at the Nth system call, and a real disk that fails what was written to it."""

import time

import system_calls
import weak_disk
from journaled_clients import Load, mixed
from oracle import Oracle
from scenario import Skipped, scenario
from supervisor import Supervisor
from weak_disk import MEBIBYTE, WeakDisk

CLIENTS = 4
SIZES = (100, 5_000, 70_000, 300_000, 3 << 20)
CALLS = ("pwrite64", "write", "fdatasync", "fsync", "renameat2", "rename", "unlink", "ftruncate", "fallocate", "openat", "mkdir",
         "pread64", "io_uring_enter")
FAULT_S = 0.3
RECOVERY_S = 5
READ_ONLY = "nothing is written to the catalog any more"
DISK = 256 * MEBIBYTE


def prepare_calls():
    if not system_calls.is_there():
        raise Skipped("strace(1) is missing, or may not trace (ptrace)")


@scenario("R6 R7", prepare_calls, deadline_s=240)
def failing_calls(run):
    """EIO, ENOSPC, EDQUOT and EMFILE from the Nth system call on, once, or for a while, under load"""
    cluster = run.start()
    with Supervisor(cluster) as supervisor:
        load = Load(mixed(run.journal, cluster, run.dice, CLIENTS, SIZES)).start()
        load.wait_for_service("the start")
        for _ in range(run.times(12, 400)):
            begin = len(cluster.service.log())
            call = run.dice.choice(CALLS)
            error = run.dice.choice(system_calls.errors_of(call))
            at = f"{run.dice.randrange(1, 5)}{run.dice.choice(('', '+', '+2'))}"
            try:
                with system_calls.injected(cluster.service.process.pid, call, f"error={error}", at):
                    time.sleep(FAULT_S)  # How long it lasts.
                run.tally.faults += 1
            except ProcessLookupError:
                pass
            serve_again(cluster, load, begin, f"{call} failed with {error} at {at}")
        load.wait_for_all()
        load.stop()
    run.note(f"failing_calls: the service had to be started again {supervisor.starts} times")
    run.judge(cluster)


def serve_again(cluster, load, log_begin, after):
    """By itself, or, once the service says that it writes nothing any more, after a new start; by nothing else."""
    try:
        load.wait_for_service(after, RECOVERY_S)
    except AssertionError:
        assert READ_ONLY in cluster.service.log()[log_begin:], f"nobody is served, and the log does not tell why, after {after}"
        cluster.service.process.kill()
        load.wait_for_service(f"a start after {after}")


def prepare_disk():
    if not weak_disk.is_possible():
        raise Skipped("a small file system cannot be mounted here (this takes root and a loop device)")
    weak_disk.enter_own_namespace()
    if not weak_disk.has_device_mapper():
        print("NOT TESTED: dm-flakey and dm-error, which this kernel does not have; a loop device on a full tmpfs fails instead")


@scenario("R6 R7", prepare_disk, deadline_s=240)
def weak_disks(run):
    """a disk that fails what the file system took for it, at random times, and is there again"""
    disk = WeakDisk(run.folder, DISK)
    run.defer(disk.close)
    cluster = run.start()
    for number in range(run.times(2, 30)):
        with Supervisor(cluster, pause_s=0.2):
            load = Load(mixed(run.journal, cluster, run.dice, CLIENTS, SIZES, prefix=f"round {number}")).start()
            load.wait_for_service("the start")
            log_begin = len(cluster.service.log())
            time.sleep(run.dice.uniform(0, 1))  # The random moment of the fault.
            disk.give(0)
            run.tally.faults += 1
            time.sleep(run.dice.uniform(1, 3))  # How long it lasts.
            disk.give(2 * DISK)
            try:
                load.wait_for_service("the disk is there again", RECOVERY_S)
                is_served = True
            except AssertionError:
                # The file system made itself read-only, and somebody mounts it anew; or the service writes nothing any more.
                is_served = False
                assert not disk.is_writable() or READ_ONLY in cluster.service.log()[log_begin:], "nobody is served by a disk that is there"
            load.stop()
        if not is_served:
            run.note("weak_disks: the file system had to be repaired, or the service started again")
        # What the disk has, which is not all that the system's memory took for written.
        cluster.service.kill()
        disk.repair()
        cluster.start_service()
        run.problems += Oracle(run.journal, cluster.service_port).check()
        if run.problems:
            run.fail(f"in round {number}")
    run.judge(cluster)
