"""A load generator that crashes leaves no programs behind; what it compares sessions with writes the catalog that there is."""

import pathlib
import subprocess
import tempfile
import unittest

from cluster import BIN_DIR, wait_until


def children(process):
    """Name by id."""
    found = {}
    for pid in pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        found[int(pid)] = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    return found


def has_ended(pid):
    """Whether a process is gone, or waits only for somebody to ask how it ended."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class BenchTest(unittest.TestCase):
    def test_both_servers_end_with_the_load_generator_when_it_is_killed(self):
        with tempfile.TemporaryDirectory() as folder:
            bench = subprocess.Popen([BIN_DIR / "backup-bench", "--only=crowds", f"--work_dir={folder}"],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.addCleanup(bench.wait)
            self.addCleanup(bench.kill)
            wait_until(lambda: {"backup-service", "backup-bridge"} <= set(children(bench).values()), "both run")
            started = children(bench)
            bench.kill()
            for pid, name in started.items():
                wait_until(lambda p=pid: has_ended(p), f"{name} ended")

    def test_sessions_are_compared_with_those_of_a_bare_echo(self):
        with tempfile.TemporaryDirectory() as folder:
            bench = subprocess.run([BIN_DIR / "backup-bench", "--only=sessions", "--clients=1", "--seconds=1",
                                    "--file_mebibytes=16", f"--work_dir={folder}"], capture_output=True, text=True, timeout=100)
            self.assertEqual(bench.returncode, 0, bench.stderr)
            self.assertRegex(bench.stdout, r"ours against that +\d")


if __name__ == "__main__":
    unittest.main()
