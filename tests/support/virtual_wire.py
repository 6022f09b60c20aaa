"""A wire between two network namespaces, of two TUN devices and a thread that carries packets: it loses, delays, repeats and
reorders them, one way or both, and forges resets. It takes root, /dev/net/tun, ip(8), unshare(1) and nsenter(1), and no module."""

import ctypes
import dataclasses
import fcntl
import heapq
import os
import pathlib
import select
import shutil
import struct
import subprocess
import sys
import threading
import time

IN_NAMESPACE = "FAULTS_NETWORK_NAMESPACE"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
CLONE_NEWNET = 0x40000000
MTU = 16384
TCP = 6
FIN, SYN, RST, ACK = 1, 2, 4, 16
HERE, THERE = "10.77.0.1", "10.77.0.2"
# A second pair of addresses without faults, by which clients reach what is on the other side.
CLEAN_HERE, CLEAN_THERE = "10.78.0.1", "10.78.0.2"
TICK_S = 0.05
QUEUE_LIMIT = 20_000  # Packets on their way; more are lost, as in any router.


def is_possible():
    """Whether namespaces and devices can be made here."""
    tools = all(shutil.which(tool) for tool in ("ip", "unshare", "nsenter"))
    if not tools or os.geteuid() != 0 or not pathlib.Path("/dev/net/tun").exists():
        return False
    probe = "ip link set lo up && ip tuntap add dev t0 mode tun && ip link add name v0 type veth peer name v1"
    return subprocess.run(["unshare", "--net", "sh", "-c", probe], capture_output=True).returncode == 0


def enter_own_namespace():
    """Runs this program anew in a network namespace of its own, unless it is there."""
    if IN_NAMESPACE not in os.environ:
        os.execvpe("unshare", ["unshare", "--net", sys.executable, *sys.argv], {**os.environ, IN_NAMESPACE: "1"})
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


@dataclasses.dataclass(frozen=True)
class Faults:
    """What happens to packets; there: from here to there, back: the other way."""

    loss_there: float = 0.0
    loss_back: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0  # Up to so much more, each packet for itself: they overtake each other.
    duplicates: float = 0.0
    resets: bool = False  # Each packet of TCP is answered with a reset, and does not arrive.


NO_FAULTS = Faults()
BLACK_HOLE = Faults(loss_there=1.0, loss_back=1.0)


def _sum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def reset_for(packet):
    """The packet of IPv4 that says to the sender of `packet` that its peer reset the connection; None if there is none to be sent."""
    if len(packet) < 40 or packet[0] >> 4 != 4 or packet[9] != TCP:
        return None
    head = (packet[0] & 15) * 4
    source, destination = packet[12:16], packet[16:20]
    from_port, to_port, sequence, acknowledged, offset, flags = struct.unpack_from(">HHIIBB", packet, head)
    if flags & RST:
        return None
    size = len(packet) - head - (offset >> 4) * 4 + bool(flags & SYN) + bool(flags & FIN)
    tcp = struct.pack(">HHIIBBHHH", to_port, from_port, acknowledged if flags & ACK else 0, (sequence + size) & 0xFFFFFFFF, 5 << 4,
                      RST | ACK, 0, 0, 0)
    pseudo = destination + source + struct.pack(">BBH", 0, TCP, len(tcp))
    tcp = tcp[:16] + struct.pack(">H", _sum(pseudo + tcp)) + tcp[18:]
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, TCP, 0) + destination + source
    return ip[:10] + struct.pack(">H", _sum(ip)) + ip[12:] + tcp


def _open_device(name):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


class Wire:
    """Of this process' namespace and another, in which commands with `prefix` run."""

    def __init__(self, dice):
        self.dice = dice
        self.faults = NO_FAULTS
        self.lost = self.carried = 0
        self.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up; echo; exec sleep 1000000"],
                                       stdout=subprocess.PIPE)
        self.holder.stdout.readline()
        self.prefix = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net"]
        self.here, self.there = _open_device("wire0"), self._open_there()
        for prefix, own, peer in (([], HERE, THERE), (self.prefix, THERE, HERE)):
            self._ip(prefix, "addr", "add", own, "peer", peer, "dev", "wire0")
            self._ip(prefix, "link", "set", "wire0", "mtu", str(MTU), "up")
        self._ip([], "link", "add", "name", "clean0", "type", "veth", "peer", "name", "clean0", "netns", str(self.holder.pid))
        for prefix, own in (([], CLEAN_HERE), (self.prefix, CLEAN_THERE)):
            self._ip(prefix, "addr", "add", f"{own}/24", "dev", "clean0")
            self._ip(prefix, "link", "set", "clean0", "up")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    @staticmethod
    def _ip(prefix, *arguments):
        subprocess.run([*prefix, "ip", *arguments], check=True)

    def _open_there(self):
        """A namespace is a thread's: one of its own goes there and opens the device."""
        opened = []

        def open_it():
            namespace = os.open(f"/proc/{self.holder.pid}/ns/net", os.O_RDONLY)
            if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET) == 0:
                opened.append(_open_device("wire0"))
            os.close(namespace)
        thread = threading.Thread(target=open_it)
        thread.start()
        thread.join()
        return opened[0]

    def _carry(self):
        waiting, number = [], 0
        while not self._stopping.is_set():
            wait_s = max(0.0, min(TICK_S, waiting[0][0] - time.monotonic())) if waiting else TICK_S
            readable, _, _ = select.select([self.here, self.there], [], [], wait_s)
            for device in readable:
                try:
                    packet = os.read(device, 1 << 16)
                except BlockingIOError:
                    continue
                for out, what, delay in self._what_becomes_of(device, packet, self.faults):
                    if len(waiting) < QUEUE_LIMIT:
                        number += 1
                        heapq.heappush(waiting, (time.monotonic() + delay, number, out, what))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, out, packet = heapq.heappop(waiting)
                self.carried += 1
                try:
                    os.write(out, packet)
                except OSError:
                    self.lost += 1

    def _what_becomes_of(self, device, packet, faults):
        """(device, packet, delay) of each that comes of it."""
        is_there = device == self.here
        if faults.resets:
            reset = reset_for(packet)
            return [(device, reset, 0.0)] if reset else []
        if self.dice.random() < (faults.loss_there if is_there else faults.loss_back):
            self.lost += 1
            return []
        copies = 2 if self.dice.random() < faults.duplicates else 1
        out = self.there if is_there else self.here
        return [(out, packet, faults.delay_s + self.dice.random() * faults.jitter_s) for _ in range(copies)]

    def close(self):
        self._stopping.set()
        self._thread.join()
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
        for device in (self.here, self.there):
            os.close(device)
