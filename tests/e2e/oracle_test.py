"""The oracle of the fault runs finds each kind of damage, planted by hand, and nothing where nothing is wrong."""

import base64
import contextlib
import pathlib
import random
import shutil
import sqlite3
import tempfile
import unittest

import journal as j
import model_client as m
from cluster import Cluster, Process
from journaled_clients import ApiPlayer, LegacyPlayer
from oracle import Oracle, Resources, check_catalog, check_secrets, check_session_keys

LARGE = 300_000
SEED = 20


class OracleTest(unittest.TestCase):
    """One small store, of which each test damages a copy."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.base = pathlib.Path(folder.name)
        cls.journal = j.Journal(cls.base / "journal")
        cls.addClassCleanup(cls.journal.close)
        dice = random.Random(SEED)
        with Cluster(cls.base) as cluster:
            cls.players = [LegacyPlayer(cls.journal, cluster.port, "old", random.Random(1)).sign_up(),
                           LegacyPlayer(cls.journal, cluster.port, "older", random.Random(2)).sign_up(),
                           ApiPlayer(cls.journal, cluster.service_port, "caller", random.Random(3)).sign_up()]
            cls.players[1].client.rsa = cls.players[0].client.rsa
            for player in cls.players:
                for file, size in (("small", 100), ("large", LARGE), ("empty", 0)):
                    assert player.transfer(file, dice.randbytes(size))
                assert player.transfer("small", dice.randbytes(200))
                assert player.transfer("given up", dice.randbytes(100), j.ABANDONED)
            # After a file that was given up another kind of checksum is tried.
            content = dice.randbytes(100)
            while not cls.players[0].transfer("no verdict", content, verdict=""):
                pass
            cls.players[2].close()

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        shutil.copytree(self.base / "data", self.folder / "data")

    def sql(self, *statements):
        with contextlib.closing(sqlite3.connect(self.folder / "data" / "catalog.db")) as catalog, catalog:
            for statement in statements:
                catalog.execute(statement)

    def version(self, file, state=2, player=0):
        """A condition for the oldest version of a file."""
        return (f"version_id = (SELECT min(version_id) FROM versions JOIN files USING (file_id) WHERE state = {state} "
                f"AND CAST(name AS TEXT) = '{file}' AND client_id = x'{self.players[player].id.replace('-', '')}')")

    def check(self):
        service = Process("backup-service", [f"--data_dir={self.folder}/data", "--listen=127.0.0.1:0"], self.folder)
        try:
            return Oracle(self.journal, service.port).check()
        finally:
            service.stop()

    def assert_found(self, kind, problems=None):
        problems = self.check() if problems is None else problems
        self.assertIn(kind, {f"{problem.invariant} {problem.kind}" for problem in problems}, list(map(str, problems)))

    def blobs(self):
        return sorted(path for path in (self.folder / "data" / "store" / "blobs").rglob("*") if path.is_file())

    def test_nothing_is_wrong(self):
        self.assertEqual(list(map(str, self.check() + check_catalog(self.folder / "data"))), [])

    def test_a_lost_version(self):
        self.sql(f"DELETE FROM versions WHERE {self.version('small')}")
        self.assert_found("I1 version lost")

    def test_a_lost_version_without_a_verdict(self):
        self.sql(f"DELETE FROM versions WHERE {self.version('no verdict', 1)}")
        self.assert_found("I1 version lost")

    def test_a_changed_byte_in_a_blob(self):
        blob = self.blobs()[0]
        data = bytearray(blob.read_bytes())
        data[1000] ^= 1
        blob.write_bytes(data)
        problems = self.check()
        self.assert_found("I1 not readable", problems)
        self.assert_found("I1 not restored", problems)
        self.assert_found("I4 damaged", problems)

    def test_a_changed_byte_in_the_catalog(self):
        self.sql("UPDATE chunk_payloads SET payload = zeroblob(length(payload)) WHERE rowid = (SELECT min(rowid) FROM chunk_payloads)")
        self.assert_found("I1 not readable")

    def test_other_content_under_its_own_checksum(self):
        """As if the bytes of two files were mixed up before they were summed: only the journal knows."""
        self.sql(f"UPDATE versions SET (sha256, chunk_no) = (SELECT sha256, chunk_no FROM versions WHERE "
                 f"{self.version('no verdict', 1)}) WHERE {self.version('small')}")
        problems = self.check()
        self.assert_found("I3 nobody sent it", problems)
        self.assert_found("I1 version lost", problems)

    def test_a_version_too_many(self):
        columns = self.columns("versions")
        rest = ", ".join(column for column in columns if column not in ("version_id", "upload_id"))
        self.sql(f"INSERT INTO versions (version_id, upload_id, {rest}) SELECT 1000000, NULL, {rest} FROM versions WHERE {self.version('empty')}")
        problems = self.check()
        self.assert_found("I3 version too many", problems)
        self.assert_found("I3 verified by nobody", problems)

    def columns(self, table):
        with contextlib.closing(sqlite3.connect(self.folder / "data" / "catalog.db")) as catalog:
            return [row[1] for row in catalog.execute(f"PRAGMA table_info({table})")]

    def test_a_verdict_that_was_forgotten(self):
        self.sql(f"UPDATE versions SET state = 1, verify_time = NULL WHERE {self.version('large')}")
        problems = self.check()
        self.assert_found("I2 not verified", problems)
        self.assert_found("I3 not the newest", problems)
        self.assert_found("I2 restore lacks it", problems)

    def test_a_verdict_that_nobody_gave(self):
        self.sql(f"UPDATE versions SET state = 2, verify_time = receive_time WHERE {self.version('no verdict', 1)}")
        self.assert_found("I3 verified by nobody")

    def test_an_older_version_in_the_place_of_the_newest(self):
        with contextlib.closing(sqlite3.connect(self.folder / "data" / "catalog.db")) as catalog:
            older, newer = (row[0] for row in catalog.execute(
                f"SELECT version_id FROM versions WHERE file_id = (SELECT file_id FROM versions WHERE {self.version('small')}) ORDER BY 1"))
        self.sql(*(f"UPDATE versions SET version_id = {to} WHERE version_id = {now}"
                   for now, to in ((older, 1000000), (newer, older), (1000000, newer))))
        self.assert_found("I3 not the newest")

    def test_a_blob_that_is_missing(self):
        self.blobs()[0].unlink()
        problems = self.check()
        self.assert_found("I4 missing", problems)
        self.assert_found("I1 not readable", problems)

    def test_a_blob_that_was_cut(self):
        blob = self.blobs()[0]
        blob.write_bytes(blob.read_bytes()[:1000])
        self.assert_found("I1 not readable")

    def test_two_blobs_that_were_swapped(self):
        first, second = self.blobs()[:2]
        contents = first.read_bytes(), second.read_bytes()
        first.write_bytes(contents[1])
        second.write_bytes(contents[0])
        self.assert_found("I1 not readable")

    def test_a_blob_that_nothing_refers_to(self):
        blob = self.blobs()[0]
        blob.with_name(blob.name[:-4] + "0000").write_bytes(b"nobody's")
        self.assert_found("I4 orphan")

    def test_a_client_that_is_missing(self):
        self.sql(f"UPDATE clients SET delete_time = 1 WHERE client_id = x'{self.players[1].id.replace('-', '')}'")
        self.assert_found("I1 client missing")

    def test_a_file_that_nobody_sent(self):
        self.sql("UPDATE files SET name = CAST('stranger' AS BLOB) WHERE CAST(name AS TEXT) = 'empty'")
        self.assert_found("I3 file too many")

    def test_a_catalog_that_does_not_hold_together(self):
        with contextlib.closing(sqlite3.connect(self.folder / "data" / "catalog.db")) as catalog, catalog:
            catalog.execute("PRAGMA foreign_keys = OFF")
            catalog.execute("UPDATE files SET client_id = zeroblob(16) WHERE file_id = 1")
        self.assert_found("I4 row without its parent", check_catalog(self.folder / "data"))

    def test_keys_of_two_clients_that_were_swapped(self):
        with Cluster(self.folder) as cluster:
            clients = [self.again(player, cluster.port) for player in self.players[:2]]
            self.assertEqual(check_session_keys(self.journal, clients), [])
        keys = [column for column in self.columns("clients") if "session_key" in column]
        self.assertTrue(keys)
        first, second = (player.id.replace("-", "") for player in self.players[:2])
        self.sql(*(f"UPDATE clients SET {key} = CASE client_id WHEN x'{first}' THEN (SELECT {key} FROM clients WHERE client_id = x'{second}') "
                   f"ELSE (SELECT {key} FROM clients WHERE client_id = x'{first}') END WHERE client_id IN (x'{first}', x'{second}')"
                   for key in keys))
        with Cluster(self.folder) as cluster:
            clients = [self.again(player, cluster.port) for player in self.players[:2]]
            self.assert_found("I1 wrong session key", check_session_keys(self.journal, clients))

    @staticmethod
    def again(player, port):
        client = m.ModelClient(port, player.client.name, version=1)
        client.id, client.rsa = player.client.id, player.client.rsa
        return client

    def test_secrets_in_files(self):
        secret = random.Random(6).randbytes(32)
        told = {"raw": secret, "hex": secret.hex().encode(), "HEX": secret.hex().upper().encode()}
        told.update({f"base64 {shift}": base64.b64encode(bytes(shift) + secret) for shift in range(3)})
        for form, text in told.items():
            with self.subTest(form):
                path = self.folder / "log"
                path.write_bytes(b"a line " + text + b" and more")
                self.assert_found("I6 secret told", check_secrets([path], {"key": secret}))
        path.write_bytes(random.Random(7).randbytes(1 << 20))
        self.assertEqual(check_secrets([path], {"key": secret}), [])

    def test_resources_that_are_not_given_back(self):
        before = Resources(20, 30, 100 << 20)
        self.assertEqual(Resources(25, 40, 120 << 20).problems_since(before, "service"), [])
        for now in (Resources(80, 30, 100 << 20), Resources(20, 90, 100 << 20), Resources(20, 30, 300 << 20)):
            self.assertEqual(len(now.problems_since(before, "service")), 1)


class JournalTest(unittest.TestCase):
    def test_what_is_acknowledged_is_on_the_disk_before_it_counts(self):
        with tempfile.TemporaryDirectory() as folder:
            journal = j.Journal(pathlib.Path(folder) / "journal")
            number = journal.begin("client", "file", b"content")
            self.assertEqual(journal.acknowledged, 0)
            journal.stored(number)
            journal.say(number, j.VERIFIED)
            journal.told(number)
            self.assertEqual(journal.acknowledged, 2)
            journal.close()
            lines = (pathlib.Path(folder) / "journal").read_text().splitlines()
            self.assertEqual([line.split('"')[3] for line in lines], ["begin", "stored", "say", "told"])


if __name__ == "__main__":
    unittest.main()
