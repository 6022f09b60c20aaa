"""The audit log: who did what, told in the same transaction, and whatever is altered, missing or cut off is found."""

import contextlib
import json
import pathlib
import re
import shutil
import sqlite3
import subprocess
import unittest

import certificates
import model_client as m
from cluster import BIN_DIR, ClusterTest, Process, wait_until

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
WAIT_S = 60
OK, DENIED, DAMAGED = 0, 12, 14


class ServiceTest(ClusterTest):
    """A service alone, whose catalog is changed while it is stopped."""

    def setUp(self):
        super().setUp()
        self.data = self.folder / "data"
        self.service = None
        self.addCleanup(lambda: self.service.stop())

    def start_service(self, *flags):
        self.service = Process("backup-service", [f"--data_dir={self.data}", "--listen=127.0.0.1:0", *flags], self.folder)

    def backupctl(self, *arguments, code=OK):
        done = subprocess.run([BIN_DIR / "backupctl", f"--service=127.0.0.1:{self.service.port}", *arguments],
                              capture_output=True, text=True, timeout=WAIT_S)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout

    def offline(self, *arguments):
        subprocess.run([BIN_DIR / "backupctl", *arguments], check=True, capture_output=True, timeout=WAIT_S)

    def entries(self, *filters):
        return [json.loads(line) for line in self.backupctl("--json", "audit", "list", *filters).splitlines()]

    def actions(self):
        return [entry["action"] for entry in self.entries()]

    def head(self):
        return re.search("^head (.*)$", self.backupctl("audit", "verify"), re.MULTILINE)[1]

    def set_policies(self, *keeps):
        for keep in keeps:
            self.backupctl("policy", "set", "--keep-last", str(keep))

    def change_catalog(self, *statements):
        """While the service is stopped."""
        with contextlib.closing(sqlite3.connect(self.data / "catalog.db")) as catalog:
            for statement in statements:
                catalog.execute(statement)
            catalog.commit()

    def is_damaged(self):
        return "the audit log is not as it was" in self.service.log()


class DamageTest(ServiceTest):
    def begin(self):
        self.start_service()
        self.set_policies(1, 2, 3, 4)
        self.assertEqual(self.actions(), ["audit begin"] + 4 * ["policy set"])
        self.assertIn("0 findings", self.backupctl("audit", "verify"))
        self.service.stop()

    def find_after(self, *statements, expected):
        self.begin()
        self.change_catalog(*statements)
        self.start_service()
        found = self.backupctl("audit", "verify", code=DAMAGED)
        for text in expected:
            self.assertIn(text, found)
        wait_until(self.is_damaged, "the log tells of it")
        return found

    def test_every_column_that_is_altered_is_found(self):
        self.begin()
        shutil.copy(self.data / "catalog.db", self.folder / "right.db")
        for change in ("time = time + 1", "actor = CAST('CN=nobody' AS BLOB)", "role = CAST('reader' AS BLOB)",
                       "peer = CAST('10.0.0.1:1' AS BLOB)", "action = CAST('policy delete' AS BLOB)",
                       "client_id = zeroblob(16)", "object = CAST('other' AS BLOB)", "version_id = 7",
                       "outcome = CAST('RETAINED' AS BLOB)", "detail = x''", "chain = zeroblob(32)"):
            with self.subTest(change):
                shutil.copy(self.folder / "right.db", self.data / "catalog.db")
                for end in ("-wal", "-shm"):
                    (self.data / f"catalog.db{end}").unlink(missing_ok=True)
                self.change_catalog(f"UPDATE audit_entries SET {change} WHERE number = 3")
                self.start_service()
                found = self.backupctl("audit", "verify", code=DAMAGED)
                self.assertRegex(found, r"(entry 3|entries 3 to 4): altered, or not in its place")
                self.service.kill()

    def test_a_row_that_is_missing_in_the_middle_is_found(self):
        self.find_after("DELETE FROM audit_entries WHERE number = 3", expected=["entry 3: missing", "1 findings"])

    def test_a_row_that_is_missing_at_the_beginning_is_found(self):
        self.find_after("DELETE FROM audit_entries WHERE number = 1", expected=["entry 1: missing"])

    def test_rows_that_are_cut_off_are_found_and_stay_missing(self):
        self.find_after("DELETE FROM audit_entries WHERE number > 3", expected=["entries 4 to 5: missing"])
        self.assertEqual([entry["number"] for entry in self.entries()], [1, 2, 3, 6])
        self.assertEqual(self.actions()[-1], "audit damage")
        self.set_policies(5)
        self.service.stop()
        self.start_service()
        self.assertIn("entries 4 to 5: missing", self.backupctl("audit", "verify", code=DAMAGED))

    def test_rows_that_changed_places_are_found(self):
        self.find_after("UPDATE audit_entries SET number = -number WHERE number IN (3, 4)",
                        "UPDATE audit_entries SET number = 7 + number WHERE number < 0",
                        expected=["entries 3 to 5: altered, or not in its place"])

    def test_rows_that_are_cut_off_with_their_head_are_found(self):
        self.find_after("DELETE FROM audit_entries WHERE number > 3", "DELETE FROM store_values WHERE name = CAST('audit.head' AS BLOB)",
                        expected=["entries 4 to 5: missing"])

    def test_a_whole_table_that_is_replaced_by_an_older_one_is_found(self):
        self.start_service()
        self.set_policies(1)
        self.service.stop()
        with contextlib.closing(sqlite3.connect(self.data / "catalog.db")) as catalog:
            rows = catalog.execute("SELECT * FROM audit_entries").fetchall()
            head = catalog.execute("SELECT value FROM store_values WHERE name = CAST('audit.head' AS BLOB)").fetchone()[0]
        self.start_service()
        self.set_policies(2, 3)
        written = self.head()
        self.service.stop()
        head_file = self.data / "key.generations.audit"
        self.assertEqual(head_file.read_text(), written + "\n")
        self.assertIn(f"audit head {written}", self.service.log())
        with contextlib.closing(sqlite3.connect(self.data / "catalog.db")) as catalog:
            catalog.execute("DELETE FROM audit_entries")
            catalog.executemany(f"INSERT INTO audit_entries VALUES ({', '.join('?' * len(rows[0]))})", rows)
            catalog.execute("UPDATE store_values SET value = ? WHERE name = CAST('audit.head' AS BLOB)", (head,))
            catalog.commit()
        shutil.copy(self.data / "catalog.db", self.folder / "older.db")
        # The file beside the keys knows better.
        self.start_service()
        self.assertIn("entries 3 to 4: missing", self.backupctl("audit", "verify", code=DAMAGED))
        self.service.kill()
        # Without it, and with a right head in the catalog, only who has noted a head does.
        shutil.copy(self.folder / "older.db", self.data / "catalog.db")
        for path in (*self.data.glob("catalog.db-*"), head_file):
            path.unlink()
        self.start_service()
        self.backupctl("audit", "verify")
        self.assertIn("missing, though a head says so", self.backupctl("audit", "verify", "--head", written, code=DAMAGED))
        self.backupctl("audit", "verify", "--head", "1 2 3 4", code=2)


class LifeTest(ServiceTest):
    def test_keys_change_and_it_still_verifies(self):
        self.start_service("--retire_interval=1s")
        self.set_policies(1)
        head = self.head()
        self.backupctl("key", "rotate")
        number = json.loads(self.backupctl("--json", "key", "list"))["generations"][0]["number"]
        self.backupctl("key", "retire", str(number))
        wait_until(lambda: len(json.loads(self.backupctl("--json", "key", "list"))["generations"]) == 1, "it is gone")
        self.service.stop()
        self.start_service()
        self.backupctl("audit", "verify", "--head", head)
        self.assertFalse(self.is_damaged())
        self.assertEqual([action for action in self.actions() if action.startswith("key ")], ["key rotate", "key retire"])

    def test_what_is_old_is_removed_and_the_rest_verifies(self):
        self.start_service()
        self.set_policies(1, 2)
        self.service.stop()
        self.start_service("--audit_retention=1ms")
        wait_until(lambda: "were removed by age" in self.service.log(), "they are removed")
        self.set_policies(3)
        self.assertEqual(self.actions()[-1], "policy set")
        self.assertIn("were removed by age", self.backupctl("audit", "verify"))
        self.assertFalse(self.is_damaged())

    def test_a_state_that_is_restored_or_rebuilt_tells_what_was_lost(self):
        self.start_service()
        self.set_policies(1)
        self.backupctl("state", "backup")
        self.set_policies(2, 3)
        self.service.stop()
        self.offline("state", "restore", "--data_dir", self.data)
        self.start_service()
        self.assertFalse(self.is_damaged())
        self.assertIn("lost by state restore", self.backupctl("audit", "verify"))
        self.assertEqual(self.actions()[-1], "state restore")
        self.service.stop()
        self.offline("state", "rebuild", "--data_dir", self.data)
        self.start_service()
        self.backupctl("audit", "verify")
        self.assertEqual(self.actions()[-1], "state rebuild")
        self.assertFalse(self.is_damaged())

    def test_a_kill_loses_no_entry_of_what_was_done(self):
        self.start_service()
        self.set_policies(*range(1, 6))
        self.service.kill()
        self.start_service()
        self.assertEqual(self.actions().count("policy set"), 5)
        self.backupctl("audit", "verify")
        self.assertFalse(self.is_damaged())

    def test_lists_what_is_asked_for(self):
        self.start_service()
        self.set_policies(1, 2)
        self.backupctl("log-level", "*", "info")
        entry = self.entries("--action", "log level")[0]
        self.assertEqual((entry["actor"], entry["outcome"], entry["role"]), ("insecure", "OK", ""))
        self.assertRegex(entry["peer"], r"^127\.0\.0\.1:\d+$")
        self.assertIn("level: LOG_LEVEL_INFO", entry["detail"])
        self.assertEqual(len(self.entries("--since", "1h", "--action", "policy set")), 2)
        self.assertEqual(self.entries("--until", "1h"), [])
        self.assertEqual(len(self.entries("--actor", "serv")), 1)
        self.assertIn("policy set", self.backupctl("audit", "list"))


class TlsTest(ClusterTest):
    """Who it was is told by certificates."""

    def setUp(self):
        super().setUp()
        self.certs = self.folder / "certs"
        certificates.make(self.certs)
        self.cluster = self.start(
            service_flags=[f"--tls_cert_file={self.certs}/service.crt", f"--tls_key_file={self.certs}/service.key",
                           f"--tls_client_ca_file={self.certs}/ca.crt", f"--authz_policy_file={DEPLOY}/authz_policy.json"],
            bridge_flags=[f"--service_tls_ca_file={self.certs}/ca.crt", f"--service_tls_cert_file={self.certs}/bridge.crt",
                          f"--service_tls_key_file={self.certs}/bridge.key"])

    def backupctl(self, role, *arguments, code=OK):
        done = subprocess.run(
            [BIN_DIR / "backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", f"--tls-ca={self.certs}/ca.crt",
             f"--tls-cert={self.certs}/{role}.crt", f"--tls-key={self.certs}/{role}.key", *arguments],
            capture_output=True, text=True, timeout=WAIT_S)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout

    def entries(self, *filters):
        return [json.loads(line) for line in self.backupctl("operator", "--json", "audit", "list", *filters).splitlines()]

    def fingerprint(self, role):
        shown = subprocess.run(["openssl", "x509", "-in", self.certs / f"{role}.crt", "-noout", "-fingerprint", "-sha256"],
                               check=True, capture_output=True, text=True).stdout
        return shown.split("=")[1].replace(":", "").lower()[:16]

    def test_who_did_what_to_which_file(self):
        client = m.ModelClient(self.cluster.port, b"laptop").sign_up()
        client.back_up(b"kept %", b"content")
        client.back_up(b"gone", b"content")
        self.assertEqual([entry["action"] for entry in self.entries()], ["audit begin"])  # Not of what clients do.
        self.backupctl("operator", "file", "get", "laptop", "kept %25", "-o", str(self.folder / "got"))
        self.backupctl("reader", "file", "get", "laptop", "gone", "-o", str(self.folder / "other"))
        self.backupctl("operator", "file", "rm", "laptop", "gone", "--yes")
        self.backupctl("operator", "file", "undelete", "laptop", "gone")
        self.backupctl("operator", "client", "quota", "set", "laptop", "--hard-files", "7")
        self.backupctl("operator", "client", "rm", "laptop", "--yes")
        self.backupctl("operator", "trash", "empty", "--yes")
        self.backupctl("reader", "policy", "set", "--keep-last", "1", code=DENIED)
        wait_until(lambda: len(self.entries("--action", "policy set")) == 1, "the refused call is told of")
        wait_until(lambda: len(self.entries("--action", "version download")) == 2, "downloads are told of")
        told = {}
        for entry in self.entries():
            told.setdefault(entry["action"], []).append(entry)
            self.assertIn(entry["outcome"], ("OK", "ROLE_DENIED"))
        operator, reader = self.fingerprint("operator"), self.fingerprint("reader")
        got = {entry["object"]: entry for entry in told["version download"]}
        self.assertIn(operator, got["kept %25"]["actor"])
        self.assertIn(reader, got["gone"]["actor"])
        self.assertGreater(got["gone"]["version_id"], 0)
        for action in ("version delete", "file delete"):
            for entry in told.get(action, ()):
                self.assertEqual((entry["object"], entry["role"]), ("gone", "operator"))
        self.assertTrue(told.get("version delete") or told.get("file delete"))
        self.assertTrue(told.get("version undelete") or told.get("file undelete"))
        removed = told["client delete"][0]
        self.assertRegex(removed["actor"], "CN=operator.*" + operator)
        self.assertEqual(told["quota set"][0]["client_id"], removed["client_id"])
        self.assertIn("hard_files: 7", told["quota set"][0]["detail"])
        self.assertEqual(len(told["trash empty"]), 1)
        refused = told["policy set"][0]
        self.assertEqual((refused["outcome"], refused["role"]), ("ROLE_DENIED", "reader"))
        # Also about a client that is gone.
        self.assertGreaterEqual(len(self.entries("--client", removed["client_id"])), 5)
        self.assertIn(" 0 findings", self.backupctl("operator", "audit", "verify"))

    def test_only_operators_see_it(self):
        for command in ("list", "verify"):
            self.backupctl("reader", "audit", command, code=DENIED)
            self.backupctl("bridge", "audit", command, code=DENIED)

    def test_a_flood_of_refused_calls_makes_few_entries(self):
        for _ in range(20):
            self.backupctl("reader", "policy", "set", "--keep-last", "1", code=DENIED)
        wait_until(lambda: self.entries("--action", "policy set"), "the first is told of")
        self.cluster.service.stop()
        self.cluster.start_service()
        told = self.entries("--action", "policy set")
        self.assertEqual([entry["detail"] for entry in told], ["", "and 19 times more until then"])


if __name__ == "__main__":
    unittest.main()
