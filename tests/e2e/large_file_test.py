"""Files of 200 MiB and 2.5 GiB through both processes: the bytes are right and memory stays bounded."""

import hashlib
import pathlib
import re
import subprocess
import tempfile
import unittest

from cluster import BIN_DIR, Cluster

MEBIBYTE = 1 << 20
SIZES = {"200 MiB": 200 * MEBIBYTE, "2.5 GiB": 2560 * MEBIBYTE + 7}
MEMORY_LIMIT = 256 * MEBIBYTE
WAIT_S = 300


def make_file(path, size):
    """Sparse, with marks that would show pieces that were lost, doubled or exchanged."""
    with open(path, "wb") as file:
        file.truncate(size)
        for offset in range(0, size - 8, 3 * MEBIBYTE // 2):
            file.seek(offset)
            file.write(offset.to_bytes(8, "little"))


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def peak_memory(process):
    status = pathlib.Path(f"/proc/{process.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024


class LargeFileTest(unittest.TestCase):
    def test_arrive_whole_in_bounded_memory(self):
        with tempfile.TemporaryDirectory() as name, Cluster(name) as cluster:
            folder = pathlib.Path(name)
            for file, size in SIZES.items():
                make_file(folder / file, size)
            (folder / "transfer.info").write_text("\n".join([f"127.0.0.1:{cluster.port}", "large", *SIZES, ""]))
            subprocess.run([BIN_DIR / "legacy-client", f"--dir={folder}"], check=True, timeout=WAIT_S)
            service = f"--service=127.0.0.1:{cluster.service_port}"
            for file in SIZES:
                out = folder / "out"
                subprocess.run([BIN_DIR / "backupctl", service, "--quiet", "file", "get", "large", file, "-o", out],
                               check=True, timeout=WAIT_S)
                self.assertEqual(digest(out), digest(folder / file))
                out.unlink()
            for process in (cluster.bridge, cluster.service):
                self.assertLess(peak_memory(process), MEMORY_LIMIT, process.name)


if __name__ == "__main__":
    unittest.main()
