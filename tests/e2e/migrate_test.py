"""`backupctl migrate` with real processes: an installation with everything in it goes to PostgreSQL, to an object store, and back,
while it runs and killed in every phase; its clients notice nothing. What takes a PostgreSQL or an object store that is not there is
skipped."""

import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import time
import unittest
import uuid

import model_client as m
import postgres_server
import s3_store
from cli_test import CliTest, OK, NO_SUCH, USAGE
from cluster import BIN_DIR, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
DRILL = re.compile(r"^### The migration drill\n.*?^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
FAILED, IN_USE, DAMAGED = 1, 11, 14
MIB = 1 << 20
SEED = 42
DEADLINE_S = 120
PASSWORD = "correct-horse-battery-staple"
# What every start, and every call, changes by itself.
OF_A_RUN = ("last_seen_time",)


def tearDownModule():
    for server in postgres_server.SHARED:
        server.close()


def needs_postgres(test):
    return unittest.skipIf(postgres_server.programs() is None, "there is no PostgreSQL")(test)


class MigrateTest(CliTest):
    """An installation that is filled with everything, and what is to be the same after it moved."""

    def setUp(self):
        super().setUp()
        self.source = random.Random(SEED)
        self.places = 0
        self.contents = {}

    def start(self, *flags):
        super().start(service_flags=["--trash_retention=720h", "--at_rest=sealed", "--snapshot_interval=0s", "--repack_interval=0s", *flags])
        self.data = self.cluster.data_dir

    def new_place(self):
        self.places += 1
        return self.folder / f"place{self.places}"

    def command(self, *arguments):
        return [BIN_DIR / "backupctl", "migrate", f"--from={self.data}", *map(str, arguments)]

    def migrate(self, *arguments, code=OK, as_json=False):
        done = subprocess.run(self.command(*arguments, *(["--json"] if as_json else [])), capture_output=True, text=True,
                              timeout=DEADLINE_S)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertNotIn(PASSWORD, done.stdout + done.stderr)
        return json.loads(done.stdout) if as_json else done

    def refused(self, code, *texts, arguments):
        with self.subTest(arguments=arguments):
            done = self.migrate(*arguments, code=code)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            for text in texts:
                self.assertIn(text, done.stderr)

    def back_up(self, name, size):
        content = self.source.randbytes(size)
        self.client.back_up(name.encode(), content)
        self.contents[name] = content

    def fill(self, large=3):
        """Old clients, small and large files, sealed; trash, policies, quotas, a damaged version, an audit log."""
        self.client = m.ModelClient(self.cluster.port, b"old client").sign_up()
        for number in range(large):
            self.back_up(f"large {number}", 2 * MIB + number)
            self.back_up(f"small {number}", 3000 + number)
        self.back_up("large 0", 2 * MIB)  # A second version.
        self.back_up("empty", 0)
        self.legacy_client(self.client_folder({"notes": b"notes", "same": self.contents["large 0"]}))
        self.back_up("removed", 70_000)
        self.backupctl("file", "rm", "old client", "removed", "--all", "--yes")
        del self.contents["removed"]
        self.backupctl("policy", "set", "--keep-last", "3")
        self.backupctl("policy", "set", "--keep-daily", "7", "--client", "laptop")
        self.backupctl("client", "quota", "set", "laptop", "--hard-bytes", "1GiB")
        self.damage_one()

    def damage_one(self):
        """Of a file of its own, in a pack that nothing else is in."""
        before = set(self.cluster.blob_sizes())
        self.client.back_up(b"damaged", self.source.randbytes(300_000))
        new = set(self.cluster.blob_sizes()) - before
        self.assertEqual(len(new), 1)
        for path in new:
            with open(path, "r+b") as blob:
                blob.seek(20_000)
                byte = blob.read(1)
                blob.seek(20_000)
                blob.write(bytes([byte[0] ^ 1]))

    def told(self, *arguments):
        """What a command tells, without what every run changes."""
        lines = self.json_lines(*arguments)
        for line in lines:
            for name in OF_A_RUN:
                line.pop(name, None)
        return lines

    def picture(self):
        # First, since it marks what it finds damaged.
        done = subprocess.run([BIN_DIR / "backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", "--json", "verify"],
                              capture_output=True, text=True, timeout=DEADLINE_S)
        self.assertEqual(done.returncode, DAMAGED, done.stdout + done.stderr)
        clients = self.told("client", "list")
        picture = {"clients": clients, "policies": self.told("policy", "list"), "quotas": self.told("client", "quota", "show", "laptop"),
                   "trash": self.told("trash", "list", "old client")}
        for client in ("old client", "laptop"):
            files = self.told("file", "list", client)
            picture[client] = files
            for file in files:
                picture[client, file["file_name"]] = self.told("file", "versions", client, file["file_name"])
        picture["verify"] = sorted(line for line in done.stdout.splitlines() if "progress" not in json.loads(line))
        picture["audit"] = [(entry["number"], entry["action"]) for entry in self.told("audit", "list")
                            if entry["action"] not in ("migrate", "version download")][:5]
        return picture

    def check_contents(self):
        restored = self.folder / f"restored{time.monotonic_ns()}"
        subprocess.run([BIN_DIR / "backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", "restore", "--client", "old client",
                        "--to", restored], capture_output=True, timeout=DEADLINE_S)
        for name, content in self.contents.items():
            self.assertEqual((restored / name).read_bytes(), content, name)
        shutil.rmtree(restored)

    def stop(self):
        self.assertEqual(self.cluster.service.stop(), 0)

    def go_on_at(self, place, *flags):
        """The service starts at the new place, on the port of before."""
        self.data = self.cluster.data_dir = place
        self.cluster.service_flags = [flag for flag in self.cluster.service_flags
                                      if not flag.startswith(("--catalog", "--blobs", "--s3"))] + list(flags)
        self.cluster.start_service()

    def check_client_goes_on(self):
        known = self.client.id, self.client.aes
        self.assertEqual(self.client.reconnect(), m.RECONNECTED)
        self.assertEqual((self.client.id, self.client.aes), known)
        ids = self.version_ids()
        self.back_up(f"later {len(self.contents)}", MIB)
        self.back_up(f"later small {len(self.contents)}", 500)
        new = self.version_ids() - ids
        self.assertEqual(len(new), 2)
        self.assertGreater(min(new), max(ids))
        self.check_contents()
        self.backupctl("audit", "verify")

    def version_ids(self):
        return {version["version_id"] for file in self.json_lines("file", "list", "old client")
                for version in self.json_lines("file", "versions", "old client", file["file_name"])}

    def move(self, *to, place=None, extra=()):
        """In two steps, and what is told is the same before and after."""
        place = place or self.new_place()
        self.migrate("--to", place, *to, *extra)
        self.back_up(f"meanwhile {self.places}", MIB)  # While it runs; to be brought by the last step.
        before = self.picture()
        old = self.data
        self.stop()
        report = self.migrate("--to", place, *to, "--finish", *extra, as_json=True)
        self.assertTrue(report["is_finished"])
        self.assertEqual(report["missing_blobs"], 0)
        self.go_on_at(place)
        self.assertEqual(self.picture(), before)
        self.check_contents()
        self.check_client_goes_on()
        return old

    def kill_and_go_on(self, *arguments):
        """Later and later, until it ends by itself. Returns how often it was killed."""
        kills, wait_s = 0, 0.02
        while True:
            process = subprocess.Popen(self.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            try:
                output, errors = process.communicate(timeout=wait_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
                wait_s *= 1.25
                continue
            if process.returncode != OK:
                self.assertIn("was migrated to", errors)  # The last kill came after all was done.
            return kills

    def assert_does_not_start(self, data, *texts):
        done = subprocess.run([BIN_DIR / "backup-service", f"--data_dir={data}", "--listen=127.0.0.1:0"], capture_output=True,
                              text=True, timeout=DEADLINE_S)
        self.assertEqual(done.returncode, NO_SUCH, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        for text in texts:
            self.assertIn(text, done.stderr)


class LocalTest(MigrateTest):
    def test_to_another_folder_and_the_old_one_is_refused_until_it_is_undone(self):
        self.start()
        self.fill()
        old = self.move()
        self.assert_does_not_start(old, "it was migrated to", str(self.data), "--undo")
        done = self.run_program("backupctl", "state", "accept", f"--data_dir={old}", code=NO_SUCH)
        self.assertIn("it was migrated to", done.stderr)
        self.stop()
        self.run_program("backupctl", "migrate", "--undo", f"--from={old}")
        self.run_program("backupctl", "migrate", "--undo", f"--from={old}", code=NO_SUCH)
        for name in [name for name in self.contents if name.startswith("later")]:
            del self.contents[name]
        self.go_on_at(old)
        self.check_contents()

    def test_a_blob_that_cannot_be_read_ends_it_until_it_is_given_up(self):
        self.start()
        self.fill(large=1)
        self.stop()
        blob = min(self.cluster.blob_sizes(), key=lambda path: path.stat().st_size)
        blob.rename(self.folder / "blob")
        blob.symlink_to(self.folder / "blob")  # Which is not followed.
        finish = ["--to", self.new_place(), "--finish"]
        done = self.migrate(*finish, code=DAMAGED)
        self.assertIn(f"cannot be read: {blob.name}", done.stderr)
        self.assertIn("--give-up-unreadable", done.stderr)
        self.assertFalse((self.data / "moved").exists())
        report = json.loads(self.migrate(*finish, "--give-up-unreadable", "--json", code=DAMAGED).stdout)
        self.assertEqual((report["is_finished"], report["unreadable_blobs"], report["missing"]), (True, 1, [blob.name]))
        self.go_on_at(self.folder / "place1")
        self.assertIn("DAMAGED", self.backupctl("verify", code=DAMAGED).stdout)

    def test_bad_input_changes_nothing(self):
        self.start()
        self.fill(large=1)
        before = sorted(path for path in self.data.rglob("*") if path.is_file())
        full = self.folder / "full"
        full.mkdir()
        (full / "something").write_text("of others")
        place = self.new_place()
        finish = ["--to", place, "--finish"]
        self.refused(USAGE, "--to must name a folder", arguments=["--to", "s3://bucket/prefix"])
        self.refused(USAGE, "two places of one kind", arguments=["--to", place, self.folder / "other"])
        self.refused(USAGE, "comes from", arguments=["--to", self.data])
        self.refused(NO_SUCH, "is not empty (something)", arguments=["--to", full])
        self.refused(IN_USE, "another process holds it", arguments=finish)
        self.refused(USAGE, "password", arguments=["--to", place, f"postgres://backup:{PASSWORD}@localhost/backup"])
        self.refused(FAILED, "PostgreSQL", arguments=["--to", self.new_place(), "postgres://backup@/backup?host=/nowhere"])
        done = self.run_program("backupctl", "migrate", "--from", str(full), "--to", str(place), code=NO_SUCH)
        self.assertIn("there is no catalog in", done.stderr)
        self.migrate("--to", place)
        self.refused(NO_SUCH, "with another --to is not finished", arguments=["--to", place, "s3://bucket/prefix"])
        self.assert_does_not_start(place, "is not finished", "--finish")
        self.stop()
        after = sorted(path for path in self.data.rglob("*") if path.is_file())
        self.assertEqual([path for path in before if path.name not in ("catalog.db-wal", "catalog.db-shm")],
                         [path for path in after if path in before])
        (self.data / "master.key").rename(self.folder / "key")
        self.refused(NO_SUCH, "master.key", arguments=finish)
        (self.folder / "key").rename(self.data / "master.key")
        with contextlib.closing(sqlite3.connect(self.data / "catalog.db")) as catalog:
            schema = catalog.execute("PRAGMA user_version").fetchone()[0]
            catalog.execute(f"PRAGMA user_version = {schema + 1}")
        self.refused(13, "run the newer program", arguments=finish)
        with contextlib.closing(sqlite3.connect(self.data / "catalog.db")) as catalog:
            catalog.execute(f"PRAGMA user_version = {schema - 1}")
        self.refused(NO_SUCH, "start the service of this release once", arguments=finish)
        with contextlib.closing(sqlite3.connect(self.data / "catalog.db")) as catalog:
            catalog.execute(f"PRAGMA user_version = {schema}")
        self.cluster.start_service()
        self.check_contents()

    def test_killed_at_any_moment_it_goes_on(self):
        self.start()
        self.fill()
        before = self.picture()
        place = self.new_place()
        self.cluster.service.kill()  # Its log is not empty.
        place.mkdir()
        (place / "migration.new").write_text("backup mig")  # As one that was killed in its first write left it.
        kills = self.kill_and_go_on("--to", place, "--finish")
        self.assertGreater(kills, 0)
        self.go_on_at(place)
        self.assertEqual(self.picture(), before)
        self.check_client_goes_on()


@needs_postgres
class PostgresTest(MigrateTest):

    def setUp(self):
        super().setUp()
        self.server = postgres_server.shared()

    def catalog(self):
        return self.server.url(self.server.new_database())

    def test_there_and_back(self):
        self.start()
        self.fill()
        local = self.data
        in_postgres = self.move(self.catalog())
        self.assertEqual(in_postgres, local)
        self.assertFalse((self.data / "catalog.db").exists())
        self.assert_does_not_start(local, "it was migrated to", "its catalog to")
        self.move(self.catalog())
        self.move()
        self.assertTrue((self.data / "catalog.db").exists())

    def test_the_drill_of_the_page(self):
        self.start()
        self.fill(large=1)
        catalog = self.catalog()
        commands = DRILL.search((ROOT / "docs" / "operations.md").read_text()).group(1)
        for said, meant in (("/var/lib/backup", str(self.data)), ("'postgres://backup@db1.example/backup'", f"'{catalog}'"),
                            ("backupctl verify\n", "")):
            self.assertIn(said, commands)
            commands = commands.replace(said, meant)
        before_stop, after_stop = commands.split("systemctl stop backup-service\n")
        before_start, after_start = after_stop.split("systemctl start backup-service\n")
        self.assertEqual(after_start, "")
        self.play(before_stop)
        before = self.picture()
        self.stop()
        self.play(before_start)
        self.cluster.start_service()
        self.assertEqual(self.picture(), before)
        self.check_client_goes_on()
        self.assertIn(" catalog in ", self.cluster.service.log())

    def play(self, script):
        done = subprocess.run(["bash", "-c", "set -euo pipefail\n" + script], capture_output=True, text=True, timeout=DEADLINE_S,
                              env={"PATH": f"{BIN_DIR.resolve()}:/usr/bin:/bin"})
        self.assertEqual(done.returncode, OK, done.stdout + done.stderr)

    def test_killed_at_any_moment_it_goes_on(self):
        self.start()
        self.fill()
        before = self.picture()
        place = self.new_place()
        self.stop()
        self.assertGreater(self.kill_and_go_on("--to", place, self.catalog(), "--finish"), 0)
        self.go_on_at(place)
        self.assertEqual(self.picture(), before)
        self.check_client_goes_on()

    def test_bad_input_changes_nothing(self):
        self.start()
        self.fill(large=1)
        self.stop()
        used = self.server.new_database()
        place = self.new_place()
        done = subprocess.Popen([BIN_DIR / "backup-service", f"--data_dir={self.folder / 'other'}", "--listen=127.0.0.1:0",
                                 f"--catalog={self.server.url(used)}", f"--bound_port_file={self.folder / 'port'}"],
                                stderr=subprocess.DEVNULL)
        wait_until((self.folder / "port").exists, "the other service runs")
        self.refused(IN_USE, "another", arguments=["--to", place, self.server.url(used), "--finish"])
        done.send_signal(signal.SIGTERM)
        done.wait(timeout=DEADLINE_S)
        self.refused(NO_SUCH, "is not empty", arguments=["--to", place, self.server.url(used), "--finish"])
        self.refused(NO_SUCH, "nosuch", arguments=["--to", self.new_place(), self.server.url("nosuch"), "--finish"])
        self.cluster.start_service()
        self.check_contents()

    def test_a_damaged_answer_is_found(self):
        """Somebody changes the new catalog while it is filled: it is not taken for whole."""
        self.start()
        self.fill(large=1)
        self.stop()
        database = self.server.new_database()
        place = self.new_place()
        self.migrate("--to", place, self.server.url(database))
        self.server.sql("CREATE FUNCTION wrong() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN NEW.name := 'other'; RETURN NEW; END $$;"
                        "GRANT EXECUTE ON FUNCTION wrong() TO PUBLIC;"
                        "CREATE TRIGGER wrong BEFORE INSERT ON clients FOR EACH ROW EXECUTE FUNCTION wrong()", database)
        self.refused(DAMAGED, "did not come back as it was written (clients)",
                     arguments=["--to", place, self.server.url(database), "--finish"])
        self.assertEqual(self.server.sql("SELECT count(*) FROM clients", database), "0")
        self.server.sql("DROP TRIGGER wrong ON clients", database)
        self.migrate("--to", place, self.server.url(database), "--finish")
        self.go_on_at(place)
        self.check_contents()


class ObjectStoreTest(MigrateTest):
    """Of the first engine of TEST_S3_ENGINES."""

    def setUp(self):
        stores = s3_store.stores()
        if not stores:
            self.skipTest("there is no object store")
        super().setUp()
        self.store = stores[0]
        environment = self.store.environment()
        self.addCleanup(os.environ.update, {name: os.environ.get(name, "") for name in environment})
        os.environ.update(environment)

    def bucket(self):
        return f"s3://{s3_store.BUCKET}/e2e/{uuid.uuid4().hex}"

    def endpoint(self):
        return [f"--s3_endpoint={self.store.endpoint}"]

    def test_there_and_on_and_back(self):
        self.start()
        self.fill()
        first = self.bucket()
        old = self.move(first, extra=self.endpoint())
        self.assertFalse(any(path.is_file() for path in (self.data / "store" / "blobs").rglob("*")))
        self.assert_does_not_start(old, "its blobs to", first)
        self.move(self.bucket(), extra=self.endpoint())
        self.move()

    @needs_postgres
    def test_with_a_catalog_in_postgresql_and_blobs_that_stay(self):
        server = postgres_server.shared()
        self.start()
        self.fill()
        bucket = self.bucket()
        self.move(bucket, server.url(server.new_database()), extra=self.endpoint())
        blobs = len(self.store.keys(bucket.split("/", 3)[3]))
        self.move(bucket, extra=self.endpoint())  # Only the catalog moves.
        self.assertTrue((self.data / "catalog.db").exists())
        self.assertGreaterEqual(len(self.store.keys(bucket.split("/", 3)[3])), blobs)


if __name__ == "__main__":
    unittest.main()
