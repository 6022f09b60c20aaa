"""Contents that were changed on their way, or by somebody who looks for what the padding tells of them."""

import bisect
import contextlib
import math
import socket
import struct
import time

import grpc_client
import model_client as m
from Cryptodome.Cipher import AES
from journaled_clients import LegacyPlayer
from scenario import scenario

BLOCK = 16
SIZES = (4_096, 70_000 // BLOCK * BLOCK)  # What comes with its head, and what a worker receives.
# Of how many standard deviations chance does not come.
SURE = 5
CLOSES = 5
# The last block as it was before encryption, of each kind of padding that is wrong.
ENDS_WRONG = "the last byte is no length"
IS_NOT_EVEN = "the last byte is a length, what is before it is another"
IS_RUBBISH = "the last block is rubbish"
KINDS = (ENDS_WRONG, IS_NOT_EVEN, IS_RUBBISH)


def wrong_content(dice, key, kind, size):
    """A ciphertext of so many bytes whose padding is wrong."""
    plain = bytearray(dice.randbytes(size))
    if kind == ENDS_WRONG:
        plain[-1] = dice.choice((0, *range(BLOCK + 1, 256)))
    else:
        length = dice.randrange(2, BLOCK + 1)
        plain[-length:] = bytes([length]) * length
        plain[-dice.randrange(2, length + 1)] ^= dice.randrange(1, 256)
    content = bytearray(AES.new(key, AES.MODE_CBC, bytes(BLOCK)).encrypt(bytes(plain)))
    if kind == IS_RUBBISH:
        content[-BLOCK:] = dice.randbytes(BLOCK)
        last = AES.new(key, AES.MODE_CBC, bytes(content[-2 * BLOCK:-BLOCK])).decrypt(bytes(content[-BLOCK:]))
        if last[-1:] * last[-1] == last[-last[-1]:] and 1 <= last[-1] <= BLOCK:
            return wrong_content(dice, key, kind, size)  # By chance it is right.
    return bytes(content)


def ask(client, content, goes_on=False):
    """What an old client is told of a content, or, if it goes on, of a request after that; and how long it took."""
    with contextlib.closing(client.connect()) as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        payload = struct.pack("<I", len(content)) + m.name_field(b"probe") + content
        begin = time.monotonic()
        answer = connection.call(client.id, client.version, m.FILE, payload)
        took = time.monotonic() - begin
        if goes_on:
            try:
                answer = connection.call(client.id, client.version, m.RECONNECT, m.name_field(client.name))[0]
            except OSError:
                answer = "closed"
        return answer, took


def ask_api(api, client_id, content):
    header = grpc_client.api().messages.UploadFileHeader
    begin = time.monotonic()
    try:
        api.upload(content, client_id=client_id, file_name="probe", encoding=header.AES_CBC_ZERO_IV)
    except grpc_client.CallError as error:
        return (error.code, error.message), time.monotonic() - begin
    return "taken", time.monotonic() - begin


def how_often_slower(one, other):
    """Of all pairs of two samples, in what part the first is the larger; equal ones count half."""
    other = sorted(other)
    return sum(bisect.bisect_left(other, took) + bisect.bisect_right(other, took) for took in one) / (2 * len(one) * len(other))


def compare(run, what, ask_once, key, times):
    """All kinds, each in turn, so that whatever else the machine does it does to all of them."""
    answers, took = set(), {kind: [] for kind in KINDS}
    for _ in range(times):
        kinds = run.dice.sample(KINDS, len(KINDS))
        # Before any is sent: some take longer to make, and what a machine did last makes it slower or faster.
        contents = [wrong_content(run.dice, key, kind, what[1]) for kind in kinds]
        for kind, content in zip(kinds, contents):
            answer, seconds = ask_once(content)
            answers.add(answer)
            took[kind].append(seconds)
            run.tally.faults += 1
    assert len(answers) == 1, f"{what}: {answers}"
    far_off = SURE * math.sqrt((2 * times + 1) / (12 * times ** 2))
    for kind in KINDS[1:]:
        part = how_often_slower(took[kind], took[KINDS[0]])
        run.note(f"{what}: {kind!r} takes longer than {KINDS[0]!r} in {part:.1%} of all pairs")
        assert abs(part - 0.5) < far_off, f"{what}: {kind!r} can be told from {KINDS[0]!r} by the time: {part:.1%}"


@scenario("S8", deadline_s=180)
def padding_oracle(run):
    """contents with wrong padding of each kind: one answer, one end of the connection, one time"""
    cluster = run.start()
    old = LegacyPlayer(run.journal, cluster.port, "old", run.dice).sign_up()
    assert old.transfer("file", b"that is to stay")
    for size in SIZES:
        after = {ask(old.client, wrong_content(run.dice, old.client.aes, kind, size), goes_on=True)[0] for kind in KINDS * CLOSES}
        assert len(after) == 1, f"the connection goes on in several ways: {after}"
    times = run.times(60, 2000)
    for size in SIZES:
        compare(run, ("old client", size), lambda content: ask(old.client, content), old.client.aes, times)
        with grpc_client.GrpcClient(cluster.service_port) as api:
            compare(run, ("API", size), lambda content: ask_api(api, old.id, content), old.client.aes, times)
    assert old.transfer("file", b"served as before")
    run.judge(cluster)
