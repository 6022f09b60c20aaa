"""Keys that are replaced, from outside: a store of an older program gets generations, a new master key and, then, loses the
old one; the master key comes from files, commands and systemd's credentials; and what cannot be is refused."""

import contextlib
import hashlib
import json
import os
import pathlib
import random
import re
import secrets
import shutil
import sqlite3
import stat
import subprocess
import tarfile
import unittest

import model_client as m
from Cryptodome.PublicKey import RSA
from cli_test import CliTest
from cluster import BIN_DIR, wait_until

SOURCES = pathlib.Path(__file__).resolve().parents[2]
OLD_STORE = SOURCES / "tests" / "testdata" / "before-key-generations"
OPERATIONS = SOURCES / "docs" / "operations.md"
START_S = 60
FAILED, USAGE, BAD_CONFIGURATION, DAMAGED = 1, 2, 10, 14
KINDS = ["STORE_SECRET", "SESSION_KEY", "PACK_KEY", "VERSION"]
SEALED = ["--at_rest=sealed", "--inline_blob_limit=4096"]


def content_of(file):
    return random.Random(file["seed"]).randbytes(file["size"])


def fingerprint(key_hex):
    return hashlib.sha256(bytes.fromhex(key_hex)).hexdigest()[:16]


class KeysTest(CliTest):
    def setUp(self):
        super().setUp()
        self.data = self.folder / "data"
        self.generations_file = self.data / "key.generations"
        self.key_file = self.data / "master.key"

    def start(self, **flags):
        super().start(**flags)
        return self.cluster

    def new_key(self, name):
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32) + "\n")
        return path

    def take_old_store(self):
        self.data.mkdir(mode=0o700)
        with tarfile.open(OLD_STORE / "data.tar.xz") as tar:
            tar.extractall(self.data)
        told = json.loads((OLD_STORE / "clients.json").read_text())
        private_key = RSA.import_key(bytes.fromhex(told["private_key"]))
        return told["clients"], private_key

    def assert_clients_come_again(self, clients):
        """With the session keys that they had; ModelClient.KEY is theirs."""
        for client in clients:
            returning = m.ModelClient(self.cluster.port, client["name"].encode())
            returning.id = bytes.fromhex(client["id"])
            self.assertEqual(returning.reconnect(), m.RECONNECTED)
            self.assertEqual(returning.aes.hex(), client["session_key"])

    def restart(self, *flags):
        self.cluster.service.stop()
        self.cluster.service_flags = list(flags)
        self.cluster.start_service()

    def keys(self):
        return self.json_lines("key", "list")[0]

    def generations(self, *fields):
        return [tuple(each[field] for field in fields) for each in self.keys()["generations"]]

    def rewrap_and_verify(self):
        rewrapped = self.json_lines("key", "rewrap", "--verify")[0]
        self.assertEqual([samples["kind"] for samples in rewrapped["samples"]], KINDS)
        self.assertEqual([samples["failed_count"] for samples in rewrapped["samples"]], [0] * len(KINDS))
        return rewrapped

    def assert_all_is_there(self, clients):
        self.backupctl("verify")
        for client in clients:
            for file in client["files"]:
                to = self.folder / "got"
                self.backupctl("file", "get", client["name"], file["name"], "-o", str(to), "--force")
                self.assertEqual(to.read_bytes(), content_of(file), (client["name"], file["name"]))

    def readable_snapshots(self, master_key, *flags):
        done = self.run_program("backupctl", "--json", "state", "list", f"--data_dir={self.data}", f"--master_key_file={master_key}", *flags)
        return [each["path"] for each in map(json.loads, done.stdout.splitlines()) if each["is_readable"]]

    def assert_decrypts(self, clients, master_key, *flags):
        """Without a service: by the catalog, and each blob by itself."""
        to = self.folder / "decrypted"
        for client in clients:
            for file in client["files"]:
                self.run_program("backupctl", "decrypt", f"--data_dir={self.data}", f"--master_key_file={master_key}",
                                 f"--client={client['name']}", f"--file={file['name']}", "-o", str(to), "--force", *flags)
                self.assertEqual(to.read_bytes(), content_of(file))
        contents = {content_of(file) for client in clients for file in client["files"]}
        for blob in (path for path in (self.data / "store" / "blobs").rglob("*") if path.is_file()):
            self.run_program("backupctl", "decrypt", str(blob), f"--master_key_file={master_key}",
                             f"--key_generations_file={self.generations_file}", "-o", str(to), "--force", *flags)
            self.assertIn(to.read_bytes(), contents, blob)

    def refuse(self, *flags, says, code=BAD_CONFIGURATION):
        done = subprocess.run([BIN_DIR.resolve() / "backup-service", f"--data_dir={self.data}", "--listen=127.0.0.1:0", *flags],
                              capture_output=True, text=True, timeout=START_S)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        for text in says:
            self.assertIn(str(text), done.stderr)
        return done.stderr


class ReplacedKeysTest(KeysTest):
    def test_a_store_of_an_older_program_gets_a_new_master_key_and_loses_the_old_one(self):
        """The drill of docs/operations.md."""
        clients, private_key = self.take_old_store()
        old_fingerprint = fingerprint(self.key_file.read_text())
        # The new program starts with what the old one left.
        cluster = self.start(service_flags=SEALED)
        self.assertEqual(self.generations("number", "is_newest", "is_rewrapped", "session_key_count", "pack_count"),
                         [(0, True, True, 3, 1)])
        self.assertEqual(stat.S_IMODE(self.generations_file.stat().st_mode), 0o600)
        self.assert_all_is_there(clients)
        # A new generation, which seals what comes now.
        self.assertEqual(self.json_lines("key", "rotate"), [{"newest_generation": 1}])
        m.ModelClient.KEY = private_key
        self.addCleanup(setattr, m.ModelClient, "KEY", None)
        newer = m.ModelClient(cluster.port, b"newer").sign_up()
        files = [{"name": "small", "seed": 11, "size": 100}, {"name": "large", "seed": 12, "size": 9000}]
        for file in files:
            newer.back_up(file["name"].encode(), content_of(file))
        clients.append({"name": "newer", "id": newer.id.hex(), "session_key": newer.aes.hex(), "files": files})
        self.assertEqual(self.generations("number", "session_key_count", "pack_count"), [(0, 3, 1), (1, 1, 1)])
        # A new master key; the old one is still there.
        make_key = re.search(r"Make one: `([^`]+)`", OPERATIONS.read_text()).group(1)
        subprocess.run(["sh", "-c", make_key], check=True, timeout=START_S, cwd=self.folder)
        new_key = self.folder / "new.key"
        old_key = self.folder / "old.key"
        self.key_file.rename(old_key)
        self.restart(*SEALED, f"--master_key_file={new_key}", f"--old_master_key_file={old_key}")
        cluster.service.wait_for_log("sealed under an old master key")
        new_fingerprint = fingerprint(new_key.read_text())
        self.assertEqual(self.keys()["master_key_fingerprint"], new_fingerprint)
        self.assertEqual(self.generations("master_key_fingerprint", "is_rewrapped"), [(old_fingerprint, False)] * 2)
        self.assertIn(f"{old_fingerprint} (old)", self.backupctl("key", "list").stdout)
        # What there is of snapshots takes the old one.
        self.assertEqual(self.readable_snapshots(new_key), [])
        # Without a service, each is found by its fingerprint.
        cluster.service.stop()
        self.assertNotEqual(self.readable_snapshots(new_key, f"--old_master_key_file={old_key}"), [])
        self.assert_decrypts(clients, new_key, f"--old_master_key_file={old_key}")
        cluster.start_service()
        rewrapped = self.rewrap_and_verify()
        self.assertEqual((rewrapped["rewrapped_count"], rewrapped["newest_generation"]), (2, 1))
        self.assertEqual(self.readable_snapshots(new_key), rewrapped["snapshot_paths"])
        self.assertEqual([samples["opened_count"] for samples in rewrapped["samples"]], [1, 4, 2, 2])
        self.assertEqual(self.generations("master_key_fingerprint", "is_rewrapped"), [(new_fingerprint, True)] * 2)
        # The old one is lost.
        old_key.unlink()
        self.restart(*SEALED, f"--master_key_file={new_key}")
        self.assert_all_is_there(clients)
        self.assert_clients_come_again(clients)
        cluster.service.stop()
        self.assert_decrypts(clients, new_key)
        # And then the catalog: from the snapshot that rewrap took, and from that and the blobs.
        for action in ("restore", "rebuild"):
            (self.data / "catalog.db").unlink()
            self.run_program("backupctl", "state", action, f"--data_dir={self.data}", f"--master_key_file={new_key}")
            cluster.start_service()
            self.assert_all_is_there(clients)
            cluster.service.stop()

    def test_killed_while_keys_change_it_goes_on(self):
        clients, _ = self.take_old_store()
        cluster = self.start(service_flags=SEALED)
        key, flags = self.key_file, SEALED
        for number, (action, said) in enumerate([("rotate", "seals from now on"), ("rewrap", "are under the master key")] * 2):
            kept, lines = self.generations_file.read_bytes(), cluster.service.log().count(said)
            command = subprocess.Popen([BIN_DIR / "backupctl", f"--service=127.0.0.1:{cluster.service_port}", "key", action],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if number < 2:  # As soon as the file has it.
                wait_until(lambda: self.generations_file.read_bytes() != kept, f"{action} writes the file")
            else:  # As soon as all has, and a snapshot is to be taken.
                cluster.service.wait_for_log(said, lines + 1)
            cluster.service.kill()
            command.wait(timeout=START_S)
            if action == "rotate":
                old, key = key, self.new_key(f"{number}.key")
                flags = [*SEALED, f"--master_key_file={key}", f"--old_master_key_file={old}"]
            cluster.service_flags = flags
            cluster.start_service()
            if action == "rewrap":
                self.rewrap_and_verify()
        self.assert_all_is_there(clients)

    def test_without_the_file_or_without_the_catalogs_rows(self):
        clients, _ = self.take_old_store()
        cluster = self.start(service_flags=SEALED)
        self.backupctl("key", "rotate")
        kept = self.generations_file.read_bytes()
        cluster.service.stop()
        self.generations_file.unlink()
        cluster.start_service()
        self.assertEqual(self.generations_file.read_bytes(), kept)
        cluster.service.stop()
        subprocess.run(["sqlite3", self.data / "catalog.db", "DELETE FROM store_values WHERE name = CAST('key_generations' AS BLOB)"],
                       check=True, timeout=START_S)
        self.assert_decrypts(clients, self.key_file)
        cluster.start_service()
        self.assertEqual(self.generations("number"), [(0,), (1,)])
        self.assert_all_is_there(clients)

    def test_a_damaged_file_is_left_as_it_is(self):
        clients, _ = self.take_old_store()
        cluster = self.start(service_flags=SEALED)
        self.backupctl("key", "rotate")
        kept = self.generations_file.read_bytes()
        cluster.service.stop()
        for damaged in (b"", kept[:50]):
            self.generations_file.write_bytes(damaged)
            self.refuse(says=(self.generations_file, "damaged", "move it away"), code=DAMAGED)
            self.assertEqual(self.generations_file.read_bytes(), damaged)
        self.generations_file.chmod(0)
        if os.geteuid() != 0:
            self.refuse(says=(self.generations_file, "Permission denied"))
        self.generations_file.rename(self.folder / "damaged")
        cluster.start_service()
        self.assertEqual(self.generations_file.read_bytes(), kept)
        self.assert_all_is_there(clients)

    def test_what_a_missing_generation_sealed_is_not_damaged(self):
        clients, private_key = self.take_old_store()
        cluster = self.start(service_flags=SEALED)
        self.backupctl("key", "rotate")
        m.ModelClient.KEY = private_key
        self.addCleanup(setattr, m.ModelClient, "KEY", None)
        newer = m.ModelClient(cluster.port, b"newer").sign_up()
        newer.back_up(b"large", content_of({"seed": 12, "size": 9000}))
        cluster.service.stop()
        # An operator who keeps neither of them.
        aside = self.folder / "aside"
        self.generations_file.rename(aside)
        text = subprocess.run(["sqlite3", self.data / "catalog.db",
                               "SELECT CAST(value AS TEXT) FROM store_values WHERE name = CAST('key_generations' AS BLOB)"],
                              check=True, timeout=START_S, capture_output=True).stdout
        subprocess.run(["sqlite3", self.data / "catalog.db", "DELETE FROM store_values WHERE name = CAST('key_generations' AS BLOB)"],
                       check=True, timeout=START_S)
        self.assertEqual(text.strip(), aside.read_bytes().strip())
        cluster.start_service()
        done = self.backupctl("verify", code=DAMAGED)
        self.assertIn("key generation 1", done.stdout)
        self.assertIn("KEY_MISSING", self.backupctl("file", "get", "newer", "large", "-o", str(self.folder / "got"), code=FAILED).stderr)
        self.assertEqual(self.json_lines("status")[0]["damaged_chunk_count"], 0)
        # Nor does anything go by what can be read.
        errors = lambda: [job["last_error"] for job in self.json_lines("status")[0]["jobs"] if job["name"] in ("purge", "retain")]
        wait_until(lambda: ["key generation 1" in error for error in errors()] == [True, True], "the jobs that fail")
        # Its client comes back all the same.
        self.assertEqual(newer.reconnect(), m.RECONNECTED)
        newer.back_up(b"again", b"by a new session key")
        # Its number is given to no other.
        self.assertIn("key generation 1", self.backupctl("key", "rotate", code=FAILED).stderr)
        self.backupctl("key", "rewrap")
        self.assertEqual(self.generations("number"), [(0,)])
        cluster.service.stop()
        # As it was told.
        aside.rename(self.generations_file)
        cluster.start_service()
        wait_until(lambda: errors() == ["", ""], "the jobs that go on")
        self.assertEqual(newer.reconnect(), m.RECONNECTED)
        newer.back_up(b"again", b"by the same")
        self.assert_all_is_there([*clients, {"name": "newer", "files": [{"name": "large", "seed": 12, "size": 9000}]}])

    def go_back_to(self, generations):
        """As if those that were made since had never been, in neither place."""
        self.generations_file.write_bytes(generations)
        with contextlib.closing(sqlite3.connect(self.data / "catalog.db")) as catalog, catalog:
            catalog.execute("UPDATE store_values SET value = ? WHERE name = CAST('key_generations' AS BLOB)", (generations,))

    def test_small_content_is_stored_although_a_pack_has_it_that_cannot_be_opened(self):
        cluster = self.start(service_flags=SEALED)
        first = self.generations_file.read_bytes()
        client = m.ModelClient(cluster.port, b"client").sign_up()
        self.backupctl("key", "rotate")
        content, other = os.urandom(9000), os.urandom(9000)
        client.back_up(b"in a pack", content)
        client.back_up(b"another", other)
        cluster.service.stop()
        self.go_back_to(first)
        cluster.service_flags = ["--at_rest=sealed"]
        cluster.start_service()
        get = lambda name, code=0: self.backupctl("file", "get", "client", name, "-o", str(self.folder / "got"), "--force", code=code)
        self.assertIn("KEY_MISSING", get("in a pack", FAILED).stderr)
        client.back_up(b"small by now", content)
        for name in ("small by now", "in a pack"):
            get(name)
            self.assertEqual((self.folder / "got").read_bytes(), content)
        self.assertIn("KEY_MISSING", get("another", FAILED).stderr)

    def test_nothing_goes_for_a_version_outside_packs_that_cannot_be_opened(self):
        flags = ["--at_rest=client", "--retain_interval=1s", "--unconfirmed_ttl=0s"]
        cluster = self.start(service_flags=flags)
        first = self.generations_file.read_bytes()
        client = m.ModelClient(cluster.port, b"client").sign_up()
        client.back_up(b"file", b"the older one")
        self.backupctl("key", "rotate")
        second = self.generations_file.read_bytes()
        client.back_up(b"file", b"the newer one")
        cluster.service.stop()
        self.go_back_to(first)
        cluster.start_service()
        versions = lambda: len(self.json_lines("file", "versions", "client", "file"))
        self.backupctl("policy", "set", "--keep-last=1")
        cluster.service.wait_for_log("since the newer one of their file cannot be opened: it is sealed by key generation 2")
        self.assertEqual(versions(), 2)
        cluster.service.stop()
        self.go_back_to(second)
        cluster.start_service()
        wait_until(lambda: versions() == 1, "the older one is not needed")

    def test_a_file_that_cannot_be_written_stops_a_change_and_not_a_start(self):
        clients, _ = self.take_old_store()
        cluster = self.start(service_flags=[*SEALED, "--key_generations_file=/no/such/folder/file"])
        cluster.service.wait_for_log("/no/such/folder/file")
        self.assertIn("/no/such/folder/file", self.backupctl("key", "rotate", code=FAILED).stderr)
        self.assertEqual(self.generations("number"), [(0,)])
        self.assert_all_is_there(clients)

    def test_a_new_store_has_generation_1(self):
        self.start(service_flags=SEALED)
        self.assertEqual(self.generations("number", "is_newest"), [(1, True)])
        rewrapped = self.rewrap_and_verify()
        self.assertEqual((rewrapped["rewrapped_count"], rewrapped["newest_generation"]), (0, 1))

    def test_what_does_not_open_is_told(self):
        self.take_old_store()
        self.start(service_flags=SEALED)
        subprocess.run(["sqlite3", "-cmd", ".timeout 20000", self.data / "catalog.db",
                        "UPDATE packs SET wrapped_key = zeroblob(60) WHERE form = 2"], check=True, timeout=START_S)
        done = self.backupctl("key", "rewrap", "--verify", code=DAMAGED)
        self.assertRegex(done.stdout, r"keys of packs: 0 opened, 1 not: .*sealed")


class RetiredKeysTest(KeysTest):
    FLAGS = [*SEALED, "--retire_interval=1s"]

    def wait_until_retired(self):
        wait_until(lambda: [number for number, in self.generations("number")] == [1], "generation 0 is gone")

    def test_a_generation_goes_and_all_is_there(self):
        clients, private_key = self.take_old_store()
        m.ModelClient.KEY = private_key
        self.addCleanup(setattr, m.ModelClient, "KEY", None)
        cluster = self.start(service_flags=self.FLAGS)
        self.assertIn("key rotate", self.backupctl("key", "retire", "0", code=USAGE).stderr)
        self.backupctl("key", "rotate")
        self.assertIn("key list", self.backupctl("key", "retire", "7", code=USAGE).stderr)
        self.assertEqual(self.json_lines("key", "retire", "0"), [{"retiring": [0]}])
        self.wait_until_retired()
        cluster.service.wait_for_log("job=retire outcome=OK")
        self.assertEqual(self.generations("session_key_count", "pack_count"), [(3, 1)])
        self.assert_all_is_there(clients)
        self.assertIn("retire", {job["name"] for job in self.json_lines("status")[0]["jobs"]})
        # Nothing needs the old master key's generation: neither a start, nor what is read without a service.
        self.restart(*self.FLAGS)
        self.assert_all_is_there(clients)
        self.assert_clients_come_again(clients)
        cluster.service.stop()
        self.assertNotIn("\n0 ", self.generations_file.read_text())
        self.assert_decrypts(clients, self.key_file)

    def retirement(self):
        """Which generations are to go, and at which place of which phase that is; None if none are."""
        with contextlib.closing(sqlite3.connect(f"file:{self.data}/catalog.db?mode=ro", uri=True)) as catalog:
            row = catalog.execute("SELECT value FROM store_values WHERE name = CAST('key_retirement' AS BLOB)").fetchone()
        fields = dict(line.split("=", 1) for line in row[0].decode().splitlines()) if row else {}
        return (fields["phase"], fields["position"]) if fields.get("generations") else None

    def test_what_is_in_the_way_is_named_and_it_is_tried_again(self):
        clients, _ = self.take_old_store()
        cluster = self.start(service_flags=[*self.FLAGS, "--move_interval=0s"])
        self.backupctl("key", "rotate")
        # An orphan, as after an older catalog took this one's place: a copy of a blob under another name.
        blob = max((path for path in (self.data / "store" / "blobs").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        orphan = blob.with_name(blob.name[:-1] + ("0" if blob.name[-1] != "0" else "1"))
        shutil.copy(blob, orphan)
        self.backupctl("key", "retire", "0")
        cluster.service.wait_for_log("job=retire outcome=ERROR")
        retirement = self.keys()["retirement"]
        self.assertEqual((retirement["phase"], retirement["left_count"]), ("SECRET", 1))
        self.assertIn("state rebuild", retirement["first_left"])
        self.assertIn("next_round_time", retirement)
        self.assertIn("1 things cannot be sealed anew", self.backupctl("key", "list").stdout)
        self.assertIn("state rebuild", next(job["last_error"] for job in self.json_lines("status")[0]["jobs"] if job["name"] == "retire"))
        self.assertEqual(self.json_lines("key", "retire", "0", "--cancel"), [{"retiring": []}])
        self.assertNotIn("retirement", self.keys())
        orphan.unlink()
        self.backupctl("key", "retire", "0")
        self.wait_until_retired()
        self.assert_all_is_there(clients)

    def test_it_is_told_if_the_catalog_cannot_tell_what_is_to_go(self):
        self.take_old_store()
        cluster = self.start(service_flags=self.FLAGS)
        self.backupctl("key", "rotate")
        self.assertFalse(self.keys()["retirement_is_unreadable"])
        cluster.service.stop()
        subprocess.run(["sqlite3", self.data / "catalog.db", "INSERT INTO store_values VALUES (CAST('key_retirement' AS BLOB), CAST('phase=99' AS BLOB))"],
                       check=True, timeout=START_S)
        cluster.start_service()
        self.assertTrue(self.keys()["retirement_is_unreadable"])
        self.assertIn("cannot be read in the catalog", self.backupctl("key", "list").stdout)
        self.backupctl("key", "retire", "0")
        self.wait_until_retired()
        self.assertNotIn("cannot be read", self.backupctl("key", "list").stdout)

    def test_killed_while_it_goes_it_goes_on(self):
        clients, _ = self.take_old_store()
        cluster = self.start(service_flags=self.FLAGS)
        self.backupctl("key", "rotate")
        # So slow that it is seen where it is: the end of a blob counts as 16 KiB.
        self.restart(*self.FLAGS, f"--repack_rate={64 << 10}")
        self.backupctl("key", "retire", "0")
        seen = {self.retirement()}
        while self.retirement():
            wait_until(lambda: self.retirement() not in seen, "it comes further")
            seen.add(self.retirement())
            cluster.service.kill()
            cluster.start_service()
        # Versions outside packs, packs and what comes after these take long enough to be seen.
        self.assertGreaterEqual(len(seen), 4)
        self.assertEqual(self.generations("number"), [(1,)])
        self.assert_all_is_there(clients)

    def test_it_is_not_done_where_it_is_turned_off(self):
        self.take_old_store()
        self.start(service_flags=[*SEALED, "--retire_interval=0s"])
        self.backupctl("key", "rotate")
        self.assertIn("--retire_interval", self.backupctl("key", "retire", "0", code=FAILED).stderr)


class SourcesTest(KeysTest):
    def run_with(self, *flags):
        """A store that is made with these flags, or is there, and its master key's fingerprint."""
        if getattr(self, "cluster", None) is None:
            self.start(service_flags=flags)
        else:
            self.restart(*flags)
        return self.keys()["master_key_fingerprint"]

    def script(self, text):
        path = self.folder / "vault"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def test_a_command_says_it(self):
        key = self.new_key("key")
        script = self.script('exec cat "$2"')
        self.assertEqual(self.run_with(f"--master_key_command={script}  get {key}"), fingerprint(key.read_text()))
        self.assertFalse(self.key_file.exists())
        self.assertNotIn(key.read_text().strip(), self.cluster.service.log())
        arguments = pathlib.Path(f"/proc/{self.cluster.service.process.pid}/cmdline").read_bytes()
        environment = pathlib.Path(f"/proc/{self.cluster.service.process.pid}/environ").read_bytes()
        self.assertNotIn(key.read_text().strip().encode(), arguments + environment)

    def test_a_command_that_does_not_say_it_stops_the_start(self):
        for text, says in (("echo no token >&2; exit 3", ("exit code 3", "no token")), ("echo abc", ("64 hex digits",)),
                           ("yes", ("says too much",)), ("kill -9 $$", ("signal 9",))):
            stderr = self.refuse(f"--master_key_command={self.script(text)}", says=("--master_key_command", *says))
            self.assertNotIn("abc", stderr)
        self.refuse("--master_key_command=/no/such/program", says=("cannot run /no/such/program",))
        self.assertFalse((self.data / "catalog.db").exists())

    def test_a_credential_of_systemd(self):
        self.refuse("--master_key_credential=master", says=("LoadCredential=",))
        folder = self.folder / "credentials"
        folder.mkdir()
        key = self.new_key("credentials/master")
        key.chmod(0o440)
        os.environ["CREDENTIALS_DIRECTORY"] = str(folder)
        self.addCleanup(os.environ.pop, "CREDENTIALS_DIRECTORY")
        self.assertEqual(self.run_with("--master_key_credential=master"), fingerprint(key.read_text()))
        self.cluster.service.stop()
        self.refuse("--master_key_credential=other", says=(folder / "other", "No such file"))

    def test_flags_that_contradict_each_other(self):
        only_one = ("give only one of",)
        self.refuse("--master_key_file=a", "--master_key_command=b", says=only_one)
        self.refuse("--master_key_file=a", "--master_key_credential=b", says=only_one)
        self.refuse("--master_key_command=a", "--master_key_credential=b", says=only_one)
        self.refuse("--master_key_credential=a/b", says=("without slashes",))
        self.refuse("--master_key_command= ", says=("names no program",))
        self.refuse("--master_key_file=a", "--old_master_key_file=b,a", says=("--old_master_key_file=a",))

    def test_a_key_that_is_not_the_stores_is_refused_whichever_way_it_comes(self):
        self.run_with()
        self.cluster.service.stop()
        other = self.new_key("other")
        self.refuse(f"--master_key_file={other}", says=(other, "another master key", "--old_master_key_file"))
        self.refuse(f"--master_key_command={self.script(f'cat {other}')}", says=("another master key",))
        self.refuse(f"--master_key_file={other}", f"--old_master_key_file={self.folder}/none", says=("none", "No such file"))
        # No key is made where there are keys.
        (self.data / "catalog.db").unlink()
        self.key_file.unlink()
        self.refuse(says=(self.key_file, "restore it"))
        self.assertFalse(self.key_file.exists())

    def test_several_old_ones_are_accepted(self):
        first = self.run_with()
        keys = [self.key_file]
        for number in range(2):
            keys.insert(0, self.new_key(f"{number}.key"))
            old = ",".join(map(str, keys[1:]))
            self.run_with(f"--master_key_file={keys[0]}", f"--old_master_key_file={old}")
            self.assertIn("key rewrap", self.backupctl("key", "rotate", code=FAILED).stderr)
        self.assertEqual(self.generations("master_key_fingerprint"), [(first,)])
        self.assertEqual(self.json_lines("key", "rewrap")[0]["rewrapped_count"], 1)
        self.backupctl("key", "rotate")
        self.assertEqual(self.generations("master_key_fingerprint"), [(fingerprint(keys[0].read_text()),)] * 2)


if __name__ == "__main__":
    unittest.main()
