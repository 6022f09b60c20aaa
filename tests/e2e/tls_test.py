"""TLS and roles, with the certificates that deploy/make_certificates.sh makes."""

import pathlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
import unittest

import certificates
import model_client as m
from cluster import BIN_DIR, Cluster, ClusterTest

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
WAIT_S = 30
BAD_CONFIGURATION = 10


class Load:
    """Clients that back up one file after the other, on new connections, while this is entered."""

    CLIENTS = 8

    def __init__(self, port):
        self.port = port
        self.stop = threading.Event()
        self.errors = []
        self.done = [0] * self.CLIENTS
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(self.CLIENTS)]

    def run(self, number):
        try:
            client = m.ModelClient(self.port, b"client %d" % number).sign_up()
            while not self.stop.is_set():
                client.back_up(b"f", b"content %d" % self.done[number])
                self.done[number] += 1
        except Exception as error:  # Whatever it is, the test reports it.
            self.errors.append(f"client {number}: {error!r}")

    def do_some(self):
        """Waits until each client has backed up another file or failed."""
        before = list(self.done)
        deadline = time.monotonic() + WAIT_S
        while not self.errors and any(now < then + 2 for now, then in zip(self.done, before, strict=True)):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(timeout=WAIT_S)


class TlsTest(ClusterTest):
    def setUp(self):
        super().setUp()
        self.certs = self.folder / "certs"
        certificates.make(self.certs)
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
        return super().start(service_flags=self.service_flags(), bridge_flags=self.bridge_flags(role))

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

    def shown_certificate(self, port):
        """What the service shows to a new connection."""
        tls = ssl.create_default_context(cafile=self.certs / "ca.crt")
        tls.load_cert_chain(self.certs / "operator.crt", self.certs / "operator.key")
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as raw:
            with tls.wrap_socket(raw, server_hostname="localhost") as connection:
                return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True))

    def wait_for(self, condition):
        deadline = time.monotonic() + WAIT_S
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def test_changes_under_load_are_used_at_once_and_fail_no_call(self):
        cluster = self.start()
        port = cluster.service_port
        with Load(cluster.port) as load:
            self.policy.write_text('{"bridge": ["/backup.v1.IngestService/*", "/grpc.health.v1.Health/*"]}')
            self.assertNotEqual(self.backupctl(cluster, "operator", "client", "list").returncode, 0)
            self.policy.write_text("no policy")
            self.assertNotEqual(self.backupctl(cluster, "operator", "client", "list").returncode, 0)
            cluster.service.wait_for_log(f"the policy before it stays: {self.policy} is no JSON object")
            shutil.copy(DEPLOY / "authz_policy.json", self.policy)
            self.assertEqual(self.backupctl(cluster, "operator", "client", "list").returncode, 0)
            for _ in range(3):
                load.do_some()
                certificates.make(self.certs)  # Of the same CA.
                renewed = (self.certs / "service.crt").read_text()
                self.wait_for(lambda: self.shown_certificate(port) == renewed)
                self.assertEqual(self.backupctl(cluster, "operator", "client", "list").returncode, 0)
            # What is not fit, one after the other: the last fit certificate stays.
            certificate, key = self.certs / "service.crt", self.certs / "service.key"
            right_key = key.read_bytes()
            for path, content, complaint in ((key, (self.certs / "bridge.key").read_bytes(), "is not the key of"),
                                             (key, None, "cannot be read"), (key, b"", "holds no private key"),
                                             (certificate, b"nonsense", "holds no certificate"),
                                             (self.certs / "ca.crt", b"", "holds no certificate")):
                before = path.read_bytes()
                path.unlink() if content is None else path.write_bytes(content)
                cluster.service.wait_for_log(complaint)
                load.do_some()
                path.write_bytes(before)
                path.chmod(0o600)
            self.assertEqual(key.read_bytes(), right_key)
            self.assertEqual(self.shown_certificate(port), renewed)
            self.assertEqual(cluster.service.log().count("is not the key of"), 1)
        self.assertEqual(load.errors, [])

    def test_another_ca_is_used_by_both_sides_without_a_restart(self):
        cluster = self.start()
        (self.certs / "ca.key").unlink()
        certificates.make(self.certs)
        self.wait_for(lambda: self.backupctl(cluster, "operator", "--timeout=2s", "client", "list").returncode == 0)
        cluster.service.stop()  # The bridge's connection of before ends.
        cluster.start_service()
        m.ModelClient(cluster.port, b"laptop").sign_up().back_up(b"f", b"content")

    def test_plaintext_stays_on_this_machine(self):
        """Whatever an address is called; a name may lead anywhere."""
        here = ("127.0.0.1:0", "127.1.2.3:0", "[::1]:0", "localhost:0", "[::ffff:127.0.0.1]:0", "unix:socket")
        elsewhere = ("0.0.0.0:0", "*:0", "[::]:0", "192.0.2.1:1", "[::ffff:192.0.2.1]:1", "127.example.com:1",
                     "localhost.example.com:1")
        targets_here = (*here, "*:1", "unix-abstract:name", "dns:///localhost:1", "ipv4:127.0.0.1:1", "ipv6:[::1]:1")
        targets_elsewhere = ("192.0.2.1:1", "[2001:db8::1]:1", "backup.example.com", "dns:///backup.example.com:1",
                             "dns://127.0.0.1/backup.example.com:1", "ipv4:192.0.2.1:1", "ipv4:127.0.0.1:1,192.0.2.1:1",
                             "vsock:2:1", "xds:///localhost:1")
        for name, flag, local, remote in (("backup-service", "--listen", here, elsewhere),
                                          ("backup-bridge", "--service", targets_here, targets_elsewhere)):
            more = [f"--data_dir={self.folder}/data"] if name == "backup-service" else []
            for address in (*local, *remote):
                with self.subTest(name=name, address=address):
                    command = [BIN_DIR / name, "--check_config", f"{flag}={address}", *more]
                    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S)
                    self.assertEqual(done.returncode, BAD_CONFIGURATION if address in remote else 0, done.stderr)
                    if address in remote:
                        self.assertIn("--insecure_grpc", done.stderr)
                        allowed = subprocess.run([*command, "--insecure_grpc"], capture_output=True, text=True, timeout=WAIT_S)
                        self.assertEqual(allowed.returncode, 0, allowed.stderr)
        done = subprocess.run([BIN_DIR / "backupctl", "--service=127.0.0.1:1", f"--tls-cert={self.certs}/reader.crt",
                               f"--tls-key={self.certs}/reader.key", "status"], capture_output=True, text=True, timeout=WAIT_S)
        self.assertIn("--tls-cert needs --tls-ca", done.stderr)


if __name__ == "__main__":
    unittest.main()
