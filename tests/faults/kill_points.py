"""kill -9 at the Nth system call of everything that changes the store."""

import struct
import uuid

import grpc_client
import journal as j
import system_calls
from Cryptodome.Cipher import AES
from Cryptodome.Util.Padding import pad
from journaled_clients import ApiPlayer, LegacyPlayer, until_served
from oracle import Oracle
from scenario import Skipped, scenario
from supervisor import Supervisor

INLINE, LARGE, LONG = 5_000, 300_000, 6 << 20
SEGMENTS = 3
POINTS_CI = 60
CALLS_CI = 4  # The Nth of each kind, up to this.
CALLS_SOAK = 400
FORMS = ("plain", "sealed", "client")


class Actions:
    """Each changes the store once, whatever is repeated until it is told: (prepare, act)."""

    def __init__(self, run, cluster):
        self.run, self.cluster, self.dice = run, cluster, run.dice
        self.old = LegacyPlayer(run.journal, cluster.port, f"old {run.seed}", run.dice).sign_up()
        self.caller = ApiPlayer(run.journal, cluster.service_port, f"caller {run.seed}", run.dice).sign_up()
        self.count = 0

    def _until_acknowledged(self, player, size):
        content = self.dice.randbytes(size)
        until_served(lambda: self._assert(player.transfer(f"file {self.count % 5}", content)))

    @staticmethod
    def _assert(is_done):
        assert is_done

    def call(self, method, **fields):
        """Until an answer comes; that an object is gone is one."""
        def once():
            try:
                with grpc_client.GrpcClient(self.cluster.service_port) as api:
                    return api.stream(method, [grpc_client.api().methods[method].request(**fields)])
            except grpc_client.CallError as error:
                if error.code == grpc_client.UNAVAILABLE:
                    raise
                return []
        return until_served(once)

    def inline(self):
        self._until_acknowledged(self.old, INLINE)

    def large(self):
        self._until_acknowledged(self.old, LARGE)

    def long(self):
        self._until_acknowledged(self.caller, LONG)

    def inline_of_a_caller(self):
        self._until_acknowledged(self.caller, INLINE)

    def segments(self):
        """Of an old client's file, each of them encrypted on its own."""
        content = self.dice.randbytes(LARGE)
        part = len(content) // SEGMENTS
        encoded = b""
        for at in range(0, len(content), part):
            sealed = AES.new(self.old.client.aes, AES.MODE_CBC, bytes(16)).encrypt(pad(content[at:at + part], 16))
            encoded += struct.pack("<I", len(sealed)) + sealed
        upload_id = str(uuid.UUID(bytes=self.dice.randbytes(16), version=4))
        number = self.run.journal.begin(self.old.id, "segments", content)
        header = grpc_client.api().messages.UploadFileHeader

        def once():
            request = grpc_client.api().methods["UploadFile"].request
            with grpc_client.GrpcClient(self.cluster.service_port) as api:
                api.stream("UploadFile", [request(header=header(
                    client_id=self.old.id, file_name="segments", upload_id=upload_id,
                    encoding=header.AES_CBC_ZERO_IV_SEGMENTS, segment_count=-(-len(content) // part))), request(chunk=encoded)])
        until_served(once)
        self.run.journal.stored(number)
        self.run.journal.say(number, j.VERIFIED)
        self.call("ReportTransfer", client_id=self.old.id, file_name="segments", outcome=1, upload_id=upload_id)
        self.run.journal.told(number)

    def deleted(self):
        """A file of its own goes into the trash."""
        name = f"deleted {self.count}"
        if self.caller.transfer(name, self.dice.randbytes(LARGE)):
            removal = self.run.journal.remove(self.caller.id, name)
            self.call("DeleteFile", client_id=self.caller.id, file_name=name)
            self.run.journal.removed(removal)

    def purged(self):
        self.deleted()
        self.call("EmptyTrash")

    def snapshot(self):
        self.call("BackUpState")

    def read(self):
        self.call("StartScrub")

    def rotated(self):
        self.call("RotateKey")

    def registered(self):
        LegacyPlayer(self.run.journal, self.cluster.port, f"new {self.count} {self.run.seed}", self.dice).sign_up()

    NAMES = ("inline", "large", "long", "inline_of_a_caller", "segments", "deleted", "purged", "snapshot", "registered", "read", "rotated")

    def act(self, name):
        self.count += 1
        getattr(self, name)()


def strike(run, cluster, actions, name, call, at):
    """One action with the service killed at that call; whether it came to that."""
    with Supervisor(cluster) as supervisor:
        process = cluster.service.process
        try:
            with system_calls.injected(process.pid, call, "signal=KILL", at):
                actions.act(name)
        except ProcessLookupError:
            pass
        actions.call("GetStatus")  # What was hit at the last moment does not answer any more.
        was_killed = process.poll() is not None
    run.tally.faults += was_killed
    run.tally.longest_pause_s = max(run.tally.longest_pause_s, supervisor.longest_start_s)
    return was_killed


def strike_start(run, cluster, call, at):
    """A start that is killed at that call, then one that is not; whether it came to that."""
    cluster.service.kill()
    cluster.prefix = system_calls.prefix(call, "signal=KILL", at)
    try:
        cluster.start_service()
        was_killed = False
    except AssertionError:
        was_killed = True
    cluster.prefix = ()
    cluster.service.kill()  # It is still traced, and would be killed by what it does next.
    cluster.start_service()
    run.tally.faults += was_killed
    return was_killed


def points(run):
    """What is struck where: some of all in a check, in a soak every call up to one that is not reached."""
    names = (*Actions.NAMES, "start")
    if not run.is_soak:
        for _ in range(POINTS_CI):
            yield run.dice.choice(names), run.dice.choice(system_calls.DISK_CALLS), [run.dice.randrange(1, CALLS_CI + 1)]
        return
    for name in names:
        for call in system_calls.DISK_CALLS:
            yield name, call, range(1, CALLS_SOAK)


def prepare():
    if not system_calls.is_there():
        raise Skipped("strace(1) is missing, or may not trace (ptrace)")


@scenario("R1 R3", prepare, soak_deadline_s=3 * 3600)
def kill_points(run):
    """kill -9 of the service at the Nth system call: uploads of each kind, verdicts, deletes, purges, snapshots, starts"""
    form = run.dice.choice(FORMS)
    cluster = run.start(service_flags=[f"--at_rest={form}", "--sweep_interval=1s"])
    actions = Actions(run, cluster)
    for name, call, counts in points(run):
        for at in counts:
            reached = strike_start(run, cluster, call, at) if name == "start" else strike(run, cluster, actions, name, call, at)
            if not reached:
                break
        if run.is_soak:
            run.problems += Oracle(run.journal, cluster.service_port).check()
            if run.problems:
                run.fail(f"{form}: {name} at {call} {at}")
    actions.caller.close()
    run.judge(cluster)
