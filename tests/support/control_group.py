"""A control group of the kernel, of version 1 or 2, that bounds the memory or the threads of a process started in it."""

import contextlib
import os
import pathlib
import re
import time

ROOT = pathlib.Path("/sys/fs/cgroup")
EMPTY_S = 10


def _folder(controller):
    """Where groups of the controller are made; None if they cannot be."""
    for folder in (ROOT / controller, ROOT / "unified", ROOT):
        if (folder / "cgroup.procs").exists() and os.access(folder, os.W_OK):
            control = folder / "cgroup.controllers"
            if not control.exists():
                return folder  # Version 1: the controller's own tree.
            if controller in control.read_text().split():
                with contextlib.suppress(OSError):
                    (folder / "cgroup.subtree_control").write_text(f"+{controller}")
                    return folder
    return None


class ControlGroup:
    """Of `controller` "memory" or "pids"; a command with `prefix` runs in it."""

    def __init__(self, controller):
        parent = _folder(controller)
        if parent is None:
            raise OSError(f"no control group of {controller} can be made here")
        self.controller = controller
        self.folder = parent / f"backup-faults-{os.getpid()}"
        self.folder.mkdir(exist_ok=True)
        self.is_first_version = not (self.folder / "cgroup.controllers").exists()
        self.prefix = ["sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh"]

    @staticmethod
    def is_possible(controller):
        try:
            ControlGroup(controller).close()
            return True
        except OSError:
            return False

    def limit(self, value):
        """Bytes or threads; None: no limit."""
        if self.controller == "pids":
            name, none = "pids.max", "max"
        else:
            name, none = ("memory.limit_in_bytes", "-1") if self.is_first_version else ("memory.max", "max")
        (self.folder / name).write_text(none if value is None else str(value))

    def used(self):
        """Bytes or threads that there are."""
        if self.controller == "pids":
            return int((self.folder / "pids.current").read_text())
        return int((self.folder / ("memory.usage_in_bytes" if self.is_first_version else "memory.current")).read_text())

    def kills(self):
        """How many processes were killed for want of memory."""
        text = (self.folder / ("memory.oom_control" if self.is_first_version else "memory.events")).read_text()
        return int(re.search(r"oom_kill (\d+)", text).group(1))

    def close(self):
        deadline = time.monotonic() + EMPTY_S
        while True:  # A group goes a moment after its last process.
            try:
                self.folder.rmdir()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
