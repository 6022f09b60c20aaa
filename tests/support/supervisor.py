"""What a machine's service manager does: a service that ended is started again at once."""

import signal
import threading
import time

LOG_END = 4000
LOOK_S = 0.01
LONGEST_START_S = 60


class Supervisor:
    """Of a cluster's service, until it is left; `codes` are those with which it ended. A start that fails, and an end that nobody
    caused (it may be killed, and no more), are raised at the end."""

    def __init__(self, cluster, pause_s=0.0):
        self.cluster, self.pause_s = cluster, pause_s
        self.codes = []
        self.longest_start_s = 0.0
        self.error = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._stopping.set()
        self._thread.join(LONGEST_START_S)
        self._start_if_ended()
        if kind is not None:
            return
        if self.error is not None:
            raise self.error
        assert set(self.codes) <= {-signal.SIGKILL}, f"the service ended with {self.codes}:\n{self.cluster.service.log()[-LOG_END:]}"

    @property
    def starts(self):
        return len(self.codes)

    def _start_if_ended(self):
        if self.error is not None or self.cluster.service.process.poll() is None:
            return
        self.codes.append(self.cluster.service.process.returncode)
        begin = time.monotonic()
        try:
            self.cluster.start_service()
        except AssertionError as error:
            self.error = error
            return
        self.longest_start_s = max(self.longest_start_s, time.monotonic() - begin)

    def _watch(self):
        while not self._stopping.wait(LOOK_S):
            if self.cluster.service.process.poll() is not None:
                time.sleep(self.pause_s)
                self._start_if_ended()
