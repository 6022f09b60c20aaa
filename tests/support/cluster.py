"""The two real processes, on free loopback ports, in a folder of their own."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import postgres_server

BIN_DIR = pathlib.Path(os.environ.get("TEST_BIN_DIR", "build/release/bin"))
# A disk that others write to may keep a synced write waiting for many seconds.
START_DEADLINE_S = 60
SKIPPED = 77  # By ctest.
# "postgres": services have their catalogs in databases of a PostgreSQL (postgres_server.py), else in files.
CATALOG = os.environ.get("TEST_CATALOG", "")
if CATALOG == "postgres" and postgres_server.programs() is None:
    sys.exit(SKIPPED)
LOG_DEADLINE_S = 10
DEADLINE_S = 60


def wait_until(condition, what):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {DEADLINE_S} s: {what}")
        time.sleep(0.02)


def threads_of(pid):
    """A line of each thread: its name, and what it waits for."""
    lines = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):  # It has ended.
            lines.append(" ".join((task / name).read_text().strip() for name in ("comm", "wchan", "syscall")))
    return "\n".join(lines)


class Process:
    """One daemon; its log is kept beside its port file, unless `stderr` is another place for it.

    `prefix` is a command that becomes it, such as env(1) with variables."""

    def __init__(self, name, flags, directory, stderr=None, prefix=()):
        self.name = name
        self.log_path = pathlib.Path(directory) / f"{name}.log"
        port_file = pathlib.Path(directory) / f"{name}.port"
        port_file.unlink(missing_ok=True)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*prefix, BIN_DIR.resolve() / name, f"--bound_port_file={port_file}", "--idle_shutdown=0s", *flags],
                stdout=log, stderr=log if stderr is None else stderr, cwd=directory)
        deadline = time.monotonic() + START_DEADLINE_S
        while not port_file.exists():
            code = self.process.poll()
            if code is not None or time.monotonic() > deadline:
                state = f"not ready after {START_DEADLINE_S} s\n{threads_of(self.process.pid)}" if code is None else f"ended with {code}"
                self.kill()
                raise AssertionError(f"{name} does not start ({state}):\n{self.log()}")
            time.sleep(0.005)
        self.port = int(port_file.read_text())

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_for_log(self, text, count=1):
        """A line is written a moment after what it is about; `count` lines, at least."""
        deadline = time.monotonic() + LOG_DEADLINE_S
        while self.log().count(text) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name} does not log {text!r}:\n{self.log()}")
            time.sleep(0.005)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        return self.process.returncode


def catalog_flags():
    """Those of a service with a new catalog, as TEST_CATALOG wants it."""
    if CATALOG != "postgres":
        return []
    server = postgres_server.shared()
    return [f"--catalog={server.url(server.new_database())}"]


class Cluster:
    """Service and bridge; each can be stopped, killed and started again on the same port."""

    def __init__(self, directory, service_flags=(), bridge_flags=(), prefix=()):
        self.prefix = prefix
        self.directory = pathlib.Path(directory)
        self.data_dir = self.directory / "data"
        self.service_flags = [*catalog_flags(), *service_flags]
        self.bridge_flags = list(bridge_flags)
        self.service = self.bridge = None
        self.service_port = self.port = 0
        self.start_service()
        try:
            self.start_bridge()
        except AssertionError:
            self.service.kill()
            raise

    def start_service(self):
        self.service = Process(
            "backup-service",
            [f"--data_dir={self.data_dir}", f"--listen=127.0.0.1:{self.service_port}", *self.service_flags],
            self.directory, prefix=self.prefix)
        self.service_port = self.service.port

    def start_bridge(self):
        self.bridge = Process(
            "backup-bridge",
            ["--bind=127.0.0.1", f"--port={self.port}", f"--service=127.0.0.1:{self.service_port}", *self.bridge_flags],
            self.directory, prefix=self.prefix)
        self.port = self.bridge.port

    def blob_sizes(self):
        """The size of each stored blob, by its path, without those that go meanwhile."""
        sizes = {}
        for path in (self.data_dir / "store" / "blobs").rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file():
                    sizes[path] = path.stat().st_size
        return sizes

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bridge.stop()
        self.service.stop()


class ClusterTest(unittest.TestCase):
    """Tests of clusters of their own, in a folder that goes away with them."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def start(self, **flags):
        cluster = Cluster(self.folder, **flags)
        self.addCleanup(cluster.__exit__)
        return cluster
