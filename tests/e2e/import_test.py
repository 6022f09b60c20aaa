"""Taking over from the old server: databases as it and its relatives leave them, by backupctl, and then the old clients,
which go on with the ids and keys that they have."""

import base64
import hashlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import unittest
import uuid

from Cryptodome.Cipher import AES
from Cryptodome.PublicKey import RSA
from Cryptodome.Util.Padding import pad

import dialect_client as f
import model_client as m
from cluster import BIN_DIR, ClusterTest

RECORDED = pathlib.Path(__file__).resolve().parents[1] / "testdata" / "old-server"
WAIT_S = 60
OK, FAILED, USAGE, PARTIAL, NO_SUCH, IN_USE, DAMAGED, UNREACHABLE = 0, 1, 2, 3, 10, 11, 14, 15
LAST_SEEN = "2026-01-02 03:04:05.678901"

OWN_TABLES = """
    CREATE TABLE clients (ID BINARY(16) PRIMARY KEY, name VARCHAR(256), public_key BINARY(160), last_seen DATETIME,
                          aes_key BINARY(16));
    CREATE TABLE files (ID BINARY(16) PRIMARY KEY, FileName VARCHAR(256), PathName VARCHAR(256), Verified BOOLEAN);
"""
RELATIVES_TABLES = """
    CREATE TABLE Clients (ID CHAR(16) NOT NULL PRIMARY KEY, Name CHAR(255), PublicKey CHAR(160), LastSeen DATE, AESKey CHAR(16));
    CREATE TABLE Files (ID CHAR(16), "File Name" CHAR(255), "Path Name" CHAR(255), Verified INTEGER);
"""


def encrypted(content, key):
    return AES.new(key, AES.MODE_CBC, bytes(16)).encrypt(pad(content, 16))


class OldClient:
    """What a client keeps, and what its server kept of it."""

    RSA_KEY = RSA.generate(1024, e=17)

    def __init__(self, name, aes_size=16):
        self.name, self.rsa = name, self.RSA_KEY
        self.id = uuid.uuid4()
        self.aes = bytes(byte % 255 + 1 for byte in os.urandom(aes_size))

    @property
    def public_key(self):
        return self.rsa.publickey().export_key("DER")


class ImportTest(ClusterTest):
    def setUp(self):
        super().setUp()
        self.old = self.folder / "old"
        self.uploads = self.old / "uploaded_files"
        self.uploads.mkdir(parents=True)
        self.database = self.old / "database.db"

    def make_database(self, tables=OWN_TABLES, clients=(), files=()):
        connection = sqlite3.connect(self.database)
        connection.executescript(tables)
        connection.executemany("INSERT INTO clients VALUES (?, ?, ?, ?, ?)", clients)
        connection.executemany("INSERT INTO files VALUES (?, ?, ?, ?)", files)
        connection.commit()
        connection.close()

    def own_row(self, client, **changes):
        row = {"id": str(client.id), "name": client.name.ljust(255, b"\0"), "public_key": client.public_key,
               "last_seen": LAST_SEEN, "aes_key": client.aes} | changes
        return tuple(row.values())

    def own_file(self, client, name):
        return (str(client.id.bytes), name, f"uploaded_files/{name}", 0)

    def backupctl(self, *arguments, code=OK, environment=None):
        done = subprocess.run(
            [BIN_DIR / "backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", *arguments],
            capture_output=True, text=True, timeout=WAIT_S, env=os.environ | {"TZ": "UTC"} | (environment or {}))
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def snapshot(self):
        """All that is in the old server's folder: bytes and times of change."""
        return {path: (path.read_bytes() if path.is_file() else None, path.lstat().st_mtime_ns)
                for path in sorted(self.old.rglob("*")) + [self.old]}

    def run_import(self, *flags, code=OK, **arguments):
        """The lines by kind; whatever it does, nothing of the old server changes."""
        before = self.snapshot()
        done = self.backupctl("--json", "import", "old-server", f"--database={self.database}", f"--files={self.old}",
                              *flags, code=code, **arguments)
        self.assertEqual(self.snapshot(), before)
        self.errors = done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        result = {"clients": [line["client"] for line in lines if "client" in line],
                  "files": {line["file"]["path_text"]: line["file"] for line in lines if "file" in line}}
        if lines:
            result["summary"] = lines[-1]["summary"]
        return result

    def listed(self, *arguments):
        return [json.loads(line) for line in self.backupctl("--json", *arguments).stdout.splitlines()]

    def content(self, client, name, *flags):
        """The newest confirmed version as a restore gets it."""
        out = self.folder / "got"
        self.backupctl("file", "get", client, name, "-o", str(out), "--force", *flags)
        return out.read_bytes()

    def reconnected(self, client, port=None):
        """The independent client, with the identity that it had at the old server."""
        model = m.ModelClient(port or self.cluster.port, client.name)
        model.id, model.rsa = client.id.bytes, client.rsa
        self.assertEqual(model.reconnect(), m.RECONNECTED)
        self.assertEqual(model.aes, client.aes)
        return model


class RecordedServerTest(ImportTest):
    """The real old server's database, and its clients."""

    def setUp(self):
        super().setUp()
        shutil.copytree(RECORDED, self.old, dirs_exist_ok=True)
        self.clients = json.loads((RECORDED / "clients.json").read_text())
        self.cluster = self.start()

    def client_folder(self, client):
        folder = self.folder / client["name"]
        folder.mkdir()
        key = base64.b64encode(bytes.fromhex(client["private_key_der"])).decode()
        (folder / "me.info").write_text(f"{client['name']}\n{client['id'].replace('-', '')}\n{key}\n")
        (folder / "priv.key").write_text(f"{key}\n")
        (folder / "new.txt").write_text("new content")
        (folder / "transfer.info").write_text(f"127.0.0.1:{self.cluster.port}\n{client['name']}\nnew.txt\n")
        return folder

    def test_old_clients_go_on_with_the_ids_and_keys_that_they_have(self):
        result = self.run_import("--owner=laptop one=file0*", "--owner=laptop two")
        self.assertEqual(result["summary"], {"clients": 2, "keys": 2, "files": 4, "bytes": 2400, "unchanged": 0,
                                             "left_out": 0, "dry_run": False})
        for number, client in enumerate(self.clients):
            known = self.listed("client", "show", client["id"])[0]
            self.assertEqual(known["name"], client["name"])
            for file in (f"file{number}0.txt", f"file{number}1.txt"):
                self.assertEqual(self.content(client["name"], file), (RECORDED / "uploaded_files" / file).read_bytes())
            folder = self.client_folder(client)
            kept = (folder / "me.info").read_bytes()
            subprocess.run([BIN_DIR / "legacy-client", f"--dir={folder}"], check=True, timeout=WAIT_S, capture_output=True)
            self.assertEqual((folder / "me.info").read_bytes(), kept)
            self.assertEqual(self.content(client["id"], "new.txt"), b"new content")
            model = m.ModelClient(self.cluster.port, client["name"].encode(), version=1)
            model.id = uuid.UUID(client["id"]).bytes
            model.rsa = RSA.import_key(bytes.fromhex(client["private_key_der"]))
            self.assertEqual(model.reconnect(), m.RECONNECTED)
            self.assertEqual(model.aes.hex(), client["session_key"])
            model.back_up(b"model.txt", b"of the independent client")
            self.assertEqual(self.content(client["name"], "model.txt"), b"of the independent client")
        self.assertEqual(len(self.listed("client", "list")), 2)

    def test_files_that_no_row_names_are_told_and_never_guessed(self):
        result = self.run_import(code=PARTIAL)
        self.assertEqual(result["summary"]["files"], 2)
        for name in ("file01.txt", "file11.txt"):
            self.assertEqual(result["files"][name]["result"], "left_out")
            self.assertIn("--owner", result["files"][name]["why"])
        result = self.run_import("--owner", self.clients[1]["id"] + "=*11.txt", code=PARTIAL)
        self.assertEqual(result["files"]["file11.txt"]["result"], "imported")
        self.assertEqual(result["files"]["file11.txt"]["client_name"], "laptop two")
        self.assertEqual(result["summary"]["unchanged"], 4)

    def test_the_same_again_changes_nothing_also_when_a_client_has_gone_on(self):
        self.run_import("--owner=laptop one=file0*", "--owner=laptop two")
        folder = self.client_folder(self.clients[0])
        (folder / "file00.txt").write_text("what it sent since")
        (folder / "transfer.info").write_text(f"127.0.0.1:{self.cluster.port}\nlaptop one\nfile00.txt\n")
        subprocess.run([BIN_DIR / "legacy-client", f"--dir={folder}"], check=True, timeout=WAIT_S, capture_output=True)
        def everything():
            return [self.listed("client", "list")] + [
                self.listed("file", "versions", client["id"], f"file{i}{j}.txt")
                for i, client in enumerate(self.clients) for j in range(2)]
        before = everything()
        result = self.run_import("--owner=laptop one=file0*", "--owner=laptop two")
        self.assertEqual(result["summary"] | {"unchanged": 0}, {
            "clients": 0, "keys": 0, "files": 0, "bytes": 0, "unchanged": 0, "left_out": 0, "dry_run": False})
        self.assertEqual(everything(), before)
        # What the old server has is older, also if it is new to the service.
        (self.uploads / "file00.txt").write_text("not what was imported")
        os.utime(self.uploads / "file00.txt", (1_600_000_000, 1_600_000_000))
        result = self.run_import(code=PARTIAL)
        self.assertIn("newer version", result["files"]["file00.txt"]["why"])
        self.assertEqual(everything(), before)

    def test_a_dry_run_tells_the_same_and_does_nothing(self):
        wet = ("--owner=laptop two",)
        dry = self.run_import("--dry-run", *wet)
        self.assertEqual(self.listed("client", "list"), [])
        done = self.run_import(*wet)
        for result in (dry, done):
            for line in result["clients"] + list(result["files"].values()) + [result["summary"]]:
                del line["dry_run"]
        self.assertEqual(dry, done)

    def test_the_tables(self):
        arguments = ("import", "old-server", f"--database={self.database}", f"--files={self.uploads}")
        text = self.backupctl(*arguments, "--dry-run", code=PARTIAL).stdout
        self.assertIn("would be imported", text)
        self.assertIn("no row names it", text)
        text = self.backupctl(*arguments, code=PARTIAL).stdout
        self.assertRegex(text, r"laptop one +58ddc090-7a8f-4b23-81fd-c698c2331dc8 +128 bits +2026-11-28T23:20:52Z +imported")
        self.assertRegex(text, r"file00.txt +laptop one +600 B +plain +imported")
        self.assertIn("imported 2 clients, 2 with keys, and 2 files, 1.2 KiB; 0 were there; 2 left out", text)

    def test_files_and_clients_keep_their_times(self):
        os.utime(self.uploads / "file00.txt", (1_700_000_000, 1_700_000_000))
        self.run_import(code=PARTIAL, environment={"TZ": "Asia/Tokyo"})
        version = self.listed("file", "versions", "laptop one", "file00.txt")[0]
        self.assertEqual(version["receive_time"], "2023-11-14T22:13:20Z")
        self.assertEqual(version["verify_time"], "2023-11-14T22:13:20Z")
        client = self.listed("client", "show", "laptop one")[0]
        self.assertEqual(client["last_seen_time"], "2026-11-28T14:20:52.791552Z")
        self.assertEqual(client["last_verified_time"], "2023-11-14T22:13:20Z")


class OwnSchemaTest(ImportTest):
    def test_plain_and_encrypted_files_are_told_apart(self):
        sizes = (0, 1, 15, 16, 17, 31, 32, 4096, 100_001)
        self.cluster = self.start()
        for mode in ("plain", "encrypted", "mixed"):
            with self.subTest(mode):
                shutil.rmtree(self.old)
                self.uploads.mkdir(parents=True)
                client = OldClient(f"laptop {mode}".encode())
                self.make_database(clients=[self.own_row(client)], files=[self.own_file(client, "4096")])
                contents = {str(size): os.urandom(size) for size in sizes} | {"text": b"some text\n" * 80}
                for i, (name, content) in enumerate(contents.items()):
                    is_encrypted = mode == "encrypted" or (mode == "mixed" and i % 2 == 0)
                    (self.uploads / name).write_bytes(encrypted(content, client.aes) if is_encrypted else content)
                result = self.run_import(f"--owner=laptop {mode}")
                for i, (name, content) in enumerate(contents.items()):
                    line = result["files"][name]
                    self.assertEqual(line["sha256"], hashlib.sha256(content).hexdigest(), line)
                    self.assertEqual(line["size_bytes"], len(content))
                    self.assertEqual(self.content(f"laptop {mode}", name), content)
                self.reconnected(client).back_up(b"after", b"content")

    def test_what_the_files_are_may_be_told(self):
        self.cluster = self.start()
        client = OldClient(b"laptop")
        self.make_database(clients=[self.own_row(client)], files=[self.own_file(client, "a")])
        (self.uploads / "a").write_bytes(encrypted(b"content", client.aes))
        self.assertEqual(self.run_import("--content=plain", "--dry-run")["files"]["a"]["size_bytes"], 16)
        self.run_import("--content=encrypted")
        self.assertEqual(self.content("laptop", "a"), b"content")
        (self.uploads / "a").write_bytes(b"no ciphertext")
        result = self.run_import("--content=encrypted", code=PARTIAL)
        self.assertIn("not encrypted", result["files"]["a"]["why"])
        self.run_import("--content=other", code=USAGE)

    def test_a_client_without_keys_exchanges_them_when_it_comes(self):
        self.cluster = self.start()
        fresh, broken, sends_its_key = clients = [OldClient(name) for name in (b"fresh", b"broken", b"sends its key")]
        self.make_database(
            RELATIVES_TABLES,
            clients=[self.own_row(fresh, public_key=0, aes_key=0), self.own_row(broken, public_key=b"no key"),
                     self.own_row(sends_its_key, public_key=None, aes_key=None)],
            files=[(client.id.bytes, "old", client.name.decode(), 1) for client in clients])
        for client in clients:
            (self.uploads / client.name.decode()).write_bytes(b"of old")
        result = self.run_import(code=PARTIAL)
        self.assertEqual(result["summary"]["clients"], 3)
        self.assertEqual(result["summary"]["left_out"], 1, result)
        lines = {line["name"]: line for line in result["clients"]}
        self.assertTrue(lines["broken"]["keys_left_out"])
        self.assertIn("public key", lines["broken"]["why"])
        for client in (fresh, broken, sends_its_key):
            model = m.ModelClient(self.cluster.port, client.name)
            model.id = client.id.bytes
            if client is not sends_its_key:
                self.assertEqual(model.reconnect(), m.DENIED)
                self.assertEqual(model.register(), m.REGISTERED)
                self.assertEqual(model.id, client.id.bytes)  # It is the same client to us.
            self.assertEqual(model.exchange_key(), m.KEY_ACCEPTED)
            model.back_up(b"file", b"content")
            self.assertEqual(self.content(client.name.decode(), "old"), b"of old")
        self.assertEqual(len(self.listed("client", "list")), 3)

    def test_each_thing_that_is_wrong_is_told_and_the_rest_imported(self):
        self.cluster = self.start()
        good, twice, older, taken = (OldClient(name) for name in (b"good", b"twice", b"twice", b"taken"))
        m.ModelClient(self.cluster.port, b"taken").sign_up()
        self.make_database(
            clients=[self.own_row(older, last_seen="2020-01-01 00:00:00.000000"), self.own_row(twice),
                     self.own_row(good), self.own_row(taken), self.own_row(OldClient(b"no id"), id="not an id"),
                     self.own_row(OldClient(b"")), self.own_row(OldClient(b"short key"), aes_key=b"short")],
            files=[self.own_file(good, "good"), self.own_file(older, "of older"), self.own_file(twice, "gone"),
                   self.own_file(taken, "of taken"), ("b'no id'", "lost", "uploaded_files/lost", 0),
                   self.own_file(OldClient(b"nobody"), "of nobody")])
        for name in ("good", "of older", "of taken", "lost", "of nobody"):
            (self.uploads / name).write_bytes(b"content")
        (self.uploads / "link").symlink_to("/etc/hostname")
        for dry_run in (["--dry-run"], []):
            result = self.run_import(*dry_run, code=PARTIAL)
            results = {line["client_id"]: line["result"] for line in result["clients"]}
            for client, expected in ((good, "imported"), (twice, "imported"), (older, "left_out"), (taken, "left_out")):
                self.assertEqual(results[str(client.id)], expected, client.name)
            why = " ".join(line["why"] for line in result["clients"])
            for reason in ("has no id", "empty name", "this name", "AES key has 5 bytes"):
                self.assertIn(reason, why)
            for name, reason in (("of older", "its client was left out"), ("of taken", "its client was left out"),
                                 ("uploaded_files/gone", "is not in the folder"), ("lost", "no client's id"),
                                 ("of nobody", "has no row"), ("link", "symbolic link")):
                self.assertEqual(result["files"][name]["result"], "left_out")
                self.assertIn(reason, result["files"][name]["why"])
            self.assertEqual(result["files"]["good"]["result"], "imported")
        self.assertEqual(self.content("good", "good"), b"content")
        self.reconnected(twice)
        # Of what was left out, nothing is there.
        self.assertEqual({client["name"] for client in self.listed("client", "list")},
                         {"good", "twice", "taken", "short key"})

    def test_both_of_a_name_are_kept_where_that_is_allowed(self):
        self.cluster = self.start(service_flags=["--duplicate_names=allow", "--rotate_session_keys", "--rekey=allow"])
        clients = OldClient(b"twice"), OldClient(b"twice")
        self.make_database(clients=[self.own_row(client) for client in clients])
        self.assertEqual(self.run_import()["summary"]["clients"], 2)
        for client in clients:
            model = m.ModelClient(self.cluster.port, client.name)
            model.id, model.rsa = client.id.bytes, client.rsa
            self.assertEqual(model.reconnect(), m.RECONNECTED)
            self.assertNotEqual(model.aes, client.aes)  # Rotated.
            model.back_up(b"file", b"content")
        self.assertEqual(self.run_import()["summary"]["unchanged"], 2)

    def test_a_file_that_two_clients_sent_is_nobodys_unless_its_key_tells(self):
        self.cluster = self.start()
        one, two = OldClient(b"one"), OldClient(b"two")
        names = ("plain", "encrypted")
        relative = RELATIVES_TABLES
        self.make_database(relative, clients=[self.own_row(one), self.own_row(two)],
                           files=[(client.id.bytes, name, name, 1) for client in (one, two) for name in names])
        (self.uploads / "plain").write_bytes(b"content")
        (self.uploads / "encrypted").write_bytes(encrypted(b"of two", two.aes))
        result = self.run_import(code=PARTIAL)
        self.assertIn("several clients", result["files"]["plain"]["why"])
        self.assertEqual(result["files"]["encrypted"]["client_name"], "two")
        self.assertEqual(self.content("two", "encrypted"), b"of two")
        self.run_import("--owner=one=plain")
        self.assertEqual(self.content("one", "plain"), b"content")

    def test_a_client_that_had_registered_again_may_get_the_files_of_its_former_id(self):
        self.cluster = self.start()
        former, now = OldClient(b"laptop"), OldClient(b"laptop")
        self.make_database(clients=[self.own_row(former, last_seen="2020-01-01 00:00:00"), self.own_row(now)],
                           files=[self.own_file(former, "row")])
        for name in ("row", "no row"):
            (self.uploads / name).write_bytes(encrypted(b"of former", former.aes))
        result = self.run_import(code=PARTIAL)
        self.assertIn("its client was left out: --owner", result["files"]["row"]["why"])
        self.assertIn("opens with the key of laptop", result["files"]["no row"]["why"])
        result = self.run_import(f"--owner={now.id}", code=PARTIAL)
        self.assertEqual(result["summary"]["files"], 2)
        for name in ("row", "no row"):
            self.assertEqual(self.content("laptop", name), b"of former")
        self.reconnected(now)

    def test_an_encrypted_file_is_given_to_nobody_else_than_who_can_read_it(self):
        self.cluster = self.start()
        one, two = OldClient(b"one"), OldClient(b"two")
        self.make_database(clients=[self.own_row(one), self.own_row(two)])
        (self.uploads / "a").write_bytes(encrypted(b"of two", two.aes))
        self.assertIn("opens with the key of two", self.run_import(code=PARTIAL)["files"]["a"]["why"])
        self.assertIn("opens with the key of two", self.run_import("--owner=one", code=PARTIAL)["files"]["a"]["why"])
        self.run_import("--owner=two")
        self.assertEqual(self.content("two", "a"), b"of two")

    def test_an_import_that_was_cut_off_goes_on(self):
        self.cluster = self.start(service_flags=["--debug"])  # Wrong checksums, on purpose.
        client = OldClient(b"laptop")
        files = {f"file{i}": os.urandom(100_000 + i) for i in range(8)}
        self.make_database(clients=[self.own_row(client)])
        for name, content in files.items():
            (self.uploads / name).write_bytes(content)
        command = [BIN_DIR / "backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", "--json", "import",
                   "old-server", f"--database={self.database}", f"--files={self.old}", "--owner=laptop"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        for line in process.stdout:
            if b'"file"' in line:
                process.kill()
                break
        process.stdout.close()
        process.wait()
        self.run_import("--owner=laptop")
        for name, content in files.items():
            self.assertEqual(self.content("laptop", name), content)
            self.assertEqual(len(self.listed("file", "versions", "laptop", name)), 1)


class RelativesTest(ImportTest):
    def test_ids_names_and_keys_in_other_forms(self):
        self.cluster = self.start()
        raw, digits, large = OldClient(b"raw"), OldClient(b"digits"), OldClient(b"large", aes_size=32)
        self.make_database(
            RELATIVES_TABLES,
            clients=[(raw.id.bytes, "raw", raw.public_key, LAST_SEEN, raw.aes),
                     (digits.id.hex.upper(), b"digits\0\0", digits.public_key + bytes(40), 1_700_000_000, digits.aes),
                     (large.id.bytes, "large", large.public_key, 1_700_000_000.5, large.aes)],
            files=[(raw.id.bytes, "a", "./files/a", 1), (raw.id.bytes, "b", "./files/b", 0),
                   (digits.id.hex, "c", "/srv/old/c", 1), (large.id.bytes, "d", "d", 1)])
        for name in "abc":
            (self.uploads / name).write_bytes(name.encode() * 100)
        (self.uploads / "d").write_bytes(encrypted(b"of AES-256", large.aes))
        result = self.run_import()
        self.assertEqual(result["summary"]["clients"], 3)
        self.assertEqual(result["summary"]["files"], 4)
        self.assertIn("not confirmed", result["files"]["b"]["why"])
        self.assertEqual(self.content("raw", "b"), b"b" * 100)
        self.assertEqual(self.content("large", "d"), b"of AES-256")
        self.reconnected(raw).back_up(b"after", b"content")
        self.reconnected(digits).back_up(b"after", b"content")

    def test_a_client_of_family_d_goes_on_though_the_port_is_family_cs(self):
        self.cluster = self.start()
        clients = {}
        for letter in "ABCDE":
            client = OldClient(letter.encode(), f.FAMILIES[letter].aes_size)
            clients[letter] = client
        self.make_database(RELATIVES_TABLES, clients=[
            (client.id.bytes, client.name, client.public_key, LAST_SEEN, client.aes) for client in clients.values()])
        self.run_import()
        for letter, client in clients.items():
            with self.subTest(letter):
                peer = f.DialectClient(self.cluster.port, client.name, f.Style(f.FAMILIES[letter]))
                peer.id, peer.rsa = client.id.bytes, client.rsa
                self.assertTrue(all(transfer.verified for transfer in peer.second_run({b"file": b"content"}).values()))
                self.assertEqual(peer.aes_key, client.aes)
                self.assertEqual(self.listed("client", "show", letter)[0]["legacy_profile"]["family"], letter)
                self.assertEqual(self.content(letter, "file"), b"content")

    def test_columns_with_other_names(self):
        self.cluster = self.start()
        client = OldClient(b"laptop")
        self.make_database("""CREATE TABLE clients (uid, client_name, pubkey, seen, symmetric);
                              CREATE TABLE files (owner, title, location, ok);""",
                           clients=[self.own_row(client)], files=[(client.id.bytes, "a", "a", 1)])
        (self.uploads / "a").write_bytes(b"content")
        self.run_import(code=USAGE)
        self.assertIn("uid, client_name", self.errors)
        self.run_import("--columns=uid=id,client_name=name,pubkey=public_key,seen=last_seen,symmetric=aes_key,"
                        "owner=id,title=file_name,location=path_name,ok=verified")
        self.assertEqual(self.content("laptop", "a"), b"content")
        self.reconnected(client)


class DatabaseTroubleTest(ImportTest):
    def setUp(self):
        super().setUp()
        self.cluster = self.start()
        self.client = OldClient(b"laptop")

    def assert_refused(self, code, *parts):
        self.run_import(code=code)
        self.assertEqual(len(self.errors.splitlines()), 1, self.errors)
        for part in parts:
            self.assertIn(part, self.errors)
        self.assertEqual(self.listed("client", "list"), [])

    def test_one_that_is_in_use_is_left_alone(self):
        self.make_database(clients=[self.own_row(self.client)])
        # A process of its own, as its locks end when this one closes the file.
        script = """if True:
            import sqlite3, sys
            server = sqlite3.connect(sys.argv[1], isolation_level=None)
            for statement in sys.argv[2:]:
                server.execute(statement).fetchone()
            print("ready", flush=True)
            sys.stdin.read()"""
        for statements in (("BEGIN EXCLUSIVE",), ("BEGIN IMMEDIATE", "DELETE FROM clients"), ("BEGIN", "SELECT * FROM clients"),
                           ("PRAGMA journal_mode = WAL", "UPDATE clients SET last_seen = 0")):
            with self.subTest(statements):
                with subprocess.Popen(["/usr/bin/python3", "-c", script, self.database, *statements],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
                    self.assertEqual(server.stdout.readline(), b"ready\n")
                    self.assert_refused(IN_USE, f"in use by process {server.pid}", "stop the old server")
                    server.stdin.close()
        # One that is merely open can be read, but is not over.
        with subprocess.Popen(["/usr/bin/python3", "-c", script, self.database, "PRAGMA journal_mode = DELETE",
                               "SELECT count(*) FROM clients"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            self.assertEqual(server.stdout.readline(), b"ready\n")
            self.run_import()
            self.assertIn(f"process {server.pid} has {self.database} open", self.errors)
            server.stdin.close()
        self.assertEqual(self.run_import()["summary"]["unchanged"], 1)
        self.assertEqual(self.errors, "")

    def test_changes_that_a_dead_server_left_beside_it(self):
        script = """if True:
            import os, sqlite3, sys
            server = sqlite3.connect(sys.argv[1], isolation_level=None)
            server.execute("PRAGMA cache_size = 1")
            server.execute(f"PRAGMA journal_mode = {sys.argv[2]}")
            server.execute("BEGIN")
            for i in range(2000):
                server.execute("INSERT INTO clients VALUES (?, randomblob(2000), 0, 0, 0)", (str(i),))
            os.kill(os.getpid(), 9)"""
        for mode, beside in (("DELETE", "-journal"), ("WAL", "-wal")):
            with self.subTest(mode):
                self.database.unlink(missing_ok=True)
                self.make_database(clients=[self.own_row(self.client)])
                subprocess.run(["/usr/bin/python3", "-c", script, self.database, mode], timeout=WAIT_S)
                self.assertTrue(pathlib.Path(f"{self.database}{beside}").exists())
                self.assert_refused(IN_USE, beside, "open a copy")
                pathlib.Path(f"{self.database}{beside}").unlink()

    def test_one_that_is_damaged_or_none(self):
        self.assert_refused(NO_SUCH, "database.db")
        self.database.write_bytes(b"no database at all")
        self.assert_refused(DAMAGED, "is no SQLite database", ".recover")
        self.database.unlink()
        self.make_database("CREATE TABLE songs (id); CREATE TABLE clients2 (a, b, c, d, e);")
        self.assert_refused(USAGE, "songs")

    def make_database(self, tables=OWN_TABLES, clients=(), files=()):
        if "clients (" in tables:
            return super().make_database(tables, clients, files)
        connection = sqlite3.connect(self.database)
        connection.executescript(tables)
        connection.close()
        return None

    def test_of_one_that_is_damaged_in_part_the_rest_is_imported(self):
        clients = [OldClient(f"client {i}".encode()) for i in range(200)]
        self.make_database(clients=[self.own_row(client) for client in clients])
        content = bytearray(self.database.read_bytes())
        page = (len(content) // 2) // 4096 * 4096
        content[page:page + 4096] = b"\xA5" * 4096
        self.database.write_bytes(content)
        result = self.run_import(code=PARTIAL)
        self.assertIn("damaged", self.errors)
        self.assertGreater(result["summary"]["clients"], 0)
        self.assertLess(result["summary"]["clients"], 200)

    def test_the_service_is_away_or_the_folder(self):
        self.make_database(clients=[self.own_row(self.client)])
        self.backupctl("import", "old-server", f"--database={self.database}", "--files=/nowhere", code=NO_SUCH)
        elsewhere = self.folder / "elsewhere"
        self.uploads.rename(elsewhere)
        for target in (elsewhere, "/nowhere"):
            self.uploads.symlink_to(target)
            self.run_import(code=NO_SUCH)
            self.assertIn("give the folder that it leads to as --files", self.errors)
            self.uploads.unlink()
        elsewhere.rename(self.uploads)
        self.cluster.service.stop()
        self.run_import("--timeout=1s", code=UNREACHABLE)


if __name__ == "__main__":
    unittest.main()
