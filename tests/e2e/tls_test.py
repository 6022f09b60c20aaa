"""TLS and roles, with the certificates that deploy/make_certificates.sh makes."""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import model_client as m  # noqa: E402
from cluster import BIN_DIR, Cluster  # noqa: E402

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
WAIT_S = 30
BAD_CONFIGURATION = 10


def make_certificates(folder):
    subprocess.run([DEPLOY / "make_certificates.sh", folder], check=True, stdout=subprocess.DEVNULL)


class TlsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.certs = self.folder / "certs"
        make_certificates(self.certs)
        self.policy = self.folder / "policy.json"
        shutil.copy(DEPLOY / "authz_policy.json", self.policy)

    def service_flags(self, **changed):
        flags = {"tls_cert_file": self.certs / "service.crt", "tls_key_file": self.certs / "service.key",
                 "tls_client_ca_file": self.certs / "ca.crt", "authz_policy_file": self.policy, **changed}
        return [f"--{flag}={value}" for flag, value in flags.items()]

    def bridge_flags(self, role="bridge"):
        return [f"--service_tls_ca_file={self.certs}/ca.crt", f"--service_tls_cert_file={self.certs}/{role}.crt",
                f"--service_tls_key_file={self.certs}/{role}.key"]

    def start(self, role="bridge"):
        cluster = Cluster(self.folder, service_flags=self.service_flags(), bridge_flags=self.bridge_flags(role))
        self.addCleanup(cluster.__exit__)
        return cluster

    def backupctl(self, cluster, role, *arguments):
        tls = [f"--tls-ca={self.certs}/ca.crt", f"--tls-cert={self.certs}/{role}.crt",
               f"--tls-key={self.certs}/{role}.key"] if role else []
        return subprocess.run([BIN_DIR / "backupctl", f"--service=127.0.0.1:{cluster.service_port}", *tls, *arguments],
                              capture_output=True, text=True, timeout=WAIT_S)

    def test_each_role_does_its_part_over_tls(self):
        cluster = self.start()
        m.ModelClient(cluster.port, b"laptop").sign_up().back_up(b"f", b"content")
        for role in ("operator", "reader"):
            self.assertIn("laptop", self.backupctl(cluster, role, "client", "list").stdout)
        self.assertNotEqual(self.backupctl(cluster, "reader", "log-level", "*", "info").returncode, 0)
        self.assertEqual(self.backupctl(cluster, "operator", "log-level", "*", "info").returncode, 0)
        for stranger in ("bridge", "service", None):
            done = self.backupctl(cluster, stranger, "--timeout=2s", "client", "list")
            self.assertNotEqual(done.returncode, 0, stranger)

    def test_a_changed_policy_and_renewed_certificates_are_used_without_a_restart(self):
        cluster = self.start()
        self.policy.write_text('{"operator": []}')
        self.assertNotEqual(self.backupctl(cluster, "operator", "client", "list").returncode, 0)
        shutil.copy(DEPLOY / "authz_policy.json", self.policy)
        self.assertEqual(self.backupctl(cluster, "operator", "client", "list").returncode, 0)
        (self.certs / "ca.key").unlink()
        make_certificates(self.certs)
        deadline = time.monotonic() + WAIT_S
        while self.backupctl(cluster, "operator", "--timeout=2s", "client", "list").returncode != 0:
            self.assertLess(time.monotonic(), deadline)

    def test_unfit_files_stop_the_start_with_one_line(self):
        key, cert = self.certs / "service.key", self.certs / "service.crt"
        readable = self.folder / "readable.key"
        shutil.copy(key, readable)
        readable.chmod(0o644)
        nonsense = self.folder / "nonsense"
        nonsense.write_text("nonsense")
        nonsense.chmod(0o600)
        expired = self.folder / "expired.crt"
        request = self.folder / "expired.csr"
        subprocess.run(["openssl", "req", "-new", "-key", key, "-subj", "/CN=old", "-out", request], check=True)
        subprocess.run(["openssl", "x509", "-req", "-in", request, "-signkey", key, "-days", "-1", "-out", expired],
                       check=True, capture_output=True)
        for changed, text in (({"tls_key_file": "/no/such.key"}, "/no/such.key cannot be read"),
                              ({"tls_key_file": readable}, "chmod 600"),
                              ({"tls_key_file": self.certs / "bridge.key"}, "is not the key of the certificate"),
                              ({"tls_key_file": nonsense}, "holds no private key"),
                              ({"tls_cert_file": nonsense}, "holds no certificate"),
                              ({"tls_cert_file": expired}, "has expired"),
                              ({"tls_client_ca_file": "/no/such.crt"}, "/no/such.crt cannot be read"),
                              ({"authz_policy_file": nonsense}, "is no JSON object"),
                              ({"authz_policy_file": ""}, "--authz_policy_file")):
            with self.subTest(text):
                for more in ([], ["--check_config"]):
                    done = subprocess.run(
                        [BIN_DIR / "backup-service", f"--data_dir={self.folder}/data", "--listen=127.0.0.1:0", *more,
                         *self.service_flags(**changed)], capture_output=True, text=True, timeout=WAIT_S)
                    self.assertEqual(done.returncode, BAD_CONFIGURATION, done.stderr)
                    self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
                    self.assertIn(text, done.stderr)
        self.assertTrue(cert.exists())

    def test_plaintext_stays_on_this_machine(self):
        for name, flag in (("backup-service", "--listen=0.0.0.0:0"), ("backup-bridge", "--service=192.0.2.1:1")):
            more = [f"--data_dir={self.folder}/data"] if name == "backup-service" else []
            done = subprocess.run([BIN_DIR / name, "--check_config", flag, *more], capture_output=True, text=True,
                                  timeout=WAIT_S)
            self.assertEqual(done.returncode, BAD_CONFIGURATION, done.stderr)
            self.assertIn("--insecure_grpc", done.stderr)


if __name__ == "__main__":
    unittest.main()
