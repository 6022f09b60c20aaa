"""What the service does with HTTP/2 that no library sends: frame by frame, to the port of the API."""

import time
import unittest

import grpc_client
import http2
from cluster import ClusterTest, wait_until
from oracle import Resources

CALLS = 40
IDLE_S = 1
SPARE_THREADS = 10
# Of services/backup/limits.h.
MAX_SYNCHRONOUS_CALLS, MAX_STREAMS = 2048, 1024


class UnreadAnswers(ClusterTest):
    def ask(self, method, calls=CALLS, **fields):
        """A connection on which there is no room for any of the answers to its calls."""
        of = grpc_client.api().methods[method]
        connection = http2.Http2Connection(self.cluster.service_port, (http2.INITIAL_WINDOW_SIZE, 0))
        self.addCleanup(connection.close)
        for stream in range(1, 2 * calls, 2):
            connection.send(http2.frame(http2.HEADERS, http2.END_HEADERS, stream, http2.request_headers(of.path)),
                            http2.frame(http2.DATA, http2.END_STREAM, stream, grpc_client.framed(of.request(**fields))))
        return connection

    def threads(self):
        return Resources.of(self.cluster.service).threads

    def can_ask(self):
        """Whether there is room for one more call."""
        with grpc_client.GrpcClient(self.cluster.service_port) as api:
            try:
                api.call("GetStatus")
            except grpc_client.CallError as error:
                self.assertEqual(error.code, grpc_client.RESOURCE_EXHAUSTED, error)
                return False
        return True


class GivenUpTest(UnreadAnswers):
    def setUp(self):
        super().setUp()
        self.cluster = self.start(service_flags=[f"--stream_idle_timeout={IDLE_S}s"])

    def assert_all_are_given_up(self, connection):
        ended, deadline = set(), time.monotonic() + 30
        while len(ended) < CALLS:
            self.assertLess(time.monotonic(), deadline, f"{len(ended)} of {CALLS} calls are over")
            kind, flags, stream, _ = connection.next_frame()
            if kind == http2.RST_STREAM or kind == http2.HEADERS and flags & http2.END_STREAM:
                ended.add(stream)

    def test_answers_that_nobody_takes_are_given_up_with_their_threads(self):
        before = self.threads()
        connection = self.ask("GetStatus")
        self.assert_all_are_given_up(connection)
        wait_until(lambda: self.threads() <= before + SPARE_THREADS, "the calls' threads are gone")
        self.cluster.service.wait_for_log("cancelling a stream that moved nothing for too long")

    def test_so_are_those_of_old_clients_calls(self):
        self.assert_all_are_given_up(self.ask("RegisterClient", name="laptop"))

    def test_those_that_are_taken_in_time_are_not(self):
        connection = self.ask("GetStatus")
        connection.send(http2.settings((http2.INITIAL_WINDOW_SIZE, 1 << 20)))
        ended = 0
        while ended < CALLS:
            kind, flags, _, _ = connection.next_frame()
            self.assertNotEqual(kind, http2.RST_STREAM)
            ended += kind == http2.HEADERS and bool(flags & http2.END_STREAM)


class AtOnceTest(UnreadAnswers):
    def test_more_than_can_be_answered_at_once_are_refused(self):
        self.cluster = self.start()
        self.assertTrue(self.can_ask())
        connections = [self.ask("GetStatus", MAX_STREAMS) for _ in range(MAX_SYNCHRONOUS_CALLS // MAX_STREAMS)]
        wait_until(lambda: not self.can_ask(), "there is no room")
        self.assertLess(self.threads(), MAX_SYNCHRONOUS_CALLS + SPARE_THREADS * 10)
        for connection in connections:
            connection.close()
        wait_until(self.can_ask, "there is room again")


if __name__ == "__main__":
    unittest.main()
