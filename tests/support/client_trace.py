"""backupctl trace in the background, for tests that look at its lines."""

import subprocess
import threading

from cluster import BIN_DIR

WAIT_S = 60


def start_trace(case, service_port, *arguments):
    """The process, which watches already; its output is text. The test `case` ends it at the latest."""
    trace = subprocess.Popen([BIN_DIR / "backupctl", f"--service=127.0.0.1:{service_port}", "trace", *arguments],
                             stdout=subprocess.PIPE, text=True)
    case.addCleanup(trace.communicate)
    case.addCleanup(trace.kill)
    forgotten = threading.Timer(WAIT_S, trace.kill)  # Ends the waiting for lines that do not come.
    forgotten.start()
    case.addCleanup(forgotten.cancel)
    case.assertIn("watching", trace.stdout.readline())
    return trace
