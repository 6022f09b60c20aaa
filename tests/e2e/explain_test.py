"""backup-bridge --explain on every recording, as hex and as captures that are written here by hand; on cut and foreign ones."""

import pathlib
import random
import re
import struct
import subprocess
import tempfile
import unittest

from cluster import BIN_DIR
from recordings import STYLES, Transcript

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECORDINGS = ROOT / "tests/testdata/wire"
WAIT_S = 30
FITS, DOES_NOT_FIT, BAD_CONFIGURATION = 0, 3, 10
CLIENT, SERVER = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 9])
CLIENT_6, SERVER_6 = bytes.fromhex("20010db8") + bytes(11) + b"\x01", bytes.fromhex("20010db8") + bytes(11) + b"\x09"
SERVER_PORT = 1357
SEGMENT = 1400
# Of any request: some are filled up with bytes that nobody needs.
WITHIN_A_REQUEST = 100
SYN, ACK, FIN = 2, 16, 1
ETHERNET, RAW, SLL, SLL2 = 1, 101, 113, 276


def conversations_of(name):
    """What a recording holds: a list of (from the client, bytes) for each connection."""
    found = []
    for mark, message in Transcript(name).lines:
        if mark == "##":
            found.append([])
        else:
            found[-1].append((mark == "C>", message))
    return found


def tcp(source, destination, sequence, flags, payload=b""):
    return struct.pack(">HHIIBBHHH", source, destination, sequence & 0xFFFFFFFF, 0, 5 << 4, flags, 65535, 0, 0) + payload


def ip(segment, from_client, version=4):
    if version == 4:
        ends = CLIENT + SERVER if from_client else SERVER + CLIENT
        return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0) + ends + segment
    ends = CLIENT_6 + SERVER_6 if from_client else SERVER_6 + CLIENT_6
    return struct.pack(">IHBB", 6 << 28, len(segment), 6, 64) + ends + segment


def linked(packet, link_type, vlan=False):
    ether_type = b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"
    if link_type == ETHERNET:
        return bytes(12) + (b"\x81\x00\x00\x05" if vlan else b"") + ether_type + packet
    if link_type == SLL:
        return bytes(14) + ether_type + packet
    if link_type == SLL2:
        return ether_type + bytes(18) + packet
    return packet


def segments_of(conversation, port):
    """The TCP segments of a connection: (from the client, sequence number, flags, payload)."""
    at = {True: 0xFFFFFF00, False: 7}  # The client's wrap around.
    yield True, at[True] - 1, SYN, b""
    yield False, at[False] - 1, SYN | ACK, b""
    for from_client, message in conversation:
        for start in range(0, len(message), SEGMENT):
            piece = message[start:start + SEGMENT]
            yield from_client, at[from_client], ACK, piece
            at[from_client] += len(piece)
    yield True, at[True], FIN | ACK, b""


def packets_of(name, link_type=ETHERNET, version=4, vlan=False, disorder=None):
    packets = []
    for index, conversation in enumerate(conversations_of(name)):
        segments = list(segments_of(conversation, index))
        if disorder:
            segments = disordered(segments, disorder)
        for from_client, sequence, flags, payload in segments:
            ports = (40000 + index, SERVER_PORT) if from_client else (SERVER_PORT, 40000 + index)
            packets.append(linked(ip(tcp(*ports, sequence, flags, payload), from_client, version), link_type, vlan))
    return packets


def disordered(segments, dice):
    """Segments of one side in a row out of order, some again, some again together with the one before."""
    result, row = [], []
    for segment in segments:
        if row and (row[-1][0] != segment[0] or not segment[3]):
            result += dice.sample(row, len(row))
            row = []
        if not segment[3]:
            result.append(segment)
            continue
        row.append(segment)
        if dice.random() < 0.3:
            row.append(segment)
        if len(segment[3]) > 10 and dice.random() < 0.3:
            row.append((segment[0], segment[1] + 5, segment[2], segment[3][5:]))
    return result + row


def pcap(packets, link_type=ETHERNET, snap=65535, big_endian=False):
    order = ">" if big_endian else "<"
    data = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snap, link_type)
    for number, packet in enumerate(packets):
        kept = packet[:snap]
        data += struct.pack(order + "IIII", 1700000000 + number, 0, len(kept), len(packet)) + kept
    return data


def pcapng(packets, link_type=ETHERNET):
    def block(kind, body):
        body += bytes(-len(body) % 4)
        return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)

    data = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)) + block(1, struct.pack("<HHI", link_type, 0, 65535))
    for packet in packets:
        data += block(6, struct.pack("<IIIII", 0, 0, 0, len(packet), len(packet)) + packet)
    return data


class ExplainTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def explain(self, capture, *flags, code=FITS):
        """What is said of a file, or of bytes."""
        path = capture
        if isinstance(capture, bytes):
            path = self.folder / "capture"
            path.write_bytes(capture)
        done = subprocess.run([BIN_DIR / "backup-bridge", f"--explain={path}", *flags], capture_output=True, text=True,
                              timeout=WAIT_S, cwd=self.folder)
        self.assertEqual(done.returncode, code, done.stderr + done.stdout[-2000:])
        if code == BAD_CONFIGURATION:
            self.assertEqual(done.stdout, "")
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            self.assertIn(f"--explain={path}: ", done.stderr)
            return done.stderr
        self.assertEqual(done.stderr, "")
        return done.stdout

    def assert_fits(self, text, name):
        """Each connection of a recording fits its dialect, and no other."""
        count = len(conversations_of(name))
        self.assertEqual(text.splitlines()[-1], f"{count} connections; {STYLES[name].family.dialect.name} fits {count}")
        self.assertNotIn("no dialect", text)

    def test_every_recording_fits_its_dialect(self):
        for name in STYLES:
            with self.subTest(name):
                self.assert_fits(self.explain(RECORDINGS / f"{name}.txt"), name)

    def test_captures_say_the_same_as_hex(self):
        for name in STYLES:
            with self.subTest(name):
                def told(text):
                    return [line for line in text.splitlines() if not line.startswith("connection ")]

                hex_text = told(self.explain(RECORDINGS / f"{name}.txt"))
                self.assertEqual(told(self.explain(pcap(packets_of(name)))), hex_text)
                dice = random.Random(name)
                self.assertEqual(told(self.explain(pcap(packets_of(name, disorder=dice)))), hex_text)

    def test_a_recording_that_ends_within_a_request_fits_as_far_as_it_goes(self):
        for name in STYLES:
            with self.subTest(name):
                lines, dialect = Transcript(name).lines, STYLES[name].family.dialect.name
                last = max(at for at, (mark, _) in enumerate(lines) if mark == "C>")
                whole, cut = (self.explain("".join(f"{mark} {data.hex()}\n" for mark, data in (*lines[:last], ("C>", request))).encode())
                              for request in (lines[last][1], lines[last][1][:WITHIN_A_REQUEST]))
                at = re.match(r"  C> \d+: ", whole[whole.rindex("\n  C> ") + 1:])[0]
                earlier = whole[:whole.index(at, whole.rindex("\nconnection "))]
                self.assertEqual(cut[:len(earlier)], earlier)
                self.assertRegex(cut[len(earlier):], rf"(?m)^{at}cut, by .*\b{dialect}\b")
                self.assertRegex(cut.splitlines()[-1], rf"\b{dialect} fits {len(conversations_of(name))}\b")

    def test_every_kind_of_capture(self):
        for version in (4, 6):
            for link_type in (ETHERNET, RAW, SLL, SLL2):
                packets = packets_of("c2", link_type, version)
                self.assert_fits(self.explain(pcap(packets, link_type)), "c2")
                self.assert_fits(self.explain(pcapng(packets, link_type)), "c2")
        text = self.explain(pcap(packets_of("c2", vlan=True), big_endian=True))
        self.assert_fits(text, "c2")
        self.assertIn("connection 1: 192.0.2.1:40000 to 192.0.2.9:1357\n", text)
        self.assertIn("connection 1: [2001:db8::1]:40000 to [2001:db8::9]:1357\n", self.explain(pcap(packets_of("c2", version=6))))

    def test_dumps_of_one_clients_bytes(self):
        sent = b"".join(message for from_client, message in conversations_of("e1")[0] if from_client)
        rows = [sent[at:at + 16] for at in range(0, len(sent), 16)]
        xxd = "".join(f"{16 * n:08x}: {row.hex(' ', 2):<39}  ................\n" for n, row in enumerate(rows))
        hexdump = "".join(f"{16 * n:08x}  {row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}  |................|\n"
                          for n, row in enumerate(rows)) + f"{len(sent):08x}\n"
        for text in (sent.hex(), sent.hex(" ", 4), xxd, hexdump):
            self.assertIn("1 connections; E fits 1", self.explain(text.encode()))

    def test_what_is_missing_is_said_and_not_guessed(self):
        packets = packets_of("d1")
        content = next(n for n, packet in enumerate(packets) if len(packet) == 54 + SEGMENT) + 1
        lost = self.explain(pcap(packets[:content] + packets[content + 1:]))
        self.assertIn(f", of which {SEGMENT} were not captured", lost)
        self.assertIn("D fits 2", lost)
        began = self.explain(pcap(packets[4:]))
        self.assertIn("it began before the capture", began)
        within = self.explain(pcap(packets[content:]), code=DOES_NOT_FIT)
        self.assertIn("no dialect goes on at 0", within)
        self.assertIn(": VALID, 278 bytes, by C, D\n", within)
        snapped = self.explain(pcap(packets, snap=96))
        self.assertIn("were not captured", snapped)

    def test_where_a_dialect_stops_fitting(self):
        b3 = (RECORDINGS / "b3.txt").read_text()
        unknown = self.explain(b3.replace("03004c04", "03004d05").encode(), code=DOES_NOT_FIT)
        self.assertIn("not of b3: CODE 1357 at 18 is none of 1100 to 1106", unknown)
        wrong_size = self.explain(b3.replace("03004c04ff00", "03004c040401").encode(), code=DOES_NOT_FIT)
        self.assertIn("  C> 0: does not fit b3\n", wrong_size)
        self.assertIn("=> PAYLOAD_SIZE 260, expected 255 (1 bytes of the payload are not counted)", wrong_size)

    def test_a_further_dialect(self):
        c2 = (RECORDINGS / "c2.txt").read_text()
        numbers = {code: code + 4000 for code in range(1025, 1032)}
        changed = re.sub(r"(?m)^C> (.{34})(..)(..)", lambda match: "C> " + match.group(1) + struct.pack(
            "<H", numbers[int(match.group(3) + match.group(2), 16)]).hex(), c2).encode()
        self.assertIn("2 connections; 2 fit no dialect", self.explain(changed, code=DOES_NOT_FIT))
        description = (ROOT / "bridge/dialects/c.textproto").read_text().replace('name: "C"', 'name: "mine"')
        for code, number in numbers.items():
            description = description.replace(f"codes: {code}", f"codes: {number}")
        mine = self.folder / "mine.textproto"
        mine.write_text(description)
        self.assertIn("2 connections; mine fits 2", self.explain(changed, f"--dialect_file={mine}"))

    def test_a_copy_can_be_explained_though_it_cannot_be_served(self):
        mine = self.folder / "mine.textproto"
        shown = subprocess.run([BIN_DIR / "backup-bridge", "--print_dialect=E"], capture_output=True, text=True, timeout=WAIT_S, check=True)
        mine.write_text(shown.stdout.replace('name: "E"', 'name: "mine"').replace("codes: 900", "codes: 950"))
        flag = f"--dialect_file={mine}"
        text = self.explain(RECORDINGS / "e1.txt", flag)
        self.assertIn("not of mine: CODE 900 at 17 is none of 825 to 828, 901, 902, 950\n", text)
        self.assertIn("2 connections; E fits 2\n", text)
        done = subprocess.run([BIN_DIR / "backup-bridge", flag, "--check_config"], capture_output=True, text=True, timeout=WAIT_S)
        self.assertEqual(done.returncode, BAD_CONFIGURATION)
        self.assertIn("mine.textproto:", done.stderr)
        mine.write_text("name: 5")
        done = subprocess.run([BIN_DIR / "backup-bridge", flag, "--explain=x"], capture_output=True, text=True, timeout=WAIT_S)
        self.assertEqual(done.returncode, BAD_CONFIGURATION)
        self.assertIn("mine.textproto:1:", done.stderr)

    def test_foreign_captures(self):
        for said, protocol in ((b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1"),
                               (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"),
                               (bytes.fromhex("16030100c8010000c40303") + bytes(32), "TLS"), (random.Random(3).randbytes(900), "")):
            text = self.explain(said.hex().encode(), code=DOES_NOT_FIT)
            self.assertIn("1 connections; 1 fit no dialect", text)
            self.assertEqual(f"note: it looks like {protocol}\n" in text, protocol != "")

    def test_what_is_no_capture(self):
        self.assertIn("No such file", self.explain(self.folder / "absent", code=BAD_CONFIGURATION))
        self.assertIn("it is no file", self.explain(self.folder, code=BAD_CONFIGURATION))
        for data, why in ((b"", "nobody says anything"), (b"# only a comment\n", "nobody says anything"),
                          (b"\x7fELF\x02\x01" + bytes(100), "neither a capture of pcap or pcapng"),
                          (b"C> 0\n", "line 1: these are no bytes in hex"), (b"hello\n", "line 1: these are no bytes in hex"),
                          (pcap([]), "none is a segment of TCP"), (pcap([b"x" * 60]), "none is a segment of TCP"),
                          (pcap([])[:10], "libpcap cannot read it"), (pcap([], link_type=147), "link type 147")):
            with self.subTest(why):
                self.assertIn(why, self.explain(data, code=BAD_CONFIGURATION))

    def test_cut_and_damaged_captures_end_with_a_text(self):
        dice = random.Random(16)
        whole = {form(packets_of("e2")): form.__name__ for form in (pcap, pcapng)}
        for data, form in whole.items():
            for number in range(6):
                cut = data[:dice.randrange(len(data))]
                damaged = bytearray(data)
                for _ in range(dice.randrange(1, 40)):
                    damaged[dice.randrange(len(data) if number % 2 else 400)] = dice.randrange(256)
                for capture in (cut, bytes(damaged)):
                    path = self.folder / "capture"
                    path.write_bytes(capture)
                    done = subprocess.run([BIN_DIR / "backup-bridge", f"--explain={path}"], capture_output=True, timeout=WAIT_S)
                    self.assertIn(done.returncode, (FITS, DOES_NOT_FIT, BAD_CONFIGURATION), (form, number, done.stderr))
                    self.assertTrue(done.stdout or done.stderr)


if __name__ == "__main__":
    unittest.main()
