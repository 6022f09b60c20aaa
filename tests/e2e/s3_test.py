"""The real service with its blobs in real object stores: all comes back, nothing is left behind, and no other's blobs are taken."""

import os
import random
import shutil
import subprocess
import sys
import time
import unittest
import uuid

import certificates
import s3_store
from cli_test import CliTest
from cluster import BIN_DIR, Process, wait_until

MIB = 1 << 20
SKIPPED = 77
BAD_CONFIGURATION, FAILED, DAMAGED = 10, 1, 14
DEADLINE_S = 60
STORES = s3_store.stores()


class S3Test:
    """Of the store that a class below it names."""

    store = None

    def setUp(self):
        super().setUp()
        self.prefix = f"e2e/{uuid.uuid4().hex}"
        self.url = f"s3://{s3_store.BUCKET}/{self.prefix}"
        environment = self.store.environment()
        self.addCleanup(os.environ.update, {name: os.environ.get(name, "") for name in environment})
        os.environ.update(environment)

    def s3_flags(self, url=None):
        return [f"--blobs={url or self.url}", f"--s3_endpoint={self.store.endpoint}"]

    def start_with_store(self, *flags):
        self.start(service_flags=[*self.s3_flags(), "--trash_retention=0s", "--sweep_interval=1s", "--repack_rate=0", *flags])

    def back_up(self, sizes):
        source = random.Random(len(sizes))
        self.files = {f"file{number}": source.randbytes(size) for number, size in enumerate(sizes)}
        self.legacy_client(self.client_folder(self.files))

    def blobs(self):
        return self.store.keys(f"{self.prefix}/blobs/")

    def assert_all_is_there(self):
        self.backupctl("verify")
        restored = self.folder / f"restored{time.monotonic_ns()}"
        self.backupctl("restore", "--client", "laptop", "--to", str(restored))
        for name, content in self.files.items():
            self.assertEqual((restored / name).read_bytes(), content)

    def assert_refused(self, data_dir, flags, code, *texts):
        done = subprocess.run([BIN_DIR / "backup-service", f"--data_dir={data_dir}", "--listen=127.0.0.1:0", *flags],
                              capture_output=True, text=True, timeout=DEADLINE_S)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        for text in texts:
            self.assertIn(text, done.stderr)
        self.assertNotIn(self.store.secret_key, done.stderr)

    def assert_stops_soon(self):
        begin = time.monotonic()
        self.cluster.service.stop()
        self.assertLess(time.monotonic() - begin, 10)

    def test_content_is_in_the_store_and_comes_back(self):
        self.start_with_store()
        self.back_up([5, 100_000, 3 * MIB, 40 * MIB, 150 * MIB])
        self.assertGreater(len(self.blobs()), 2)
        blobs = self.cluster.data_dir / "store" / "blobs"
        self.assertFalse(blobs.exists() and any(path.is_file() for path in blobs.rglob("*")))
        self.assert_all_is_there()
        self.assertNotIn(self.store.secret_key, self.cluster.service.log())
        # It remembers where they are.
        self.cluster.service.kill()
        self.cluster.service_flags = []
        self.cluster.start_service()
        self.assert_all_is_there()
        # So do those who read without a service.
        self.cluster.service.stop()
        output = self.folder / "decrypted"
        self.run_program("backupctl", "decrypt", "--data_dir", str(self.cluster.data_dir), "--client", "laptop", "--file",
                         "file3", "-o", str(output))
        self.assertEqual(output.read_bytes(), self.files["file3"])

    def test_what_is_deleted_goes(self):
        self.start_with_store()
        self.back_up([3 * MIB, 20 * MIB])
        self.assertTrue(self.blobs())
        self.backupctl("client", "rm", "laptop", "--yes")
        wait_until(lambda: not self.blobs(), "the blobs of what was deleted go")

    def test_what_a_killed_service_left_unfinished_goes(self):
        relay = self.relay()
        self.start_with_store(f"--s3_endpoint=http://127.0.0.1:{relay.port}")
        self.back_up([3 * MIB])
        (self.folder / "other").mkdir()
        folder = self.client_folder({"large": random.Random(7).randbytes(100 * MIB) * 3}, name="other")
        client = subprocess.Popen([BIN_DIR / "legacy-client", f"--dir={folder}"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        self.addCleanup(client.wait)
        self.addCleanup(client.kill)

        def is_held_up():
            relay.is_deaf = bool(self.store.uploads(self.prefix))
            return relay.is_deaf and self.store.uploads(self.prefix)

        wait_until(is_held_up, "an upload of parts is under way")
        self.cluster.service.kill()
        client.kill()
        self.assertTrue(self.store.uploads(self.prefix))
        relay.is_deaf = False
        self.cluster.start_service()
        wait_until(lambda: not self.store.uploads(self.prefix), "what was unfinished is freed")
        self.assert_all_is_there()

    def test_no_other_blobs_are_taken_for_its_own(self):
        self.start_with_store()
        self.back_up([MIB])
        self.cluster.service.stop()
        data_dir = self.cluster.data_dir
        self.assert_refused(data_dir, self.s3_flags(f"{self.url}/other"), BAD_CONFIGURATION, f"its blobs are in {self.url}")
        self.assert_refused(self.folder / "second", self.s3_flags(), BAD_CONFIGURATION, "the blobs of another installation")
        (data_dir / "catalog.db").unlink()
        self.assert_refused(data_dir, self.s3_flags(), 14, "catalog.db is missing")

    def test_a_catalog_is_made_anew_of_what_is_in_the_store(self):
        self.start_with_store()
        self.back_up([3 * MIB, 20 * MIB])
        self.cluster.service.stop()
        for path in self.cluster.data_dir.glob("catalog.*"):
            path.unlink()
        self.run_program("backupctl", "state", "rebuild", "--data_dir", str(self.cluster.data_dir))
        self.cluster.start_service()
        self.backupctl("verify")
        # Nothing there tells the client's name, nor that it confirmed its files.
        client = self.json_lines("client", "list")[0]["client_id"]
        for name, content in self.files.items():
            version = self.json_lines("file", "versions", client, name)[0]["version_id"]
            self.backupctl("file", "get", client, name, "--version", str(version), "-o", str(self.folder / name))
            self.assertEqual((self.folder / name).read_bytes(), content)

    def test_a_new_machine_needs_a_snapshot_and_the_keys_alone(self):
        self.start_with_store()
        self.back_up([3 * MIB, 20 * MIB])
        self.backupctl("state", "backup")
        self.cluster.service.stop()
        old, new = self.cluster.data_dir, self.folder / "new"
        new.mkdir(mode=0o700)
        for name in ("master.key", "key.generations"):
            if (old / name).exists():
                shutil.copy(old / name, new)
        self.run_program("backupctl", "state", "rebuild", "--data_dir", str(new), "--snapshot_dir",
                         str(old / "store" / "snapshots"))
        self.cluster.data_dir = new
        self.cluster.service_flags = []
        self.cluster.start_service()
        self.assert_all_is_there()
        # What is left of the old one must not go on.
        self.assert_refused(old, [], BAD_CONFIGURATION, "held by a newer copy of this catalog")

    def test_a_copy_of_the_data_directory_is_told_from_what_went_on(self):
        self.start_with_store()
        self.back_up([3 * MIB])
        self.cluster.service.stop()
        copy = self.folder / "copy"
        shutil.copytree(self.cluster.data_dir, copy)
        self.cluster.start_service()
        self.assert_refused(copy, [], BAD_CONFIGURATION, "held by a newer copy of this catalog")
        self.assert_all_is_there()

    def test_it_stops_soon_though_an_upload_waits_for_the_store(self):
        relay = self.relay()
        self.start(service_flags=[f"--blobs={self.url}", f"--s3_endpoint=http://127.0.0.1:{relay.port}", "--drain_timeout=1s"])
        relay.is_deaf = True
        asked = relay.asked
        folder = self.client_folder({"large": random.Random(7).randbytes(20 * MIB)}, name="other")
        client = subprocess.Popen([BIN_DIR / "legacy-client", f"--dir={folder}"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        self.addCleanup(client.wait)
        self.addCleanup(client.kill)
        wait_until(lambda: relay.asked > asked, "the upload asks the store")
        self.assert_stops_soon()

    def test_a_service_ends_that_another_one_has_taken_over(self):
        self.start_with_store()
        self.back_up([3 * MIB])
        self.cluster.service.stop()
        copy = self.folder / "copy"
        shutil.copytree(self.cluster.data_dir, copy)
        self.cluster.start_service()
        self.run_program("backupctl", "state", "accept", "--data_dir", str(copy))
        folder = self.folder / "other"
        folder.mkdir()
        other = Process("backup-service", [f"--data_dir={copy}", "--listen=127.0.0.1:0"], folder)
        self.addCleanup(other.stop)
        self.assertEqual(self.cluster.service.process.wait(timeout=DEADLINE_S), BAD_CONFIGURATION)
        self.assertIn("held by another service", self.cluster.service.log())
        self.assert_refused(self.cluster.data_dir, [], BAD_CONFIGURATION, "held by a newer copy of this catalog")

    def test_an_emptied_bucket_is_gone_on_with_once_what_is_gone_is_marked(self):
        self.start_with_store()
        self.back_up([100_000, 3 * MIB])
        self.cluster.service.stop()
        self.store.empty(self.prefix)
        data_dir = str(self.cluster.data_dir)
        self.run_program("backupctl", "state", "accept", "--data_dir", data_dir)
        # Whoever sent it again would be told that it is there.
        self.assert_refused(self.cluster.data_dir, self.s3_flags(), BAD_CONFIGURATION, "`backupctl state rebuild` goes on")
        self.assertEqual(self.store.keys(f"{self.prefix}/"), [])
        self.run_program("backupctl", "state", "rebuild", "--data_dir", data_dir, code=DAMAGED)
        self.cluster.start_service()
        self.legacy_client(self.folder / "laptop")
        self.assert_all_is_there()

    def test_an_emptied_bucket_is_not_taken_for_a_new_one(self):
        self.start_with_store()
        self.back_up([3 * MIB])
        self.cluster.service.stop()
        self.store.empty(self.prefix)
        self.assert_refused(self.cluster.data_dir, self.s3_flags(), BAD_CONFIGURATION, "has not the blobs of this catalog")
        self.assertEqual(self.store.keys(f"{self.prefix}/"), [])

    def relay(self, *certificate):
        relay = s3_store.Relay(self.store.port, *certificate)
        self.addCleanup(relay.close)
        return relay

    def test_what_is_asked_for_waits_until_the_store_is_back(self):
        relay = self.relay()
        self.start(service_flags=[f"--blobs={self.url}", f"--s3_endpoint=http://127.0.0.1:{relay.port}"])
        self.back_up([3 * MIB])
        relay.is_away = True
        folder = self.client_folder({"large": random.Random(7).randbytes(20 * MIB)}, name="other")
        clients = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for command in (
            [BIN_DIR / "legacy-client", f"--dir={folder}"],
            [BIN_DIR / "backupctl", f"--service=127.0.0.1:{self.cluster.service_port}", "restore", "--client", "laptop", "--to",
             str(self.folder / "late")])]
        self.cluster.service.wait_for_log("it is tried again")
        relay.is_away = False
        for client in clients:
            output, _ = client.communicate(timeout=DEADLINE_S)
            self.assertEqual(client.returncode, 0, output)
        for name, content in self.files.items():
            self.assertEqual((self.folder / "late" / name).read_bytes(), content)
        self.assert_all_is_there()

    def test_it_speaks_tls_with_whom_it_trusts_alone(self):
        for name in ("ours", "theirs"):
            certificates.make(self.folder / name)
        relay = self.relay(self.folder / "ours/service.crt", self.folder / "ours/service.key")
        endpoint = f"--s3_endpoint=https://127.0.0.1:{relay.port}"
        for trusted in ([], [f"--s3_ca_file={self.folder}/theirs/ca.crt"]):
            begin = time.monotonic()
            self.assert_refused(self.folder / "refused", [f"--blobs={self.url}", endpoint, *trusted], FAILED, "--s3_ca_file")
            self.assertLess(time.monotonic() - begin, 10)
        self.start(service_flags=[f"--blobs={self.url}", endpoint, f"--s3_ca_file={self.folder}/ours/ca.crt"])
        self.back_up([3 * MIB, 20 * MIB])
        self.assert_all_is_there()

    def test_it_stops_soon_though_the_store_does_not_answer(self):
        self.start_with_store()
        self.back_up([20 * MIB])
        self.cluster.service.stop()
        relay = self.relay()
        self.cluster.service_flags = [f"--s3_endpoint=http://127.0.0.1:{relay.port}", "--trash_retention=0s", "--sweep_interval=1s"]
        self.cluster.start_service()
        relay.is_deaf = True
        asked = relay.asked
        self.backupctl("client", "rm", "laptop", "--yes")
        wait_until(lambda: relay.asked > asked, "the sweep asks the store")
        self.assert_stops_soon()

    def test_blobs_in_the_data_directory_are_not_lost_from_sight(self):
        self.start()
        self.back_up([3 * MIB])
        self.cluster.service.stop()
        self.assert_refused(self.cluster.data_dir, self.s3_flags(), BAD_CONFIGURATION, "it has blobs of its own")

    def test_a_wrong_store_is_told_in_one_line(self):
        data_dir = self.folder / "data"
        self.assert_refused(data_dir, self.s3_flags("s3://No_Bucket"), BAD_CONFIGURATION, "the name of a bucket")
        self.assert_refused(data_dir, ["--blobs=/tmp/blobs"], BAD_CONFIGURATION, "s3://BUCKET")
        self.assert_refused(data_dir, self.s3_flags("s3://backup-test-none"), FAILED, "there is no such bucket")
        os.environ["AWS_SECRET_ACCESS_KEY"] = "wrong"
        self.assert_refused(data_dir, self.s3_flags(), FAILED, "correct the access key")
        del os.environ["AWS_SECRET_ACCESS_KEY"]
        self.assert_refused(data_dir, self.s3_flags(), BAD_CONFIGURATION, "no secret access key")


for each in STORES:
    globals()[f"S3Test_{each.name}"] = type(f"S3Test_{each.name}", (S3Test, CliTest), {"store": each})

if __name__ == "__main__":
    if not STORES:
        print("TEST_S3_ENGINES names no object store")
        sys.exit(SKIPPED)
    unittest.main()
