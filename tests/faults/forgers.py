"""Callers and clients that write what is to look like a line of the log, wherever they may write anything."""

import contextlib
import socket

import grpc_client
import http2
import model_client as m
from exhaustion import operations_flags
from hostile_clients import check_log_lines
from journaled_clients import ApiPlayer, LegacyPlayer
from scenario import scenario

FORGERIES = ("x\nE20260101 00:00:00.000000     1 forged.cc:1] done", "x\r\nI20260101 00:00:00.000000     1 forged.cc:1] done",
             "\x1b[2K\x1b[31mred", "\x1b]0;title\x07", 'a": "b", "c": "', "%0A%0D", "\u2028\u0085\u202e", "\x7f\x08\x08")
DEPTH = 3
CALL_S = 2  # Some never end by themselves.
ANSWER = 1 << 16


def forged(dice, message_class, ids, depth=0):
    """A message with such a text in each of its fields, or, of what is to be an id, now and then with one that is there."""
    message = message_class()
    for field in message.DESCRIPTOR.fields:
        is_list = field.label == field.LABEL_REPEATED
        if field.message_type is not None:
            if depth < DEPTH:
                inner = forged(dice, message_of(message, field), ids, depth + 1)
                getattr(message, field.name).append(inner) if is_list else getattr(message, field.name).CopyFrom(inner)
            continue
        value = value_of(dice, field, ids)
        if value is not None:
            getattr(message, field.name).append(value) if is_list else setattr(message, field.name, value)
    return message


def message_of(message, field):
    part = getattr(message, field.name)
    return type(part.add()) if field.label == field.LABEL_REPEATED else type(part)


def value_of(dice, field, ids):
    if field.type == field.TYPE_STRING:
        return dice.choice(ids) if field.name == "client_id" and dice.random() < 0.5 else dice.choice(FORGERIES)
    if field.type == field.TYPE_BYTES:
        return dice.choice(FORGERIES).encode() + bytes([dice.randrange(256)])
    return None


def call_everything(run, cluster, ids):
    for name, method in grpc_client.api().methods.items():
        for _ in range(run.times(3, 50)):
            with contextlib.suppress(grpc_client.CallError, OSError, AssertionError), \
                    grpc_client.GrpcClient(cluster.service_port, timeout=CALL_S) as api:
                api.stream(name, [forged(run.dice, method.request, ids)])
            run.tally.faults += 1


def speak_to(port, data):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=CALL_S) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(ANSWER):
            pass


def write_paths_and_headers(run, cluster, operations):
    for text in FORGERIES:
        for port in operations:
            speak_to(port, f"GET /{text} HTTP/1.1\r\nHost: {text}\r\nUser-Agent: {text}\r\n\r\n".encode())
        speak_to(cluster.port, text.encode() * 20)
        with contextlib.suppress(OSError, AssertionError), contextlib.closing(http2.Http2Connection(cluster.service_port, timeout=CALL_S)) as raw:
            raw.send(http2.frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, 1, http2.request_headers(f"/backup.v1.{text}/Call")))
            while raw.next_frame()[0] != http2.HEADERS:
                pass
        run.tally.faults += 1


@scenario("S15", deadline_s=180)
def forgers(run):
    """line ends, escapes and quotes in every field of every call, in paths, headers and names: no line of a log is forged"""
    cluster = run.start(service_flags=["--v=2", *operations_flags(run.folder, "service")],
                        bridge_flags=["--v=2", *operations_flags(run.folder, "bridge")])
    operations = [int((run.folder / f"{name}.operations").read_text()) for name in ("service", "bridge")]
    old = LegacyPlayer(run.journal, cluster.port, "old", run.dice).sign_up()
    caller = ApiPlayer(run.journal, cluster.service_port, "caller", run.dice).sign_up()
    for text in FORGERIES:
        with contextlib.suppress(OSError, AssertionError):
            stranger = m.ModelClient(cluster.port, text.encode()[:m.NAME_SIZE - 1])
            stranger.sign_up()
            stranger.back_up(text.encode(), b"content")
            stranger.reconnect()
        run.tally.faults += 1
    call_everything(run, cluster, [old.id, caller.id])
    write_paths_and_headers(run, cluster, operations)
    check_log_lines(cluster)
    for process in (cluster.service, cluster.bridge):
        assert process.process.poll() is None, f"{process.name} ended"
    cluster.service.stop()
    check_log_lines(cluster)
