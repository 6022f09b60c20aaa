"""docs/json.md and what every command prints with --json: the same fields, of the same types, both ways."""

import contextlib
import json
import pathlib
import re
import select
import shutil
import sqlite3
import subprocess
import unittest
import uuid

import model_client as m
from cluster import BIN_DIR, ClusterTest, wait_until
from program_help import leaves

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/json.md"
WAIT_S = 60
LARGEST = 2**53
ROW = re.compile(r"^\| `([^`]+)` \| (.*?) \|", re.MULTILINE)


def whole(value):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def matching(pattern):
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


TYPES = {
    "text": lambda value: isinstance(value, str),
    "path": lambda value: isinstance(value, str),
    "name": matching(r"([^%\x00-\x1f\x7f-\x9f]|%[0-9A-F]{2})*"),
    "id": matching(r"([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?"),
    "number": whole,
    "difference": lambda value: whole(abs(value)),
    "seconds": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0,
    "yes/no": lambda value: isinstance(value, bool),
    "time": matching(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9])?Z"),
    "sha256": matching(r"[0-9a-f]{64}"),
}


class Page:
    """The objects of docs/json.md: for each its fields with their types."""

    def __init__(self):
        head, *sections = re.split(r"^### (\w+)\n", PAGE.read_text(), flags=re.MULTILINE)
        self.objects = {name: dict(ROW.findall(text)) for name, text in zip(sections[::2], sections[1::2], strict=True)}
        self.commands = dict(ROW.findall(head.split("## What each command prints")[1]))
        self.seen = set()
        self.problems = []

    def check(self, kind, value, where):
        kind = kind.removesuffix(", optional")
        if kind.startswith("list of "):
            if not isinstance(value, list):
                self.problems.append(f"{where} is {value!r}, but should be a {kind}")
                return
            for element in value:
                self.check(kind.removeprefix("list of "), element, where)
        elif kind.startswith("one of "):
            if value not in re.findall(r"`(\w+)`", kind):
                self.problems.append(f"{where} is {value!r}, but should be {kind}")
        elif kind in TYPES:
            if not TYPES[kind](value):
                self.problems.append(f"{where} is {value!r}, which is no {kind}")
        elif kind in self.objects:
            self.check_object(kind, value, where)
        else:
            self.problems.append(f"docs/json.md: {kind!r} ({where}) is no type")

    def check_object(self, name, value, where):
        fields = self.objects[name]
        for field in value:
            if field not in fields:
                self.problems.append(f"{where} prints the field {field!r}: add a row for it to {name} in docs/json.md")
        for field, kind in fields.items():
            if field in value:
                self.seen.add((name, field))
                self.check(kind, value[field], f"{where}: {name}.{field}")
            elif not kind.endswith(", optional"):
                self.problems.append(f"{where} prints no field {field!r}, which {name} in docs/json.md says is always there")


class JsonTest(ClusterTest):
    def run_program(self, name, *arguments, codes=(0,)):
        done = subprocess.run([BIN_DIR / name, *arguments], capture_output=True, text=True, timeout=WAIT_S)
        self.assertIn(done.returncode, codes, done.stderr)
        self.assertTrue(done.stdout.isascii())
        return [json.loads(line) for line in done.stdout.splitlines()]

    def backupctl(self, *arguments, codes=(0,)):
        command = next((" ".join(arguments[:count]) for count in (3, 2, 1) if " ".join(arguments[:count]) in self.page.commands),
                       None)
        self.assertIsNotNone(command, f"docs/json.md: say what {arguments} prints")
        self.called.add(command)
        lines = self.run_program("backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", "--json", *arguments,
                                 codes=codes)
        kinds = [name for name in re.findall(r"\w+", self.page.commands[command]) if name in self.page.objects]
        self.assertEqual(kinds == [], lines == [], f"{command} prints {lines}; docs/json.md: {self.page.commands[command]}")
        for line in lines:
            kind = next((kind for kind in kinds if line.keys() <= self.page.objects[kind].keys()), kinds[0])
            self.page.check_object(kind, line, command)
        return lines

    def test_the_page_and_the_commands_tell_the_same(self):
        self.page = Page()
        self.called = {"completion"}
        self.cluster = self.start(service_flags=["--retire_interval=1s"])
        data = self.cluster.data_dir
        client = m.ModelClient(self.cluster.port, "évil \u202e%".encode()).sign_up()
        trace = subprocess.Popen([BIN_DIR / "backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", "--json",
                                  "trace"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(trace.communicate)
        self.addCleanup(trace.kill)
        content = bytes(range(256)) * 1000
        line = ""
        while not line:  # The first requests may come before the trace has begun.
            client.back_up(b"large \xff", content)
            line = trace.stdout.readline() if is_readable(trace.stdout) else ""
        self.page.check_object("TraceEvent", json.loads(line), "trace")
        self.called.add("trace")
        client.back_up(b"small", b"content")
        client.back_up(b"grown", b"content")
        client.back_up(b"grown", content[1:])
        self.assertEqual(client.request(m.VALID, b"no name field")[0], m.ERROR)
        self.cluster.bridge.wait_for_log("sent a malformed head")
        name = self.backupctl("client", "list")[0]["name"]
        self.assertEqual(name, "évil \u202e%25")
        self.backupctl("client", "show", name)
        self.assertEqual([file["file_name"] for file in self.backupctl("file", "list", name)], ["grown", "large %FF", "small"])
        newest = self.backupctl("file", "versions", name, "small")[0]
        source = self.folder / "put"
        source.write_bytes(b"put")
        self.assertEqual(self.backupctl("file", "put", name, str(source), "--name", "put")[0]["file_name"], "put")
        got = self.backupctl("file", "get", name, "small", "-o", str(self.folder / "got"))[0]
        self.assertEqual((got["sha256"], got["size_bytes"]), (newest["sha256"], newest["size_bytes"]))
        for arguments in (["--dry-run"], [], []):  # The last one keeps what is there.
            self.backupctl("restore", "--client", name, "--to", str(self.folder / "restored"), *arguments)
        for command in ("status", "health", "version"):
            self.backupctl(command)
        for arguments in (["list"], ["rotate"], ["rewrap", "--verify"]):
            self.backupctl("key", *arguments)
        self.retire(data)
        self.backupctl("log-level", "*", "info")
        self.policies(name)
        self.quotas(name)
        self.backupctl("state", "backup")
        for blob in [path for path in (data / "store" / "blobs").rglob("*") if path.is_file()]:
            blob.write_bytes(b"damaged" * 40000)
        self.backupctl("verify", codes=(14,))
        self.backupctl("restore", "--client", name, "--to", str(self.folder / "damaged"), codes=(3,))
        self.backupctl("restore", "--client", name, "--to", str(self.folder / "damaged"), "--fallback", codes=(3,))
        self.backupctl("file", "get", name, "grown", "-o", str(self.folder / "grown"), "--fallback", codes=(3,))
        wait_until(lambda: "last_tally" in self.backupctl("scrub", "status")[0], "everything was read once")
        self.assertEqual(self.backupctl("file", "rm", name, "small", "--yes")[0], newest)
        self.assertEqual(self.backupctl("trash", "list")[0]["version"], newest)
        self.assertEqual(self.backupctl("file", "undelete", name, "small"), [newest])
        self.cluster.service.stop()
        decrypted = self.run_program("backupctl", "--json", "decrypt", f"--data_dir={data}", "--client", name, "--file", "put",
                                     "-o", str(self.folder / "decrypted"))
        self.called.add("decrypt")
        self.replace_the_state(data)
        with contextlib.closing(sqlite3.connect(data / "catalog.db")) as catalog:
            catalog.execute("UPDATE clock_notes SET distrusted_since = 1, distrust = 'why'")
            # It grew so fast that any disk is full before long.
            catalog.execute("INSERT INTO size_notes VALUES ((SELECT max(time) FROM size_notes) - 8 * 24 * 3600 * 1000000, ?, 0)", (-(1 << 50),))
            catalog.execute("DELETE FROM audit_entries WHERE number = 2")
            catalog.commit()
        self.page.check_object("LocalCopy", decrypted[0], "decrypt")
        self.cluster.service_flags += ["--scrub_rate=1", "--min_retention=1h"]  # Scrub comes to no end.
        self.cluster.start_service()
        self.backupctl("status")
        self.backupctl("audit", "list")
        self.backupctl("audit", "verify", codes=(14,))
        banned = self.backupctl("ban", "add", "203.0.113.7", "--for=1h", "--reason=why")
        self.assertEqual(self.backupctl("ban", "list"), banned)
        self.backupctl("ban", "rm", "203.0.113.7")
        self.backupctl("policy", "resume")
        self.backupctl("scrub", "start")
        wait_until(lambda: "start_time" in self.backupctl("scrub", "status")[0], "it begins")
        self.backupctl("scrub", "pause")
        self.backupctl("scrub", "discard", "--yes")
        self.backupctl("client", "rm", name, "--yes")
        self.assertEqual(self.backupctl("trash", "list")[0]["client"], self.backupctl("client", "undelete", name)[0])
        self.backupctl("client", "rm", name, "--yes")
        self.backupctl("trash", "empty", "--yes")
        m.ModelClient(self.cluster.port, b"stale").sign_up()
        listed = []
        wait_until(lambda: listed or listed.extend(self.listed_as_stale()), "a client without a file is stale")
        self.page.check_object("Client", listed[0], "client stale")
        self.import_old_server()
        self.legacy_client()

        self.assertEqual(self.page.problems, [])
        commands = {" ".join(leaf) for leaf in leaves(BIN_DIR / "backupctl")}
        self.assertEqual(commands - set(self.page.commands), set(), "docs/json.md: say what these print")
        self.assertEqual(set(self.page.commands) - self.called, set(), "json_test.py: call these")
        fields = {(name, field) for name, rows in self.page.objects.items() for field in rows}
        self.assertEqual(fields - self.page.seen, set(), "no command printed these fields of docs/json.md")

    def policies(self, name):
        scope = ["--client", name, "--files", "**"]
        policy = self.backupctl("policy", "set", *scope, "--keep-last=1", "--keep-within=90s")
        self.assertEqual(self.backupctl("policy", "show", *scope), policy)
        self.assertEqual(self.backupctl("policy", "list"), policy)
        self.backupctl("policy", "preview")
        self.backupctl("policy", "rm", *scope)

    def quotas(self, name):
        for scope in ([name], ["--every-client"], ["--store"]):
            use = self.backupctl("client", "quota", "set", *scope, "--soft-bytes=1", "--hard-bytes=1T", "--hard-files=1000")
            self.assertEqual(self.backupctl("client", "quota", "show", *scope), use)
        self.assertEqual([use["quota"]["scope"] for use in self.backupctl("client", "quota", "show")],
                         ["STORE", "EVERY_CLIENT", "CLIENT"])
        self.assertEqual(self.backupctl("client", "show", name)[0]["quota"]["quota"]["soft_bytes"], 1)
        self.assertEqual(self.backupctl("status")[0]["clients_beyond_soft_limits"], 1)
        for scope in ([name], ["--every-client"], ["--store"]):
            self.backupctl("client", "quota", "rm", *scope)

    def retire(self, data):
        """A generation that cannot go: the store has a blob that the catalog does not know."""
        blob = max((path for path in (data / "store" / "blobs").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        orphan = blob.with_name(blob.name[:-1] + ("1" if blob.name[-1] == "0" else "0"))
        shutil.copy(blob, orphan)
        self.backupctl("key", "retire", "1")
        wait_until(lambda: "next_round_time" in self.backupctl("key", "list")[0]["retirement"], "a round has ended")
        self.backupctl("key", "retire", "1", "--cancel")
        orphan.unlink()

    def replace_the_state(self, data):
        for command, kind in (("list", "FoundSnapshot"), ("restore", "RestoredState"), ("rebuild", "RebuiltState"),
                              ("accept", None)):
            lines = self.run_program("backupctl", "--json", "--quiet", "state", command, f"--data_dir={data}", codes=(0, 14))
            self.called.add(f"state {command}")
            self.assertEqual(kind is None, not lines, command)
            for line in lines:
                self.page.check_object(kind, line, f"state {command}")
        migrate = ("--json", "--quiet", "migrate", f"--from={data}")
        for line in self.run_program("backupctl", *migrate, f"--to={data}-new", "--finish"):
            self.page.check_object("Migrated", line, "migrate")
        self.assertEqual(self.run_program("backupctl", *migrate, "--undo"), [])
        self.called.add("migrate")

    def listed_as_stale(self):
        self.called.add("client stale")
        return self.run_program("backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", "--json", "client", "stale",
                                "--older-than=1s")

    def import_old_server(self):
        identity = uuid.uuid4()
        (self.folder / "uploaded_files").mkdir()
        for file in ("known", "unknown"):
            (self.folder / "uploaded_files" / file).write_bytes(b"content")
        with contextlib.closing(sqlite3.connect(self.folder / "old.db")) as database:
            database.executescript("CREATE TABLE clients(ID, name, public_key, last_seen, aes_key);"
                                   "CREATE TABLE files(ID, FileName, PathName, Verified)")
            database.execute("INSERT INTO clients VALUES (?, ?, 0, '2023-11-14 22:13:20.000000', 0)", (str(identity), b"old"))
            database.execute("INSERT INTO files VALUES (?, 'known', 'uploaded_files/known', 0)", (str(identity.bytes),))
            database.commit()
        self.backupctl("import", "old-server", f"--database={self.folder}/old.db", f"--files={self.folder}", codes=(3,))
        self.backupctl("file", "versions", "old", "known")

    def legacy_client(self):
        folder = self.folder / "legacy"
        folder.mkdir()
        (folder / "f").write_bytes(b"content")
        (folder / "transfer.info").write_text(f"127.0.0.1:{self.cluster.port}\nlegacy\nf\nmissing\n")
        for line in self.run_program("legacy-client", f"--dir={folder}", "--json", codes=(3,)):
            self.page.check_object("SentFile", line, "legacy-client")


def is_readable(stream):
    return bool(select.select([stream], [], [], 0.2)[0])


if __name__ == "__main__":
    unittest.main()
