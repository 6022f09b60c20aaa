"""Why there is no connection to the service: each cause has its own sentence and remedy, in backupctl, and in the bridge's
log and readiness."""

import contextlib
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest
import urllib.error
import urllib.request

import certificates
from cluster import BIN_DIR, ClusterTest, Process, wait_until

POLICY = pathlib.Path(__file__).resolve().parents[2] / "deploy/authz_policy.json"
WAIT_S = 30
DENIED_BEFORE_STARTING, UNREACHABLE = 10, 15
NOBODY = 65534


def openssl(*arguments, cwd):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=cwd)


class Server:
    """Lets `serve` talk on each connection, one after the other."""

    def __init__(self, serve):
        self.serve = serve
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while True:
            try:
                connection = self.socket.accept()[0]
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(WAIT_S)
                self.serve(connection)

    def __enter__(self):
        self.thread.start()
        return self.socket.getsockname()[1]

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(timeout=WAIT_S)


class ConnectionErrorsTest(ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.certs, cls.strangers = folder / "certs", folder / "strangers"
        for certs in (cls.certs, cls.strangers):
            certificates.make(certs)
        cls.make_intermediate()
        cls.services = {}

    @classmethod
    def make_intermediate(cls):
        """A certificate of the service that an intermediate CA issued, alone and with that CA's."""
        certs = cls.certs
        (certs / "ca.ext").write_text("basicConstraints=critical,CA:TRUE\n")
        (certs / "leaf.ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                "/CN=backup intermediate", "-keyout", "intermediate.key", "-out", "intermediate.csr", cwd=certs)
        openssl("x509", "-req", "-in", "intermediate.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                "-extfile", "ca.ext", "-out", "intermediate.crt", cwd=certs)
        openssl("req", "-new", "-key", "service.key", "-subj", "/CN=service", "-out", "leaf.csr", cwd=certs)
        openssl("x509", "-req", "-in", "leaf.csr", "-CA", "intermediate.crt", "-CAkey", "intermediate.key",
                "-CAcreateserial", "-extfile", "leaf.ext", "-out", "leaf.crt", cwd=certs)
        (certs / "chain.crt").write_text((certs / "leaf.crt").read_text() + (certs / "intermediate.crt").read_text())

    @classmethod
    def service(cls, *flags):
        """The address of a service; one for all tests that give the same flags."""
        if flags not in cls.services:
            folder = cls.certs.parent / f"service{len(cls.services)}"
            folder.mkdir()
            service = Process("backup-service", [f"--data_dir={folder}/data", "--listen=127.0.0.1:0", *flags], folder)
            cls.addClassCleanup(service.stop)
            cls.services[flags] = f"127.0.0.1:{service.port}"
        return cls.services[flags]

    def tls_service(self, cert="service.crt", *flags):
        return self.service(f"--tls_cert_file={self.certs / cert}", f"--tls_key_file={self.certs}/service.key", *flags)

    def role_service(self):
        return self.tls_service("service.crt", f"--tls_client_ca_file={self.certs}/ca.crt", f"--authz_policy_file={POLICY}")

    def tls(self, certs=None, role=None, **changed):
        certs = certs or self.certs
        files = {"tls-ca": certs / "ca.crt"}
        if role:
            files |= {"tls-cert": certs / f"{role}.crt", "tls-key": certs / f"{role}.key"}
        return [f"--{flag}={path}" for flag, path in {**files, **changed}.items()]

    def backupctl(self, service, *flags):
        return subprocess.run([BIN_DIR / "backupctl", f"--service={service}", *flags, "status"], capture_output=True, text=True,
                              timeout=WAIT_S)

    def assert_says(self, service, *texts, flags=(), code=UNREACHABLE):
        done = self.backupctl(service, "--timeout=1s", *flags)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)  # Nothing of gRPC's own log.
        self.assertEqual(done.stdout, "")
        for text in texts:
            self.assertIn(text, done.stderr)
        return done.stderr

    def test_certificates_of_the_service(self):
        address = self.tls_service()
        self.assertEqual(self.backupctl(address, *self.tls()).returncode, 0)
        self.assert_says(address, "unknown CA", "--tls-ca", flags=self.tls(self.strangers))
        self.assert_says(address, "is for localhost, 127.0.0.1, not for elsewhere.example", "--tls-server-name",
                         flags=[*self.tls(), "--tls-server-name=elsewhere.example"])
        self.assert_says(self.tls_service("leaf.crt"), "intermediate CA", "append", flags=self.tls())
        self.assertEqual(self.backupctl(self.tls_service("chain.crt"), *self.tls()).returncode, 0)

    def test_a_service_whose_certificate_runs_out_or_has_not_begun(self):
        for days, text in (((-3, -1), "has expired: renew it"), ((1, 3), "is not valid yet: check the clocks")):
            path = certificates.sign(self.certs, self.certs / "service.key", "service", *days, self.folder / "unfit.crt")
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(path, self.certs / "service.key")
            tls.set_alpn_protocols(["h2"])
            def shake_hands(raw, tls=tls):
                with tls.wrap_socket(raw, server_side=True) as connection:
                    connection.recv(1)
            with Server(shake_hands) as port:
                self.assert_says(f"127.0.0.1:{port}", text, flags=self.tls())

    def test_certificates_of_the_caller(self):
        address = self.role_service()
        self.assertEqual(self.backupctl(address, *self.tls(role="operator")).returncode, 0)
        self.assert_says(address, "asks for a client certificate", "none was given", "--tls-cert and --tls-key",
                         flags=self.tls())
        stranger = {"tls-cert": self.strangers / "operator.crt", "tls-key": self.strangers / "operator.key"}
        self.assert_says(address, "refuses the client certificate", "--tls_client_ca_file", flags=self.tls(**stranger))

    def test_keys_and_certificates_that_are_unfit_are_told_before_anything_is_called(self):
        locked = self.folder / "locked.key"
        openssl("pkey", "-in", self.certs / "operator.key", "-aes128", "-passout", "pass:secret", "-out", locked,
                cwd=self.folder)
        self.assert_says("127.0.0.1:1", str(locked), "passphrase", "openssl pkey", code=DENIED_BEFORE_STARTING,
                         flags=self.tls(role="operator", **{"tls-key": locked}))
        old = certificates.sign(self.certs, self.certs / "operator.key", "operator", -3, -1, self.folder / "old.crt")
        self.assert_says("127.0.0.1:1", str(old), "has expired", code=DENIED_BEFORE_STARTING,
                         flags=self.tls(role="operator", **{"tls-cert": old}))

    def test_plaintext_against_tls_and_the_other_way(self):
        for address in (self.tls_service(), self.role_service()):
            self.assert_says(address, "speaks TLS, not plaintext", "--tls-ca")
        self.assert_says(self.service(), "speaks plaintext, not TLS", "--tls-ca", flags=self.tls())

    def test_addresses_without_a_service(self):
        self.assert_says("127.0.0.1:1", "nobody listens at 127.0.0.1:1", "connection refused", "--service")
        self.assert_says("[::1]:1", "nobody listens at [::1]:1", "connection refused")
        self.assert_says("no-such-host.invalid:50051", "the name no-such-host.invalid leads to no address", "--service",
                         flags=["--insecure-grpc"])
        with socket.create_server(("127.0.0.1", 0), backlog=128) as silent:
            address = f"127.0.0.1:{silent.getsockname()[1]}"
            self.assert_says(address, "does not answer")
            self.assert_says(address, "does not answer", flags=self.tls())
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            port = full.getsockname()[1]
            waiting = []
            try:
                while True:  # Until the kernel answers nobody any more.
                    waiting.append(socket.create_connection(("127.0.0.1", port), timeout=0.5))
            except TimeoutError:
                pass
            self.assert_says(f"127.0.0.1:{port}", "timed out", "--service")
            for connection in waiting:
                connection.close()

    def test_unix_sockets(self):
        path = self.folder / "service.sock"
        self.assert_says(f"unix:{path}", f"there is no socket {path}", "--service")
        path.write_text("")
        self.assert_says(f"unix:{path}", f"{path} is no socket")
        path.unlink()
        with socket.socket(socket.AF_UNIX) as left_over:
            left_over.bind(str(path))
        self.assert_says(f"unix:{path}", f"nobody listens at unix:{path}")
        path.unlink()
        with socket.socket(socket.AF_UNIX) as forbidden:
            forbidden.bind(str(path))
            forbidden.listen()
            path.chmod(0o600)
            self.folder.chmod(0o755)
            if os.geteuid() == 0:
                shutil.copy(BIN_DIR / "backupctl", self.folder)
                done = subprocess.run([self.folder / "backupctl", f"--service=unix:{path}", "--timeout=3s", "status"],
                                      capture_output=True, text=True, timeout=WAIT_S, user=NOBODY, cwd="/")
                self.assertEqual(done.returncode, UNREACHABLE, done.stderr)
                self.assertIn("permission denied", done.stderr)

    def test_something_else_listens(self):
        def http1(connection):
            connection.recv(100)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with Server(http1) as port:
            self.assert_says(f"127.0.0.1:{port}", "does not speak gRPC")

    def test_the_bridge_says_the_same(self):
        address = self.role_service()
        port_file = self.folder / "operations.port"
        bridge = Process("backup-bridge", ["--port=0", f"--service={address}", f"--service_tls_ca_file={self.certs}/ca.crt",
                                           "--operations_listen=127.0.0.1:0", f"--operations_bound_port_file={port_file}"],
                         self.folder)
        self.addCleanup(bridge.stop)
        sentence = "asks for a client certificate, and none was given: give one with --service_tls_cert_file"
        bridge.wait_for_log(sentence)
        url = f"http://127.0.0.1:{port_file.read_text().strip()}/readyz?verbose"

        def readiness():
            try:
                return urllib.request.urlopen(url, timeout=WAIT_S).read().decode()
            except urllib.error.HTTPError as error:
                return error.read().decode()
        wait_until(lambda: sentence in readiness(), "readyz says why")
        self.assertLessEqual(bridge.log().count(sentence), 2)  # Once by the watch, once by the probe.


if __name__ == "__main__":
    unittest.main()
