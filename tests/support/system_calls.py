"""What strace(1) does to a process: ends it, or fails a call, at the Nth call of a kind (of any of its threads)."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time

# Whatever makes a disk what it is, and what sends an answer.
DISK_CALLS = ("pwrite64", "write", "fdatasync", "fsync", "renameat2", "rename", "unlink", "unlinkat", "ftruncate", "fallocate", "openat",
              "mkdir", "io_uring_enter", "fcntl", "sendmsg")
# What calls of a disk fail with; io_uring_enter only with what is no error of the disk.
DISK_ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EMFILE", "EINTR")
ERRORS_OF_ENTER = ("EINTR", "EAGAIN")
# It is called again at once, and a call that strace(1) leaves while it fails it ends with ENOSYS, as no kernel does that has it.
LAST_OF_ENTER = 500
ATTACH_S = 20
LOOK_S = 0.002


def errors_of(call):
    return ERRORS_OF_ENTER if call == "io_uring_enter" else DISK_ERRORS


def is_there():
    """Whether this machine lets one process trace another."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True).returncode == 0


def injection(call, what, at):
    first, repeats, step = str(at).partition("+")
    if call == "io_uring_enter" and repeats:
        at = f"{first}..{LAST_OF_ENTER}+{step}"
    return ["-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{what}:when={at}"]


def prefix(call, what, at):
    """A command that starts another, which is traced from its first call on."""
    return ["strace", "-D", "-q", *injection(call, what, at)]


@contextlib.contextmanager
def injected(pid, call, what, at):
    """A process that runs is traced: "signal=KILL" ends it before the call, "error=EIO" fails the call. `at` is N, or "N+".
    ProcessLookupError: it has ended."""
    with tempfile.TemporaryFile() as said:  # No pipe, which would be full one day.
        tracer = subprocess.Popen(["strace", *injection(call, what, at), "-p", str(pid)], stderr=said)
        try:
            _wait_until_attached(tracer, said)
            yield
        finally:
            tracer.send_signal(signal.SIGINT)
            try:
                tracer.wait(ATTACH_S)
            except subprocess.TimeoutExpired:
                tracer.kill()
                tracer.wait()


def _wait_until_attached(tracer, said):
    deadline = time.monotonic() + ATTACH_S
    while True:
        has_ended = tracer.poll() is not None
        text = os.pread(said.fileno(), 4096, 0)
        if b"attached" in text:
            return
        if has_ended:
            raise ProcessLookupError(text.decode())
        assert time.monotonic() < deadline, f"strace does not attach within {ATTACH_S} s"
        time.sleep(LOOK_S)
