"""Other protocols, and rubbish, at each port of both programs."""

import contextlib
import socket
import struct

from exhaustion import is_alive, operations_flags
from hostile_clients import Beside, only_victims_are_judged
from scenario import scenario

LARGEST = 1 << 16
HELLOS = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /" + b"a" * LARGEST, b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nx",
    b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 5000, b"GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n",
    b"GET /../../etc/passwd HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600), b"SSH-2.0-OpenSSH_9.2\r\n",
    b"EHLO x\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(1000), b"*1\r\n$4\r\nPING\r\n",
    b"\x00\x00\x00\x85\xffSMBr" + bytes(100), b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12), bytes(LARGEST), b"\xff" * LARGEST, b"")
SIZES = (0, 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


@scenario("S1 S2", deadline_s=180)
def wrong_protocols(run):
    """other protocols, rubbish and impossible sizes at every port"""
    beside = Beside(run, service_flags=operations_flags(run.folder, "service"), bridge_flags=operations_flags(run.folder, "bridge"))
    operations = [int((run.folder / f"{name}.operations").read_text()) for name in ("service", "bridge")]
    ports = (beside.cluster.port, beside.cluster.service_port, *operations)
    for _ in range(run.times(1, 50)):
        for port in ports:
            for hello in (*HELLOS, *(run.dice.randbytes(run.dice.randrange(400)) for _ in range(20))):
                throw(port, hello)
                run.tally.faults += 1
        for code in (*range(1025, 1032), 0, 65535, 2103):
            for size in SIZES:
                throw(beside.cluster.port, beside.victim.client.id + struct.pack("<BHI", run.dice.choice((1, 3, 255)), code, size) + bytes(400))
                run.tally.faults += 1
        beside.measure_so_far("other protocols")
    for port in operations:
        assert is_alive(port)
    beside.judge()
    only_victims_are_judged(run, beside)


def throw(port, data):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(4096)
