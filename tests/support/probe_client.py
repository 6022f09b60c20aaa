"""A well-behaved client beside hostile ones, in a process of its own: how long its backups take, and whether one failed."""

import multiprocessing
import time

import model_client as m

# A small file and its verdict on one connection, as old clients back up.
CONTENT = b"what a well-behaved client backs up" * 30
PAUSE_S = 0.01
LOOK_S = 0.1
FEWEST = 20
# Below this the machine is measured, which the attackers share, and not the programs.
NOISE_S = 0.5
END_S = 60


def _play(port, pipe):
    client = m.ModelClient(port, b"well-behaved %d" % time.monotonic_ns(), version=1).sign_up()
    took, failures = [], []
    while True:
        if pipe.poll(PAUSE_S):
            if pipe.recv() == "end":
                return
            pipe.send((took, failures))
            took, failures = [], []
        begin = time.monotonic()
        try:
            connection = client.connect()
            client.back_up(b"file", CONTENT, connection)
            connection.close()
        except (OSError, AssertionError) as error:
            failures.append(repr(error))
        took.append(time.monotonic() - begin)


class Probe:
    """What it tells is how long its backups took, in seconds."""

    def __init__(self, port):
        self.pipe, other = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("fork").Process(target=_play, args=(port, other), daemon=True)
        self.process.start()
        self.failures = []

    def _take(self):
        self.pipe.send("tell")
        assert self.pipe.poll(END_S), f"the well-behaved client hangs for {END_S} s"
        took, failures = self.pipe.recv()
        self.failures += failures
        return took

    def measure(self, seconds):
        """Of those that end from now on, for so long, and until there are some."""
        self._take()
        return self.measure_so_far(seconds)

    def measure_so_far(self, seconds=LOOK_S):
        """Of those since the last time, too."""
        took, deadline = [], time.monotonic() + seconds
        while time.monotonic() < deadline or len(took) < FEWEST:
            assert time.monotonic() < deadline + END_S, f"the well-behaved client is served {len(took)} times in {END_S} s"
            time.sleep(LOOK_S)  # What it does meanwhile is what is measured.
            took += self._take()
        return took

    def close(self):
        self.pipe.send("end")
        self.process.join(END_S)
        if self.process.is_alive():
            self.process.kill()
            raise AssertionError(f"the well-behaved client hangs for {END_S} s")


def p99(took):
    return sorted(took)[int(len(took) * 0.99)]


def is_bearable(before, during, noise_s=NOISE_S):
    """At most twice as long, beyond noise."""
    return during <= max(2 * before, noise_s)
