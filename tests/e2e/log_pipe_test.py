"""Nobody reads the pipes that both programs log to: no client notices, and no line is lost that there was room for."""

import fcntl
import os
import re
import signal
import threading
import unittest

import model_client as m
from cluster import ClusterTest, Process

PIPE_SIZE = 4096
SESSIONS = 30
SESSION_LIMIT_S = 10
END_LIMIT_S = 20
ORDER_SLACK_S = 0.1


class LogPipe:
    """A small pipe; read() takes what is in it until all writers have gone."""

    def __init__(self):
        self.read_end, self.write_end = os.pipe()
        fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, PIPE_SIZE)

    def read(self):
        with open(self.read_end, errors="replace") as pipe:
            return pipe.read()


class LogPipeTest(ClusterTest):
    def start_logging_to(self, pipe, name, *flags):
        process = Process(name, flags, self.folder, stderr=pipe.write_end)
        os.close(pipe.write_end)
        self.addCleanup(process.kill)
        return process

    def start_both(self):
        """With so many lines that the pipes are full after the first sessions."""
        self.service_pipe, self.bridge_pipe = LogPipe(), LogPipe()
        self.service = self.start_logging_to(
            self.service_pipe, "backup-service", "--debug", "--corrupt_checksums=false", f"--data_dir={self.folder}/data",
            "--listen=127.0.0.1:0")
        self.bridge = self.start_logging_to(
            self.bridge_pipe, "backup-bridge", "--debug", "--corrupt_checksums=false", "--port=0",
            f"--service=127.0.0.1:{self.service.port}")

    def run_sessions(self):
        for i in range(SESSIONS):
            client = m.ModelClient(self.bridge.port, b"client %d" % i)
            client.connect = lambda: m.Connection(self.bridge.port, timeout=SESSION_LIMIT_S)
            client.sign_up().back_up(b"file", b"content")

    def test_every_session_is_answered_and_both_end(self):
        self.start_both()
        self.run_sessions()
        for process in (self.bridge, self.service):
            process.process.send_signal(signal.SIGTERM)
        for process in (self.bridge, self.service):
            self.assertEqual(process.process.wait(timeout=END_LIMIT_S), 0)

    def test_what_waited_is_read_later_whole_and_in_order(self):
        self.start_both()
        self.run_sessions()
        texts = {}
        readers = [threading.Thread(target=lambda pipe=pipe: texts.update({pipe: pipe.read()}))
                   for pipe in (self.bridge_pipe, self.service_pipe)]
        for reader in readers:
            reader.start()
        for process in (self.bridge, self.service):
            self.assertEqual(process.stop(), 0)
        for reader in readers:
            reader.join(END_LIMIT_S)
        for pipe in (self.bridge_pipe, self.service_pipe):
            times = [float(hour) * 3600 + float(minute) * 60 + float(second) for hour, minute, second in
                     re.findall(r"^[IWE]\d{8} (\d\d):(\d\d):(\S+) ", texts[pipe], re.MULTILINE)]
            self.assertGreater(len(times), SESSIONS)
            for before, after in zip(times, times[1:]):  # A thread takes its time a moment before its place.
                self.assertGreater(after, before - ORDER_SLACK_S)
            self.assertNotIn("log lines were lost", texts[pipe])
            self.assertRegex(texts[pipe], r"\] stopped\n$")


if __name__ == "__main__":
    unittest.main()
