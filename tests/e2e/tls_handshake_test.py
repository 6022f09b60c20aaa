"""Who may shake hands with whom over TLS: every kind of peer against the service's port, and against what calls the service."""

import contextlib
import pathlib
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest
import warnings

import certificates
import model_client as m
from cluster import BIN_DIR, Process

POLICY = pathlib.Path(__file__).resolve().parents[2] / "deploy/authz_policy.json"
WAIT_S = 20
UNREACHABLE = 15
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)  # With empty settings.
SETTINGS_FRAME = 4
OLDER, OLD, NEWEST = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_3
# Of TLS 1.2, by the kind of the service's key: those with forward secrecy and authenticated encryption that gRPC has.
SUITES = {kind: {f"ECDHE-{kind}-AES128-GCM-SHA256", f"ECDHE-{kind}-AES256-GCM-SHA384"} for kind in ("ECDSA", "RSA")}
# Some of those that both sides of this machine's OpenSSL have, too.
WEAK_SUITES = {"ECDSA": {"ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-NULL-SHA"},
               "RSA": {"AES128-SHA", "AES128-GCM-SHA256", "NULL-SHA256", "ECDHE-RSA-AES128-SHA"}}


def context(certs, side, cert=None, key=None, lowest=ssl.TLSVersion.TLSv1_2, highest=NEWEST, ciphers=None):
    made = ssl.SSLContext(side)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.set_alpn_protocols(["h2"])
    made.set_ciphers(ciphers or "ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # An old version is meant.
        made.minimum_version, made.maximum_version = lowest, highest
    if cert:
        made.load_cert_chain(cert, key or certs / "operator.key")
    return made


def can_shake_hands(client, server):
    """Whether these two contexts agree; on no socket."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue  # For what the other side says.
            except ssl.SSLError:
                return False
    return all(side.version() for side in sides)


class HandshakeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.certs, cls.strangers = cls.folder / "certs", cls.folder / "strangers"
        certificates.make(cls.certs)
        certificates.make(cls.strangers)
        sign = certificates.sign
        cls.unfit = {}
        for role in ("operator", "service"):
            key = cls.certs / f"{role}.key"
            cls.unfit[role] = {"expired": sign(cls.certs, key, role, -3, -1, cls.folder / f"{role}_expired.crt"),
                               "not yet valid": sign(cls.certs, key, role, 1, 3, cls.folder / f"{role}_early.crt"),
                               "of another CA": sign(cls.strangers, key, role, -1, 3, cls.folder / f"{role}_foreign.crt")}

    def backupctl(self, port, *arguments):
        return subprocess.run([BIN_DIR / "backupctl", f"--service=127.0.0.1:{port}", "--timeout=2s", *arguments],
                              capture_output=True, text=True, timeout=WAIT_S)

    def client_flags(self, role):
        return [f"--tls-ca={self.certs}/ca.crt", f"--tls-cert={self.certs}/{role}.crt", f"--tls-key={self.certs}/{role}.key"]


def http2_answer(port, tls):
    """The first frame's type that a server answers with; an OSError (SSLError is one) or EOFError if it does not."""
    with (socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as raw,
          tls.wrap_socket(raw) if tls else contextlib.nullcontext(raw) as connection):
        connection.sendall(HTTP2_PREFACE)
        head = connection.recv(9)
        if len(head) < 9:
            raise EOFError("hung up")
        return head[3]


class ServerTest(HandshakeTest):
    def start(self, *flags):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        service = Process("backup-service", ["--data_dir=data", "--listen=127.0.0.1:0", *flags], folder.name)
        self.addCleanup(service.stop)
        return service.port

    def start_tls(self, cert=None, key=None):
        certs = self.certs
        return self.start(f"--tls_cert_file={cert or certs / 'service.crt'}", f"--tls_key_file={key or certs / 'service.key'}",
                          f"--tls_client_ca_file={certs}/ca.crt", f"--authz_policy_file={POLICY}")

    def tls(self, cert=None, **changed):
        return context(self.certs, ssl.PROTOCOL_TLS_CLIENT, cert, **changed)

    def test_only_a_valid_certificate_of_the_ca_over_tls_1_2_or_newer_gets_an_answer(self):
        port = self.start_tls()
        good = self.certs / "operator.crt"
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            self.assertEqual(http2_answer(port, self.tls(good, lowest=version, highest=version)), SETTINGS_FRAME)
        self_signed = self.folder / "self_signed.crt"
        subprocess.run(["openssl", "req", "-x509", "-new", "-key", self.certs / "operator.key", "-subj", "/CN=operator",
                        "-days", "3", "-out", self_signed], check=True, capture_output=True)
        refused = {"no certificate": self.tls(), "self-signed": self.tls(self_signed), "plaintext": None,
                   "TLS 1.1": self.tls(good, lowest=OLD, highest=OLD), "TLS 1.0": self.tls(good, lowest=OLDER, highest=OLDER),
                   "CBC": self.tls(good, highest=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE-ECDSA-AES128-SHA"),
                   "no encryption": self.tls(good, highest=ssl.TLSVersion.TLSv1_2, ciphers="eNULL:@SECLEVEL=0")}
        for kind, path in self.unfit["operator"].items():
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                refused[f"{kind}, {version.name}"] = self.tls(path, lowest=version, highest=version)
        for kind, tls in refused.items():
            with self.subTest(kind), self.assertRaises((OSError, EOFError)) as refusal:
                http2_answer(port, tls)
            self.assertNotIsInstance(refusal.exception, TimeoutError, kind)
        self.assertEqual(self.backupctl(port, *self.client_flags("operator"), "client", "list").returncode, 0)

    def suites_of_both(self, cert, key):
        """By name, clients that offer one suite of TLS 1.2 each, of those that a server with this key can have at all."""
        lax = context(self.certs, ssl.PROTOCOL_TLS_SERVER, cert, key, highest=ssl.TLSVersion.TLSv1_2,
                      ciphers="ALL:COMPLEMENTOFALL:@SECLEVEL=0")
        names = {suite["name"] for suite in lax.get_ciphers() if not suite["name"].startswith("TLS_")}
        clients = {name: self.tls(self.certs / "operator.crt", highest=ssl.TLSVersion.TLSv1_2, ciphers=f"{name}:@SECLEVEL=0")
                   for name in names}
        return {name: client for name, client in clients.items() if can_shake_hands(client, lax)}

    def test_of_all_suites_those_with_forward_secrecy_and_authenticated_encryption_get_an_answer(self):
        rsa_key = self.folder / "rsa.key"
        subprocess.run(["openssl", "genrsa", "-out", rsa_key, "2048"], check=True, capture_output=True)
        rsa_key.chmod(0o600)
        rsa = certificates.sign(self.certs, rsa_key, "service", -1, 3, self.folder / "rsa.crt")
        for kind, cert, key in (("ECDSA", self.certs / "service.crt", self.certs / "service.key"), ("RSA", rsa, rsa_key)):
            port = self.start_tls(cert, key)
            clients = self.suites_of_both(cert, key)
            self.assertLessEqual(SUITES[kind] | WEAK_SUITES[kind], clients.keys())
            answered = set()
            for name, client in clients.items():
                with contextlib.suppress(ssl.SSLError, ConnectionError, EOFError):
                    self.assertEqual(http2_answer(port, client), SETTINGS_FRAME)
                    answered.add(name)
            self.assertEqual(answered, SUITES[kind])

    def test_tls_1_3_is_used_where_the_caller_has_it(self):
        with (socket.create_connection(("127.0.0.1", self.start_tls()), timeout=WAIT_S) as raw,
              self.tls(self.certs / "operator.crt").wrap_socket(raw) as connection):
            self.assertEqual(connection.version(), "TLSv1.3")

    def test_a_plaintext_port_answers_no_handshake(self):
        port = self.start()
        self.assertEqual(http2_answer(port, None), SETTINGS_FRAME)
        with self.assertRaises((OSError, EOFError)) as refusal:
            http2_answer(port, self.tls(self.certs / "operator.crt"))
        self.assertNotIsInstance(refusal.exception, TimeoutError)
        self.assertEqual(self.backupctl(port, *self.client_flags("operator"), "client", "list").returncode, UNREACHABLE)
        self.assertEqual(self.backupctl(port, "client", "list").returncode, 0)

    def test_without_certificates_for_callers_any_caller_may_come_over_tls(self):
        port = self.start(f"--tls_cert_file={self.certs}/service.crt", f"--tls_key_file={self.certs}/service.key")
        self.assertEqual(http2_answer(port, self.tls()), SETTINGS_FRAME)
        with self.assertRaises((OSError, EOFError)):
            http2_answer(port, None)


class FakeService:
    """Shakes hands as it is told, and keeps what it was sent then."""

    def __init__(self, tls):
        self.tls = tls
        self.greeted = threading.Event()  # Somebody connected and the handshake ended, well or not.
        self.received = b""
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while True:
            try:
                raw = self.socket.accept()[0]
            except OSError:
                return
            try:
                raw.settimeout(WAIT_S)
                with self.tls.wrap_socket(raw, server_side=True) if self.tls else raw as connection:
                    self.received += connection.recv(len(HTTP2_PREFACE))
            except OSError:
                raw.close()
            self.greeted.set()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(timeout=WAIT_S)


class ClientTest(HandshakeTest):
    def serve(self, tls):
        service = FakeService(tls)
        self.addCleanup(service.close)
        return service

    def tls(self, cert=None, **changed):
        return context(self.certs, ssl.PROTOCOL_TLS_SERVER, cert or self.certs / "service.crt", self.certs / "service.key",
                       **changed)

    def unfit_services(self):
        other_name = certificates.sign(self.certs, self.certs / "service.key", "service", -1, 3, self.folder / "other_name.crt",
                                       alternative_name="DNS:elsewhere.example")
        services = {kind: self.tls(path) for kind, path in self.unfit["service"].items()}
        return {**services, "of another name": self.tls(other_name), "TLS 1.1": self.tls(lowest=OLD, highest=OLD),
                "TLS 1.0": self.tls(lowest=OLDER, highest=OLDER)}

    def start_bridge(self, port):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        bridge = Process("backup-bridge", [
            "--port=0", f"--service=127.0.0.1:{port}", "--ride_through=1s", f"--service_tls_ca_file={self.certs}/ca.crt",
            f"--service_tls_cert_file={self.certs}/bridge.crt", f"--service_tls_key_file={self.certs}/bridge.key"],
            folder.name)
        self.addCleanup(bridge.stop)
        return bridge

    def test_backupctl_and_the_bridge_tell_nothing_to_an_unfit_service(self):
        for kind, tls in self.unfit_services().items():
            with self.subTest(kind):
                service = self.serve(tls)
                done = self.backupctl(service.port, *self.client_flags("operator"), "client", "list")
                self.assertEqual(done.returncode, UNREACHABLE, done.stderr)
                self.assertTrue(service.greeted.wait(WAIT_S))
                service.greeted.clear()
                bridge = self.start_bridge(service.port)
                self.assertEqual(m.ModelClient(bridge.port, b"laptop").register(), m.ERROR)
                self.assertTrue(service.greeted.wait(WAIT_S))
                bridge.stop()
                self.assertEqual(service.received, b"")

    def test_a_plaintext_service_gets_handshakes_only(self):
        service = self.serve(None)
        bridge = self.start_bridge(service.port)
        self.assertEqual(m.ModelClient(bridge.port, b"laptop").register(), m.ERROR)
        bridge.stop()
        self.assertTrue(service.received.startswith(b"\x16\x03"), service.received)
        self.assertNotIn(b"PRI", service.received)

    def test_a_fit_service_is_spoken_to_over_tls_1_2_and_1_3(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            service = self.serve(self.tls(lowest=version, highest=version))
            self.backupctl(service.port, *self.client_flags("operator"), "client", "list")
            self.assertTrue(service.greeted.wait(WAIT_S))
            self.assertTrue(service.received.startswith(b"PRI * HTTP/2.0"), service.received)


if __name__ == "__main__":
    unittest.main()
