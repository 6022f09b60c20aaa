"""The real service with its catalog in a real PostgreSQL: old clients of every family, a server that is killed, and all that
may be wrong with it. Without a PostgreSQL (tests/support/postgres_packages.txt) it is skipped (exit code 77)."""

import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time
import unittest
import urllib.parse

import postgres_server
import s3_store
from cli_test import UNREACHABLE, CliTest
from cluster import BIN_DIR, Process, wait_until
from conversations import ConversationTest, plans_of
from dialect_client import FAMILIES
from dialect_styles import styles
from journal import Journal
from journaled_clients import Load, mixed
from oracle import Oracle

SKIPPED = 77
FAILED, BAD_CONFIGURATION, IN_USE, DAMAGED = 1, 10, 11, 14
DEADLINE_S = 60
MIB = 1 << 20
OPERATIONS = pathlib.Path(__file__).resolve().parents[2] / "docs" / "operations.md"
LOCK = 1651209584  # docs/storage.md
PASSWORD = "correct-horse-battery-staple"
SEED = 19
STYLES_OF_A_FAMILY = 6
CLIENTS, KILLS = 8, 5


def tearDownModule():
    for server in postgres_server.SHARED:
        server.close()


class FamiliesTest(ConversationTest):
    def test_clients_of_every_family_get_all_back_after_a_restart(self):
        server = postgres_server.shared()
        self.start_cluster("--family_of_1025=C", service_flags=[f"--catalog={server.url(server.new_database())}"])
        second = self.start_second_bridge("--family_of_1025=D")
        ports = {letter: second.port if letter in ("D", "E") else self.cluster.port for letter in FAMILIES}
        choose = random.Random(SEED).choice
        plans = []
        for family in FAMILIES.values():
            plans += list(plans_of(styles(family, choose), choose))[:STYLES_OF_A_FAMILY]
        told = []
        check = self.check_stored
        self.check_stored = lambda total: (told.append(total), check(total))
        self.play(ports, plans)
        self.cluster.service.stop()
        self.cluster.start_service()
        check(told[0])
        self.cluster.service.kill()
        self.cluster.start_service()
        check(told[0])
        self.assertFalse((self.cluster.data_dir / "catalog.db").exists())


class KilledServerTest(CliTest):
    def test_nothing_that_was_acknowledged_is_lost(self):
        journal = Journal(self.folder / "journal")
        self.addCleanup(journal.close)
        dice = random.Random(SEED)
        with postgres_server.Server() as server:
            self.start(service_flags=[f"--catalog={server.url(server.new_database())}"])
            load = Load(mixed(journal, self.cluster, dice, CLIENTS)).start()
            load.wait_for_service("the start")
            for _ in range(KILLS):
                time.sleep(dice.uniform(0, 1))  # The random moment of the kill.
                server.kill()
                time.sleep(dice.uniform(0, 2))  # And how long it is away.
                server.start()
                load.wait_for_service("PostgreSQL is back")
            load.wait_for_all()
            load.stop()
            self.assertIsNone(self.cluster.service.process.poll())
            self.assertEqual(list(map(str, Oracle(journal, self.cluster.service_port).check())), [])
            self.cluster.service.stop()

    def test_a_service_starts_once_the_server_is_there_and_ends_while_it_is_away(self):
        with postgres_server.Server() as server:
            self.start(service_flags=[f"--catalog={server.url(server.new_database())}", "--drain_timeout=1s"])
            self.legacy_client(self.client_folder({"file": b"content"}))
            server.stop()
            self.backupctl("status", code=UNREACHABLE)
            begin = time.monotonic()
            self.assertEqual(self.cluster.service.stop(), 0)
            self.assertLess(time.monotonic() - begin, 30)
            server.start()
            self.cluster.start_service()
            self.backupctl("restore", "--client", "laptop", "--to", str(self.folder / "restored"))
            self.assertEqual((self.folder / "restored" / "file").read_bytes(), b"content")


class PostgresTest(CliTest):
    def setUp(self):
        super().setUp()
        self.server = postgres_server.shared()
        self.database = self.server.new_database()
        self.data = self.folder / "data"

    def url(self, **options):
        return self.server.url(self.database, **options)

    def start_with_catalog(self, *flags):
        self.start(service_flags=[f"--catalog={self.url()}", *flags])

    def back_up(self, sizes=(5, 100_000, 3 * MIB)):
        source = random.Random(len(sizes))
        self.files = {f"file{number}": source.randbytes(size) for number, size in enumerate(sizes)}
        self.legacy_client(self.client_folder(self.files))

    def assert_all_is_there(self):
        self.backupctl("verify")
        restored = self.folder / f"restored{time.monotonic_ns()}"
        self.backupctl("restore", "--client", "laptop", "--to", str(restored))
        for name, content in self.files.items():
            self.assertEqual((restored / name).read_bytes(), content)

    def run_service(self, *flags, data_dir=None, **variables):
        command = [BIN_DIR / "backup-service", f"--data_dir={data_dir or self.data}", "--listen=127.0.0.1:0", *flags]
        return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, env={**os.environ, **variables})

    def refuse(self, code, texts, *flags, data_dir=None, **variables):
        with self.subTest(flags=flags):
            done = self.run_service(*flags, data_dir=data_dir, **variables)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            for text in texts:
                self.assertIn(text, done.stderr)
            self.assertNotIn(PASSWORD, done.stderr + done.stdout)


class LifeTest(PostgresTest):
    def test_it_remembers_where_its_catalog_is(self):
        self.start_with_catalog()
        self.back_up()
        self.assertIn(f"catalog in host={self.server.folder} dbname={self.database}", self.cluster.service.log())
        self.cluster.service.kill()
        self.cluster.service_flags = []
        self.cluster.start_service()
        self.assert_all_is_there()
        # So do those who read without a service.
        self.cluster.service.stop()
        output = self.folder / "decrypted"
        self.run_program("backupctl", "decrypt", "--data_dir", str(self.cluster.data_dir), "--client", "laptop", "--file",
                         "file2", "-o", str(output))
        self.assertEqual(output.read_bytes(), self.files["file2"])

    def test_it_is_set_up_as_the_manual_says(self):
        section = OPERATIONS.read_text().split("\n## A catalog in PostgreSQL\n")[1].split("\n## ")[0]
        script = re.search(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE).group(1)
        with postgres_server.Server() as server:
            server.sql(f"DROP ROLE {postgres_server.ROLE}")
            for told, meant in (("sudo -u postgres psql", f"psql --no-psqlrc --host {server.folder} --username postgres"),
                                ("db1.example,db2.example", urllib.parse.quote(str(server.folder), safe="")),
                                ("/var/lib/backup", f"{self.data} --listen=127.0.0.1:0 --idle_shutdown=1s"),
                                ("backup-service", f"{BIN_DIR.resolve()}/backup-service")):
                self.assertIn(told, script)
                script = script.replace(told, meant)
            done = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, timeout=DEADLINE_S,
                                  env={**os.environ, "PATH": f"{postgres_server.programs()}:{os.environ['PATH']}"})
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("catalog in host=", done.stderr)

    def test_a_service_file_of_libpq_tells_the_server(self):
        services = self.folder / "services"
        services.write_text(f"[catalog]\nhost={self.server.folder}\ndbname={self.database}\nuser={postgres_server.ROLE}\n")
        self.start(service_flags=["--catalog=service=catalog"], prefix=["env", f"PGSERVICEFILE={services}"])
        self.back_up()
        self.assert_all_is_there()

    def test_a_server_that_can_be_written_to_is_found_among_several_hosts(self):
        hosts = f"{self.folder},{self.server.folder}"  # Nobody listens in the first one.
        self.start(service_flags=[f"--catalog=host={hosts} dbname={self.database} user={postgres_server.ROLE}"])
        self.back_up()
        self.assert_all_is_there()

    def test_what_is_of_a_catalog_in_a_file_is_off_and_says_so(self):
        self.start_with_catalog(f"--snapshot_dir={self.folder}")
        self.cluster.service.wait_for_log("--snapshot_dir is of no use")
        self.back_up()
        jobs = {job["name"] for job in self.json_lines("status")[0]["jobs"]}
        self.assertIn("sweep", jobs)
        self.assertFalse(jobs & {"snapshot", "compact"})
        self.assertIn("has backups of its own", self.backupctl("state", "backup", code=FAILED).stderr)
        self.backupctl("key", "rotate")
        self.backupctl("key", "rewrap", "--verify")
        self.cluster.service.stop()
        for command in (["backup"], ["restore"], ["rebuild"]):
            done = self.run_program("backupctl", "state", *command, "--data_dir", str(self.data), code=BAD_CONFIGURATION)
            self.assertIn("by the tools of PostgreSQL", done.stderr)
        self.assertFalse((self.data / "catalog.db").exists())

    def test_no_password_is_told(self):
        with postgres_server.Server() as server:
            server.require_password(PASSWORD)
            url = server.url(server.new_database(), passfile=server.passwords)
            self.start(service_flags=[f"--catalog={url}", "--v=2", "--debug", "--corrupt_checksums=false"])
            self.back_up()
            process = pathlib.Path(f"/proc/{self.cluster.service.process.pid}")
            for told in ("cmdline", "environ"):
                self.assertNotIn(PASSWORD.encode(), (process / told).read_bytes())
            for path in self.data.rglob("*"):
                self.assertFalse(path.is_file() and PASSWORD.encode() in path.read_bytes(), path)
            server.sql(f"ALTER ROLE {postgres_server.ROLE} PASSWORD 'another'")
            server.kill()
            server.start()
            self.backupctl("status", code=FAILED)
            self.cluster.service.stop()
            self.assertNotIn(PASSWORD, self.cluster.service.log())

    def test_a_full_server_is_told_and_gone_on_with_once_it_has_room(self):
        folder = self.server.folder / "small"
        folder.mkdir()
        mounted = os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "small", folder],
                                                       capture_output=True).returncode == 0
        if not mounted:
            self.skipTest("nothing can be mounted")
        self.addCleanup(subprocess.run, ["umount", "--lazy", folder], check=True)
        shutil.chown(folder, postgres_server.ADMINISTRATOR)
        self.server.sql(f"CREATE TABLESPACE small LOCATION '{folder}'")
        self.server.sql(f"CREATE DATABASE full_one OWNER {postgres_server.ROLE} TABLESPACE small")
        self.start(service_flags=[f"--catalog={self.server.url('full_one')}"])
        self.addCleanup(self.server.sql, "DROP DATABASE full_one WITH (FORCE); DROP TABLESPACE small")
        self.back_up()
        filler = folder / "filler"
        with self.assertRaises(OSError), open(filler, "wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        source = random.Random(SEED)
        wait_until(lambda: self.store_some(source), "the server is full")
        filler.unlink()
        self.legacy_client(self.client_folder(self.files))
        self.assert_all_is_there()

    def store_some(self, source):
        """Whether there was no room for it."""
        path = self.folder / "some"
        path.write_bytes(source.randbytes(50_000))
        service = f"--service=127.0.0.1:{self.cluster.service_port}"
        done = subprocess.run([BIN_DIR / "backupctl", service, "file", "put", "laptop", str(path)], capture_output=True, text=True,
                              timeout=DEADLINE_S)
        if done.returncode == 0:
            return False
        self.assertIn("no disk space", done.stderr)
        return True


class OwnerTest(PostgresTest):
    """Never two catalogs for one data directory, nor two services on one catalog."""

    def test_a_second_service_is_refused(self):
        self.start_with_catalog()
        other = self.folder / "other"
        self.refuse(IN_USE, ["another service uses it, from "], f"--catalog={self.url()}", data_dir=other)
        self.back_up()
        self.assert_all_is_there()

    def test_a_service_ends_whose_catalog_another_one_has_taken_over(self):
        self.start_with_catalog()
        self.back_up(sizes=(5, 100))
        # As if its session had been lost for a while.
        folder = self.folder / "second"
        folder.mkdir()
        os.kill(self.cluster.service.process.pid, 19)
        self.server.sql(f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = {LOCK}"
                        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())", self.database)
        flags = [f"--data_dir={self.folder}/other", f"--catalog={self.url()}", f"--master_key_file={self.data}/master.key"]
        other = Process("backup-service", ["--listen=127.0.0.1:0", *flags], folder)
        self.addCleanup(other.stop)
        os.kill(self.cluster.service.process.pid, 18)
        self.assertEqual(self.cluster.service.process.wait(timeout=DEADLINE_S), IN_USE)
        self.assertIn("another service holds the catalog", self.cluster.service.log())

    def test_a_session_that_was_lost_is_made_again(self):
        self.start_with_catalog()
        self.server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                        " AND pid <> pg_backend_pid()", self.database)
        self.cluster.service.wait_for_log("the lock on the catalog is held again")
        self.back_up()
        self.assert_all_is_there()
        self.refuse(IN_USE, ["another service uses it"], f"--catalog={self.url()}", data_dir=self.folder / "other")

    def test_a_data_directory_with_a_catalog_of_its_own_is_refused(self):
        self.start()
        self.back_up(sizes=(5,))
        self.cluster.service.stop()
        self.refuse(BAD_CONFIGURATION, ["it has a catalog of its own, catalog.db"], f"--catalog={self.url()}")
        self.assertEqual(self.server.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", self.database), "0")
        (self.data / "catalog.db").rename(self.folder / "catalog.db")
        self.legacy_blobs = self.data / "store" / "blobs" / "00"
        self.legacy_blobs.mkdir(parents=True, exist_ok=True)
        (self.legacy_blobs / ("0" * 32)).write_bytes(b"blob")
        self.refuse(BAD_CONFIGURATION, ["blobs or snapshots of another catalog"], f"--catalog={self.url()}")

    def test_blobs_and_catalog_stay_together(self):
        self.start_with_catalog()
        self.back_up()
        self.cluster.service.stop()
        key = f"--master_key_file={self.data}/master.key"
        self.refuse(BAD_CONFIGURATION, ["the blobs of this catalog are in another data directory"], f"--catalog={self.url()}",
                    key, data_dir=self.folder / "other")
        another = f"--catalog={self.server.url(self.server.new_database())}"
        self.refuse(BAD_CONFIGURATION, ["it is of another catalog", "this one, which is empty"], another)
        # Nor is a catalog taken for a new one whose key is missing.
        (self.data / "master.key").rename(self.folder / "master.key")
        self.refuse(BAD_CONFIGURATION, ["master.key"])
        (self.folder / "master.key").rename(self.data / "master.key")
        self.cluster.start_service()
        self.assert_all_is_there()

    def test_an_older_copy_of_the_database_is_told_from_what_went_on(self):
        self.start_with_catalog()
        self.back_up(sizes=(5, 100_000))
        self.cluster.service.stop()
        copy = self.server.new_database()
        dump = self.server.dump(self.database)
        self.cluster.start_service()
        other = self.client_folder({"later": b"later"}, name="other")
        self.legacy_client(other)
        self.cluster.service.stop()
        self.server.sql(dump, copy, user=postgres_server.ROLE)
        self.database = copy
        self.refuse(DAMAGED, ["the catalog is older than the store", "`backupctl state accept`"], f"--catalog={self.url()}")
        location = self.data / "catalog.location"
        location.write_text(f"{self.url()}\n{location.read_text().splitlines()[1]}\n")
        self.run_program("backupctl", "state", "accept", "--data_dir", str(self.data))
        self.cluster.service_flags = []
        self.cluster.start_service()
        self.assert_all_is_there()


class StartErrorsTest(PostgresTest):
    def test_servers_that_cannot_be_reached(self):
        self.refuse(FAILED, ["the catalog in PostgreSQL (host="], f"--catalog=postgres:///x?host={self.folder}")
        self.refuse(FAILED, ["127.0.0.1"], "--catalog=postgres://127.0.0.1:1/x?sslmode=disable")
        self.refuse(BAD_CONFIGURATION, ["service"], "--catalog=service=nothing_of_that_name")

    def test_databases_and_roles_that_are_not_there(self):
        nothing = urllib.parse.quote(str(self.server.folder), safe="")
        self.refuse(BAD_CONFIGURATION, ['database "no_such_one" does not exist'],
                    f"--catalog=postgres://{postgres_server.ROLE}@/no_such_one?host={nothing}")
        self.refuse(BAD_CONFIGURATION, ['role "nobody_here" does not exist'],
                    f"--catalog=postgres://nobody_here@/{self.database}?host={nothing}")

    def test_a_role_that_may_not_make_tables(self):
        self.server.sql("CREATE ROLE guest LOGIN")
        self.addCleanup(self.server.sql, "DROP ROLE guest")
        self.refuse(BAD_CONFIGURATION, ["permission denied"],
                    f"--catalog=host={self.server.folder} dbname={self.database} user=guest")

    def test_servers_that_only_read(self):
        self.server.sql(f"ALTER DATABASE {self.database} SET default_transaction_read_only = on")
        self.refuse(FAILED, ["read-only"], f"--catalog={self.url()}")

    def test_wrong_and_missing_passwords(self):
        with postgres_server.Server() as server:
            server.require_password("another")
            (self.folder / "passwords").write_text(f"*:*:*:*:{PASSWORD}\n")
            (self.folder / "passwords").chmod(0o600)
            database = server.new_database()
            self.refuse(BAD_CONFIGURATION, ["password authentication failed"],
                        f"--catalog={server.url(database, passfile=self.folder / 'passwords')}")
            (self.folder / "passwords").write_text("")
            self.refuse(BAD_CONFIGURATION, ["no password supplied"],
                        f"--catalog={server.url(database, passfile=self.folder / 'passwords')}")

    def test_a_password_where_others_see_it(self):
        for catalog in (f"postgres://backup:{PASSWORD}@localhost/x", f"postgres://localhost/x?password={PASSWORD}",
                        f"host=localhost password={PASSWORD}", f"host=localhost sslpassword={PASSWORD}"):
            self.refuse(BAD_CONFIGURATION, ["--catalog: it has a password", "passfile=FILE"], f"--catalog={catalog}")
            self.refuse(BAD_CONFIGURATION, ["--catalog: it has a password"], BACKUP_CATALOG=catalog)
        self.assertFalse(self.data.exists())

    def test_what_cannot_be_meant(self):
        for catalog in (f"sqlite:{PASSWORD}", f"postgres://[{PASSWORD}", f"host={PASSWORD} nonsense=1",
                        "host=a target_session_attrs=standby"):
            self.refuse(BAD_CONFIGURATION, ["--catalog: "], f"--catalog={catalog}")
        self.refuse(BAD_CONFIGURATION, ["--rebuild_catalog"], f"--catalog={self.url()}", "--rebuild_catalog")


class ObjectStoreTest(PostgresTest):
    """Catalog and blobs elsewhere: the data directory has nothing that must outlive it but the key."""

    def setUp(self):
        super().setUp()
        if not s3_store.stores():
            self.skipTest("there is no object store (TEST_S3_ENGINES)")
        self.store = s3_store.stores()[0]
        environment = self.store.environment()
        self.addCleanup(os.environ.update, {name: os.environ.get(name, "") for name in environment})
        os.environ.update(environment)
        self.blobs = [f"--blobs=s3://{s3_store.BUCKET}/e2e/{self.database}{time.monotonic_ns()}",
                      f"--s3_endpoint={self.store.endpoint}"]

    def test_a_new_machine_needs_the_master_key_alone(self):
        self.start_with_catalog(*self.blobs)
        self.back_up([5, 100_000, 3 * MIB, 40 * MIB])
        key = self.folder / "master.key"
        shutil.copy(self.data / "master.key", key)
        self.cluster.service.kill()
        shutil.rmtree(self.data)
        self.cluster.service_flags = [f"--catalog={self.url()}", f"--master_key_file={key}"]
        self.cluster.start_service()
        self.assert_all_is_there()

    def test_the_blobs_of_another_catalog_are_refused(self):
        self.start_with_catalog(*self.blobs)
        self.back_up()
        self.cluster.service.stop()
        another = f"--catalog={self.server.url(self.server.new_database())}"
        other = self.folder / "other"
        self.refuse(BAD_CONFIGURATION, ["the blobs of another installation"], another, *self.blobs, data_dir=other)


if __name__ == "__main__":
    if postgres_server.programs() is None:
        sys.exit(SKIPPED)
    unittest.main()
