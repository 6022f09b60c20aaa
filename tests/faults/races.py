"""One name from many connections, and everything delivered more than once."""

import random
import time

import grpc_client
import journal as j
from journaled_clients import ApiPlayer, LegacyPlayer, Load, until_served
from scenario import scenario
from supervisor import Supervisor

CONNECTIONS = 16
ALREADY_SO = {grpc_client.NOT_FOUND, grpc_client.FAILED_PRECONDITION}
# What others tell is what there was to do.
ANSWERED_ALIKE = ("Get", "List", "Observe", "Register", "Set")
SIZES = (1, 100, 5_000, 70_000, 300_000)


class SameName(LegacyPlayer):
    """One of many connections of one client, all of which send the same file."""

    def __init__(self, of, dice):
        super().__init__(of.journal, of.client.port, of.client.name.decode(), dice, SIZES)
        self.left = 0
        self.client.id, self.client.rsa, self.client.aes = of.client.id, of.client.rsa, of.client.aes

    def sign_up(self):
        return self

    def step(self):
        if self.dice.random() < 0.1:
            return self._leave_in_the_middle()
        # No verdict that gives up: it might be about the version of another connection that came meanwhile.
        return self.transfer("the file", self.dice.randbytes(self.dice.choice(SIZES)),
                             j.VERIFIED if self.dice.random() < 0.8 else "")

    def _leave_in_the_middle(self):
        ciphertext = self.client.encrypt(self.dice.randbytes(70_000))
        connection = self.client.connect()
        payload = len(ciphertext).to_bytes(4, "little") + b"the file".ljust(255, b"\0") + ciphertext
        connection.send(self.client.id, 1, 1028, payload[:self.dice.randrange(len(payload))], payload_size=len(payload))
        connection.close()
        self.left += 1
        return False


@scenario("R19", deadline_s=180)
def same_name(run):
    """16 connections of one client that send one name with different bytes, and leave in the middle"""
    cluster = run.start()
    one = LegacyPlayer(run.journal, cluster.port, "one", random.Random(run.seed)).sign_up()
    assert one.transfer("first", b"so that its checksum is known")
    before = run.resources(cluster)
    load = Load([SameName(one, random.Random(run.dice.randrange(1 << 62))) for _ in range(CONNECTIONS)]).start()
    deadline = time.monotonic() + run.times(5, 120)
    while time.monotonic() < deadline:
        load.wait_for_service("it began")
    load.wait_for_all()
    load.stop()
    run.tally.faults += sum(player.left for player in load.players)
    run.judge_resources(cluster, before)
    run.judge(cluster)


class Repeating(ApiPlayer):
    """Delivers each call 2 to 5 times, and compares all answers."""

    def step(self):
        verdict = self.dice.choices((j.VERIFIED, j.RETRYING, j.ABANDONED), (8, 1, 1))[0]
        return self.transfer(*self.choose(), verdict, repeats=self.dice.randrange(2, 6))


def repeated_calls(client, deleted):
    """What may be repeated; nobody else changes anything meanwhile."""
    return (("RegisterClient", {"name": "registered many times"}), ("GetClient", {"client_id": client}),
            ("ListFiles", {"client_id": client, "page_size": 100}), ("ObserveClient", {"client_id": client}),
            ("SetQuota", {"quota": {"scope": 3, "client_id": client, "hard_bytes": 1 << 40}}),
            ("GetQuota", {"scope": 3, "client_id": client}), ("DeleteQuota", {"scope": 3, "client_id": client}),
            ("SetPolicy", {"policy": {"client_id": deleted, "keep_last": 3}}), ("GetPolicy", {"client_id": deleted}),
            ("DeletePolicy", {"client_id": deleted}), ("DeleteFile", {"client_id": deleted, "file_name": "file 0"}),
            ("UndeleteFile", {"client_id": deleted, "file_name": "file 0"}), ("DeleteClient", {"client_id": deleted}),
            ("UndeleteClient", {"client_id": deleted}), ("PauseScrub", {}), ("StartScrub", {}), ("ListKeys", {}), ("ListTrash", {}))


def once(port, method, fields):
    """What a call comes to: its response, or the code of its error; raises only if nobody answers."""
    try:
        with grpc_client.GrpcClient(port) as api:
            answer = api.call(method, **fields)
            if "client" in answer.DESCRIPTOR.fields_by_name:
                answer.client.ClearField("last_seen_time")  # It tells of the call itself.
            return answer
    except grpc_client.CallError as error:
        if error.code == grpc_client.UNAVAILABLE:
            raise
        return error.code


@scenario("R20", deadline_s=180)
def duplicates(run):
    """every call delivered 2 to 5 times, also across restarts: one answer, one version"""
    cluster = run.start()
    load = Load([Repeating(run.journal, cluster.service_port, f"caller {number}", random.Random(run.seed + number), SIZES)
                 for number in range(4)]).start()
    with Supervisor(cluster) as supervisor:
        for _ in range(run.times(4, 100)):
            load.wait_for_service("a restart")
            cluster.service.process.kill()
            time.sleep(run.dice.uniform(0.1, 0.5))  # The random moment of the next.
        load.wait_for_all()
        load.stop()
    run.tally.faults += supervisor.starts
    others = ApiPlayer(run.journal, cluster.service_port, "of the other calls", run.dice).sign_up()
    others.transfer("file 0", b"content")
    run.journal.remove(others.id, "file 0")
    for method, fields in repeated_calls(load.players[0].id, others.id):
        if method not in grpc_client.api().methods:
            run.fail(f"there is no {method}")
        answers = []
        for number in range(run.dice.randrange(2, 6)):
            if number and run.dice.random() < 0.1:
                cluster.service.kill()
                cluster.start_service()
            answers.append(until_served(lambda: once(cluster.service_port, method, fields)))
        run.tally.faults += len(answers) - 1
        # To delete or take back what is so already may be told as such.
        errors = {answer for answer in answers[1:] if isinstance(answer, int)}
        if isinstance(answers[0], int) or errors - ALREADY_SO:
            run.fail(f"{method} {fields}: {answers}")
        if method.startswith(ANSWERED_ALIKE) and any(answer != answers[0] for answer in answers):
            run.fail(f"{method} {fields}, answered in several ways: {answers}")
        if method == "RegisterClient":
            run.journal.client(answers[0].client.client_id, fields["name"])
    others.close()
    run.judge(cluster)
