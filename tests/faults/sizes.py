"""Sizes at the edges of everything that has one, and sizes that are told and never come."""

import contextlib
import socket
import struct
import uuid

import grpc_client
import model_client as m
from journaled_clients import ApiPlayer, LegacyPlayer, until_served
from oracle import Resources
from scenario import scenario

EDGES = (16, 256, 4 << 10, 16 << 10, 64 << 10, 1 << 20, 4 << 20)  # A block, pages, parts, what is in the catalog, pieces, messages.
SIZES = (0, 1, *(edge + more for edge in EDGES for more in (-1, 0, 1)))
LARGEST = (1 << 32) - 1
TOLD = (0, 1, 15, 16, 17, 258, 259, 260, 275, 1 << 16, (1 << 31) - 1, 1 << 31, LARGEST - 259, LARGEST - 258, LARGEST - 1, LARGEST)
TOLD_TO_API = (-1 << 63, -1, 1, 1 << 31, 1 << 32, 1 << 40, (1 << 63) - 1)
FORMS = ("plain", "sealed", "client")
MEMORY = 128 << 20  # For what is told, more than there was before.
ANSWER_S = 5


def tell(player, payload_size, content_size, name):
    """An old client that says so, sends a little, and goes."""
    head = player.client.id + struct.pack("<BHII", player.client.version, m.FILE, payload_size, content_size)
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", player.client.port), timeout=ANSWER_S) as connection:
        connection.sendall(head + name + bytes(40))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass


def tell_api(run, player, size, encoding):
    """A caller that says so and sends a little gets an error; nothing else is an answer."""
    header = grpc_client.api().messages.UploadFileHeader(
        client_id=player.id, file_name="told", upload_id=str(uuid.UUID(bytes=run.dice.randbytes(16), version=4)), encoding=encoding)
    header.encoded_size = size
    request = grpc_client.api().methods["UploadFile"].request
    try:
        with grpc_client.GrpcClient(player.port, timeout=ANSWER_S) as api:
            api.stream("UploadFile", [request(header=header), request(chunk=bytes(48))])
        run.fail(f"48 bytes are taken for {size}")
    except grpc_client.CallError:
        pass


@scenario("R23 S2", deadline_s=180)
def sizes(run):
    """files of sizes at every edge, and all combinations of sizes that are told and never come: exact, or refused, and no memory for it"""
    cluster = run.start(service_flags=[f"--at_rest={run.dice.choice(FORMS)}"])
    old = LegacyPlayer(run.journal, cluster.port, "old", run.dice).sign_up()
    caller = ApiPlayer(run.journal, cluster.service_port, "caller", run.dice).sign_up()
    for player in (old, caller):
        for size in SIZES if run.is_soak else run.dice.sample(SIZES, 12):
            content = run.dice.randbytes(size)
            until_served(lambda: run.check(player.transfer(f"of {size} bytes", content)))
    before = run.resources(cluster)
    names = (m.name_field(b"told"), b"n" * m.NAME_SIZE, bytes(m.NAME_SIZE))
    for payload_size in TOLD:
        for content_size in TOLD:
            tell(old, payload_size, content_size, run.dice.choice(names))
            run.tally.faults += 1
    for size in TOLD_TO_API:
        for encoding in (1, 2):
            tell_api(run, caller, size, encoding)
            run.tally.faults += 1
    for process in (cluster.service, cluster.bridge):
        grown = Resources.of(process).memory - before[process.name].memory
        assert grown < MEMORY, f"{process.name} holds {grown >> 20} MiB for what never came"
    run.judge_resources(cluster, before)
    assert old.transfer("afterwards", b"served as before")
    caller.close()
    run.judge(cluster)
