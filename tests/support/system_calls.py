"""What strace(1) does to a process: ends it, or fails a call, at the Nth call of a kind (of any of its threads)."""

import contextlib
import shutil
import signal
import subprocess

# Whatever makes a disk what it is, and what sends an answer.
DISK_CALLS = ("pwrite64", "write", "fdatasync", "fsync", "renameat2", "rename", "unlink", "unlinkat", "ftruncate", "fallocate", "openat",
              "mkdir", "io_uring_enter", "fcntl", "sendmsg")
# What calls of a disk fail with; io_uring_enter only with what is no error of the disk.
DISK_ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EMFILE", "EINTR")
ERRORS_OF_ENTER = ("EINTR", "EAGAIN")
ATTACH_S = 20


def errors_of(call):
    return ERRORS_OF_ENTER if call == "io_uring_enter" else DISK_ERRORS


def is_there():
    """Whether this machine lets one process trace another."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True).returncode == 0


def injection(call, what, at):
    return ["-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{what}:when={at}"]


def prefix(call, what, at):
    """A command that starts another, which is traced from its first call on."""
    return ["strace", "-D", "-q", *injection(call, what, at)]


@contextlib.contextmanager
def injected(pid, call, what, at):
    """A process that runs is traced: "signal=KILL" ends it before the call, "error=EIO" fails the call. `at` is N, or "N+"."""
    tracer = subprocess.Popen(["strace", *injection(call, what, at), "-p", str(pid)], stderr=subprocess.PIPE)
    try:
        line = tracer.stderr.readline()
        if b"attached" not in line:
            raise ProcessLookupError(line.decode())
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            tracer.send_signal(signal.SIGINT)
        try:
            tracer.wait(ATTACH_S)
        except subprocess.TimeoutExpired:
            tracer.kill()
            tracer.wait()
        tracer.stderr.close()
