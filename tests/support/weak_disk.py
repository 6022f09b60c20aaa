"""Disks that fail: an ext4 or XFS in a file on a tmpfs that has less room than the disk is large, so that writes which the file
system took fail when they reach the disk; and as much room again as they need. It takes root and a loop device."""

import os
import pathlib
import shutil
import subprocess
import sys

from cluster import wait_until

IN_NAMESPACE = "FAULTS_MOUNT_NAMESPACE"
MEBIBYTE = 1 << 20
PAGE = 4096
TOOL_S = 60
TRIES = 100


def is_possible():
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        return False
    probe = "truncate -s 8M $0/disk && mkfs.ext4 -q -F $0/disk && mount -o loop $0/disk $0"
    script = f'set -e; folder=$(mktemp -d); trap "rm -rf $folder" EXIT; unshare --mount sh -c \'{probe}\' $folder'
    return subprocess.run(["sh", "-c", script], capture_output=True, timeout=TOOL_S).returncode == 0


def has_device_mapper():
    return pathlib.Path("/dev/mapper/control").exists() and subprocess.run(
        ["dmsetup", "targets"], capture_output=True).stdout.find(b"flakey") >= 0


def enter_own_namespace():
    """Runs this program anew in a mount namespace of its own, unless it is there: so nothing stays mounted."""
    if IN_NAMESPACE not in os.environ:
        os.execvpe("unshare", ["unshare", "--mount", sys.executable, *sys.argv], {**os.environ, IN_NAMESPACE: "1"})


def _run(*command):
    return subprocess.run(command, check=True, timeout=TOOL_S, capture_output=True).stdout


class WeakDisk:
    """A disk of `size` bytes at `folder`/data, below which there are only as many as give() gave last."""

    def __init__(self, folder, size, options="errors=continue"):
        self.below, self.data, self.options = folder / "below", folder / "data", options
        self.below.mkdir()
        self.data.mkdir()
        _run("mount", "-t", "tmpfs", "-o", f"size={2 * size}", "tmpfs", self.below)
        with open(self.below / "disk", "wb") as image:
            image.truncate(size)
        # No journal of the file system's own would be kinder than a disk is: one that breaks makes it read-only.
        _run("mkfs.ext4", "-q", "-m", "0", "-b", str(PAGE), self.below / "disk")
        self.mount()

    def mount(self):
        device = _run("losetup", "--find", "--show", self.below / "disk").decode().strip()
        # A loop device takes a write that its file takes in part for one that worked. Of one page there is no part.
        pathlib.Path("/sys/block", pathlib.Path(device).name, "queue/max_sectors_kb").write_text(str(PAGE >> 10))
        _run("mount", "-o", self.options, device, self.data)
        # With the last who uses it, which is the mount.
        _run("losetup", "--detach", device)

    def used(self):
        disk = os.statvfs(self.below)
        return (disk.f_blocks - disk.f_bfree) * disk.f_frsize

    def give(self, size):
        """Room below the disk; less than what is used leaves none."""
        for _ in range(TRIES):
            # What is used may grow meanwhile: then it is refused.
            options = f"remount,size={max(size, self.used())}"
            if subprocess.run(["mount", "-o", options, self.below], timeout=TOOL_S, capture_output=True).returncode == 0:
                return
        raise OSError("the room below the disk cannot be changed")

    def is_writable(self):
        """Whether the file system takes a write and has it on the disk."""
        try:
            with open(self.data / "written", "wb") as file:
                file.write(b"x")
                os.fsync(file.fileno())
            return True
        except OSError:
            return False

    def repair(self):
        """Mounted anew, after a check of the file system."""
        self.unmount()
        subprocess.run(["e2fsck", "-f", "-y", self.below / "disk"], timeout=TOOL_S, capture_output=True)
        self.mount()

    def unmount(self):
        # The kernel gives back what a process that was killed did by io_uring a moment after its end.
        wait_until(lambda: subprocess.run(["umount", self.data], capture_output=True, timeout=TOOL_S).returncode == 0,
                   "nobody uses the disk any more")

    def close(self):
        subprocess.run(["umount", "--lazy", self.data], capture_output=True, timeout=TOOL_S)
        subprocess.run(["umount", "--lazy", self.below], capture_output=True, timeout=TOOL_S)
