"""What stops the start of a program: one line that says what, where and what to do, the documented exit code, nothing half-started."""

import contextlib
import fcntl
import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import unittest

import certificates
import model_client as m
from cluster import BIN_DIR, Cluster, Process

DIALECTS = pathlib.Path(__file__).resolve().parents[1] / "testdata" / "dialects"
DEADLINE_S = 10
SUCCESS, FAILED, USAGE, BAD_CONFIGURATION, IN_USE, NEWER_SCHEMA, DAMAGED = 0, 1, 2, 10, 11, 13, 14
NOBODY = 65534
# In a mount namespace of its own, which ends with it.
IN_NAMESPACE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]


@contextlib.contextmanager
def port_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


class StartErrorsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.shared = pathlib.Path(folder.name)
        cls.shared.chmod(0o755)  # For NOBODY, who may not reach the build's folder either.
        for name in ("backup-service", "backup-bridge"):
            shutil.copy(BIN_DIR / name, cls.shared)
        certificates.make(cls.shared / "certs")

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.data = self.folder / "data"
        self.port_files = [self.folder / "port", self.folder / "operations_port"]

    def command(self, name, *flags):
        where = [f"--data_dir={self.data}", "--listen=127.0.0.1:0"] if name == "backup-service" else ["--port=0"]
        return [self.shared / name, f"--bound_port_file={self.port_files[0]}",
                f"--operations_bound_port_file={self.port_files[1]}", "--idle_shutdown=1s", *where, *flags]

    def run_command(self, command, **variables):
        return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, cwd=self.folder,
                              env={**os.environ, **variables})

    def assert_refused(self, done, code, *texts):
        self.assertEqual(done.returncode, code, done.stderr)
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertIn("cannot start: ", lines[0])
        for text in texts:
            self.assertIn(str(text), lines[0])
        for path in self.port_files:
            self.assertFalse(path.exists(), path)
        if (self.data / "lock").is_file():
            with open(self.data / "lock") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def refuse(self, name, code, texts, *flags, **variables):
        with self.subTest(name=name, flags=flags, variables=variables):
            self.assert_refused(self.run_command(self.command(name, *flags), **variables), code, *texts)

    def as_nobody(self, *command):
        if os.geteuid() != 0:
            return command
        self.folder.chmod(0o755)
        return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]

    def start_once(self):
        """Makes the data directory."""
        self.assertEqual(self.run_command(self.command("backup-service")).returncode, SUCCESS)
        for path in self.port_files:
            path.unlink(missing_ok=True)

    # Port files.

    def test_the_port_files_of_an_earlier_run_go_unless_it_still_goes_on(self):
        def start(name, *flags):
            for path in self.port_files:
                path.write_text("1\n")
            code = self.run_command(self.command(name, *flags)).returncode
            return code, [path.exists() for path in self.port_files]

        gone, kept = [False, False], [True, True]
        for name, wrong in (("backup-service", "--listen=0.0.0.0:0"), ("backup-bridge", "--service=192.0.2.1:1")):
            self.assertEqual(start(name, wrong), (BAD_CONFIGURATION, gone), name)
            self.assertEqual(start(name, wrong, "--check_config"), (BAD_CONFIGURATION, kept), name)
            self.assertEqual(start(name, "stray"), (USAGE, gone), name)
            self.assertEqual(start(name, "--operations_listen=nonsense"), (BAD_CONFIGURATION, gone), name)
            with port_in_use() as port:
                self.assertEqual(start(name, f"--listen=127.0.0.1:{port}" if name == "backup-service" else
                                       f"--port={port}"), (IN_USE, kept), name)
        holder = Process("backup-service", [f"--data_dir={self.data}", "--listen=127.0.0.1:0"], self.folder)
        self.addCleanup(holder.stop)
        self.assertEqual(start("backup-service"), (IN_USE, kept))

    # Flags and variables.

    def test_values_out_of_range(self):
        for name, flag, value, rule in (
                ("backup-service", "idle_shutdown", "soon", "a duration like 30s"),
                ("backup-service", "drain_timeout", "-1s", "a duration like 30s"),
                ("backup-service", "at_rest", "folded", "one of: auto, plain, sealed, client"),
                ("backup-service", "inline_blob_limit", "-1", "0 to "),
                ("backup-service", "compression", "20", "auto, off or 1 to 19"),
                ("backup-service", "share", "nobody", "one of: store, client"),
                ("backup-service", "chunk_cache_bytes", "-1", "0 or more"),
                ("backup-service", "metrics_max_clients", "many", "a whole number"),
                ("backup-service", "metrics_max_clients", "-1", "0 or more"),
                ("backup-service", "debug", "maybe", "true or false"),
                ("backup-bridge", "port", "70000", "0 to 65535"),
                ("backup-bridge", "max_connections", "0", "1 or more"),
                ("backup-bridge", "fallback_ports", "1,x", "port numbers"),
                ("backup-bridge", "allow_networks", "10.0.0.0/33", "it has 0 to 32 bits"),
                ("backup-bridge", "allow_networks", ",", "commas alone"),
                ("backup-bridge", "deny_networks", "host", "networks like 10.0.0.0/8"),
                ("backup-bridge", "proxy_protocol_from", "10.1.0.0/8", "10.0.0.0/8"),
                ("backup-bridge", "connections_per_address", "-1", "0 or more"),
                ("backup-bridge", "registrations", "100", "COUNT/DURATION like 1000/1h, a year at most, or 0"),
                ("backup-bridge", "ban_after", "often", "COUNT/DURATION like 1000/1h, a year at most, or 0"),
                ("backup-bridge", "ban_first", "0s", "a duration from 1s to 168h"),
                ("backup-bridge", "never_ban_networks", "host", "networks like 10.0.0.0/8"),
                ("backup-bridge", "family_of_1025", "Q", "C, D"),
                ("backup-bridge", "corrupt_checksums", "no", "auto, true, false"),
                ("backup-bridge", "ride_through", "x", "a duration like 30s")):
            texts = (f'"{value}"', f"--{flag}", rule)
            self.refuse(name, USAGE, ("command line: ", *texts), f"--{flag}={value}")
            variable = f"BACKUP_{flag.upper()}"
            self.refuse(name, BAD_CONFIGURATION, (f"environment {variable}: ", *texts), **{variable: value})
            file = self.folder / "flags"
            file.write_text(f"# a comment\n--{flag}={value}\n")
            self.refuse(name, BAD_CONFIGURATION, (f"file {file}:2: ", *texts), f"--flagfile={file}")
        self.assertFalse(self.data.exists())

    def test_what_is_no_setting(self):
        for name in ("backup-service", "backup-bridge"):
            self.refuse(name, BAD_CONFIGURATION, ("BACKUP_PROT", "correct or unset it"), BACKUP_PROT="1")
            self.refuse(name, BAD_CONFIGURATION, ("/no/such/file", "--flagfile"), "--flagfile=/no/such/file")
            self.refuse(name, USAGE, ("--no_such_flag", "--help"), "--no_such_flag=1")
            self.refuse(name, USAGE, ("stray", "--help"), "stray")
        self.assert_refused(self.run_command([self.shared / "backup-service"]), USAGE, "--data_dir")

    # Dialects.

    def test_a_dialect_file_that_is_missing(self):
        missing = self.folder / "none.textproto"
        self.refuse("backup-bridge", BAD_CONFIGURATION, ("cannot read ", missing), f"--dialect_file={missing}")

    def test_the_start_names_the_dialects(self):
        done = self.run_command(self.command("backup-bridge", f"--dialect_file={DIALECTS / 'by-name.textproto'}"))
        self.assertEqual(done.returncode, SUCCESS, done.stderr)
        self.assertRegex(done.stderr, "dialects: A/B, .*, by-name")

    # Addresses.

    def test_ports_in_use(self):
        for more in ([], ["--check_config"]):  # Nothing is opened to check: that would disturb who listens.
            with port_in_use() as port:
                done = self.run_command(self.command("backup-bridge", f"--port={port}", *more))
                self.assertEqual(done.returncode, SUCCESS if more else IN_USE, done.stderr)
        with port_in_use() as port, port_in_use() as other:
            self.refuse("backup-bridge", IN_USE, (port, other, "in use", "--port"), f"--port={port}",
                        f"--fallback_ports={other}")
            self.refuse("backup-service", IN_USE, (port, "in use", "--listen"), f"--listen=127.0.0.1:{port}")
            operations = "--operations_listen=127.0.0.1:0"
            self.refuse("backup-bridge", IN_USE, (port,), f"--port={port}", operations)
            self.refuse("backup-service", IN_USE, (port,), f"--listen=127.0.0.1:{port}", operations)
            for name in ("backup-service", "backup-bridge"):
                self.refuse(name, IN_USE, (port, "in use", "--operations_listen"), f"--operations_listen=127.0.0.1:{port}")

    def test_operations_ports_in_use(self):
        with port_in_use() as port:
            for name in ("backup-service", "backup-bridge"):
                self.refuse(name, IN_USE, (port, "in use", "--operations_listen"), f"--operations_listen=127.0.0.1:{port}")
            # Nor is anything told of an operations port if the other one is in use.
            self.refuse("backup-service", IN_USE, (port,), f"--listen=127.0.0.1:{port}", "--operations_listen=127.0.0.1:0")
            self.refuse("backup-bridge", IN_USE, (port,), f"--port={port}", f"--fallback_ports={port}",
                        "--operations_listen=127.0.0.1:0")

    def test_a_unix_socket_that_is_in_use_or_is_none(self):
        path = self.folder / "socket"
        with socket.socket(socket.AF_UNIX) as taken:
            taken.bind(str(path))
            taken.listen()
            self.refuse("backup-service", IN_USE, (path, "another process"), f"--listen=unix:{path}")
        path.unlink()
        path.write_text("mine")
        self.refuse("backup-service", BAD_CONFIGURATION, (path, "is no socket", "remove it"), f"--listen=unix:{path}")
        self.assertEqual(path.read_text(), "mine")
        path.unlink()
        with port_in_use() as port:
            self.refuse("backup-service", IN_USE, (port,), f"--listen=unix:{path}", f"--operations_listen=127.0.0.1:{port}")
        self.assertFalse(path.exists())

    def test_addresses_that_are_none(self):
        self.refuse("backup-service", BAD_CONFIGURATION, ("--listen=nonsense", "HOST:PORT"), "--listen=nonsense")
        self.refuse("backup-service", BAD_CONFIGURATION, ("192.0.2.1", "--listen"), "--listen=192.0.2.1:0", "--insecure_grpc")
        self.refuse("backup-bridge", BAD_CONFIGURATION, ("192.0.2.1", "--bind"), "--bind=192.0.2.1")
        self.refuse("backup-bridge", BAD_CONFIGURATION, ("no address", "--bind"), "--bind=no address")
        for name in ("backup-service", "backup-bridge"):
            self.refuse(name, BAD_CONFIGURATION, ("--operations_listen=x", "ADDRESS:PORT"), "--operations_listen=x")

    def test_port_files_that_cannot_be_written(self):
        self.port_files = [self.folder / "missing/port", self.folder / "missing/operations_port"]
        for name in ("backup-service", "backup-bridge"):
            self.refuse(name, BAD_CONFIGURATION, (self.port_files[0], "cannot write", "does its folder exist"))

    # Keys and certificates.

    def tls_flags(self, name, **changed):
        role, prefix = ("service", "") if name == "backup-service" else ("bridge", "service_")
        certs = self.shared / "certs"
        files = {"tls_cert_file": certs / f"{role}.crt", "tls_key_file": certs / f"{role}.key", **changed}
        return [f"--{prefix}{flag}={path}" for flag, path in files.items()]

    def test_tls_files(self):
        readable = self.folder / "readable.key"
        readable.write_text((self.shared / "certs/service.key").read_text())
        readable.chmod(0o644)
        nonsense = self.folder / "nonsense"
        nonsense.write_text("nonsense")
        nonsense.chmod(0o600)
        locked = self.folder / "locked.key"
        subprocess.run(["openssl", "pkey", "-in", self.shared / "certs/service.key", "-aes128", "-passout", "pass:secret",
                        "-out", locked], check=True)
        for name, other in (("backup-service", "bridge"), ("backup-bridge", "service")):
            ca = "tls_client_ca_file" if name == "backup-service" else "tls_ca_file"
            for changed, texts in (
                    ({"tls_key_file": "/no/such.key"}, ("/no/such.key cannot be read", "correct the path")),
                    ({"tls_key_file": readable}, (readable, "chmod 600")),
                    ({"tls_key_file": self.shared / f"certs/{other}.key"}, ("is not the key of the certificate", "give the pair")),
                    ({"tls_key_file": nonsense}, (nonsense, "holds no private key")),
                    ({"tls_key_file": locked}, (locked, "passphrase", "openssl pkey")),
                    ({"tls_key_file": ""}, ("a TLS certificate and its key",)),
                    ({"tls_cert_file": nonsense}, (nonsense, "holds no certificate")),
                    ({"tls_cert_file": self.folder}, (self.folder, "holds no certificate")),
                    ({ca: "/no/such.crt"}, ("/no/such.crt cannot be read",)),
                    ({ca: nonsense}, (nonsense, "holds no certificate"))):
                self.refuse(name, BAD_CONFIGURATION, texts, *self.tls_flags(name, **changed))
        self.refuse("backup-bridge", BAD_CONFIGURATION, ("--service_tls_cert_file needs --service_tls_ca_file",),
                    *self.tls_flags("backup-bridge"))
        certs = self.shared / "certs"
        for days, text in (((-3, -1), "has expired: renew"), ((1, 3), "is not valid yet: check this machine's clock")):
            for name, role in (("backup-service", "service"), ("backup-bridge", "bridge")):
                path = certificates.sign(certs, certs / f"{role}.key", role, *days, self.folder / f"{role}.crt")
                self.refuse(name, BAD_CONFIGURATION, (path, text), *self.tls_flags(name, tls_cert_file=path))

    def test_key_files_that_belong_to_somebody_else(self):
        for name, role in (("backup-service", "service"), ("backup-bridge", "bridge")):
            key = self.folder / f"{role}.key"
            shutil.copy(self.shared / f"certs/{role}.key", key)
            certificate = self.folder / f"{role}.crt"
            shutil.copy(self.shared / f"certs/{role}.crt", certificate)
            key.chmod(0)
            flags = self.tls_flags(name, tls_key_file=key, tls_cert_file=certificate)
            done = self.run_command(self.as_nobody(*self.command(name, *flags)))
            self.assert_refused(done, BAD_CONFIGURATION, key, "cannot be read (Permission denied)", "owner and mode")

    def test_policy_files(self):
        policy = self.folder / "policy.json"
        flags = self.tls_flags("backup-service", tls_client_ca_file=self.shared / "certs/ca.crt", authz_policy_file=policy)
        self.refuse("backup-service", BAD_CONFIGURATION, (policy, "cannot be read"), *flags)
        for text, why in (("", "is no JSON object"), ("{", "is no JSON object"), ("[]", "is no JSON object"),
                          ('{"reader": "x"}', "gives reader no list"), ('{"reader": ["x"]}', "/package.Service/Method")):
            policy.write_text(text)
            self.refuse("backup-service", BAD_CONFIGURATION, (policy, why), *flags)

    def test_master_keys(self):
        key = self.folder / "master.key"
        flag = f"--master_key_file={key}"
        for text, mode, why in (("ab" * 32, 0o640, "chmod 600"), ("ab" * 31, 0o600, "64 hex digits"),
                                ("xy" * 32, 0o600, "64 hex digits"), ("ab" * 33, 0o600, "64 hex digits")):
            key.write_text(text + "\n")
            key.chmod(mode)
            self.refuse("backup-service", BAD_CONFIGURATION, (key, why), flag)
        self.refuse("backup-service", BAD_CONFIGURATION, ("/no/such/key", "No such file"), "--master_key_file=/no/such/key")

    def test_a_master_key_that_is_not_the_one_of_the_data(self):
        with Cluster(self.folder) as cluster:
            m.ModelClient(cluster.port, b"client").sign_up()
        other = self.folder / "other.key"
        other.write_text("ab" * 32 + "\n")
        other.chmod(0o600)
        self.refuse("backup-service", BAD_CONFIGURATION, (other, self.data, "another master key"), f"--master_key_file={other}")
        (self.data / "master.key").unlink()
        self.refuse("backup-service", BAD_CONFIGURATION, (self.data / "master.key", "No such file", "restore it"))
        self.assertFalse((self.data / "master.key").exists())

    # What is not fit for production.

    def master_key(self, name, mode=0o600):
        key = self.folder / name
        key.write_text("ab" * 32 + "\n")
        key.chmod(mode)
        return key

    def test_what_is_not_fit_for_production_is_told_all_at_once(self):
        readable = self.folder / "readable"
        readable.write_text((self.shared / "certs/service.key").read_text())
        readable.chmod(0o644)
        many = "--production", "--debug", "--insecure_grpc", "--corrupt_checksums=true"
        told = ("not fit for --production", "--debug answers", "--insecure_grpc allows", "--corrupt_checksums=true answers",
                "beyond this machine: give --")
        self.refuse("backup-service", BAD_CONFIGURATION,
                    (*told, "--listen=0.0.0.0:0 would be plaintext", "--grpc_reflection=on tells",
                     "the master key is in --data_dir", "--allow_master_key_beside_data",
                     f"--old_master_key_file={readable} is open to others (mode 0644): chmod 600"),
                    *many, "--listen=0.0.0.0:0", "--grpc_reflection=on", f"--old_master_key_file={readable}")
        self.refuse("backup-bridge", BAD_CONFIGURATION,
                    (*told, "--service=192.0.2.1:1 would be plaintext", f"--service_tls_key_file={readable} is open to others"),
                    *many, "--service=192.0.2.1:1", f"--service_tls_key_file={readable}")
        self.assertFalse(self.data.exists())

    def test_each_thing_that_is_not_fit_for_production_stops_the_start(self):
        key = f"--master_key_file={self.master_key('master.key')}"
        open_key = self.master_key("open.key", 0o604)
        open_folder = self.folder / "open"
        open_folder.mkdir()
        self.master_key("open/key")
        open_folder.chmod(0o775)
        credentials = self.folder / "credentials"
        credentials.write_text("[default]\naws_access_key_id=id\naws_secret_access_key=secret\n")
        credentials.chmod(0o640)
        tls = self.tls_flags("backup-service")
        cases = [
            ("backup-service", ["--debug", key], "--debug"),
            ("backup-service", ["--insecure_grpc", key], "--insecure_grpc"),
            ("backup-service", ["--listen=*:0", key], "--listen=*:0 would be plaintext"),
            ("backup-service", ["--listen=*:0", "--grpc_reflection=on", key, *tls], "--grpc_reflection=on"),
            ("backup-service", [], "--allow_master_key_beside_data"),
            ("backup-service", [f"--master_key_file={self.data}/below/key"], "--allow_master_key_beside_data"),
            ("backup-service", [f"--master_key_file={open_key}"], f"{open_key} is open to others (mode 0604)"),
            ("backup-service", [f"--master_key_file={open_folder}/key"],
             f"is in {open_folder}, where others can write (mode 0775)"),
            ("backup-service", [key, "--blobs=s3://bucket", "--s3_endpoint=http://127.0.0.1:1",
                                f"--s3_credentials_file={credentials}"], f"--s3_credentials_file={credentials} is open"),
            ("backup-bridge", ["--debug"], "--debug"),
            ("backup-bridge", ["--service=192.0.2.1:1"], "--service=192.0.2.1:1 would be plaintext"),
        ]
        if os.geteuid() == 0:
            foreign = self.master_key("foreign.key")
            os.chown(foreign, NOBODY, NOBODY)
            cases.append(("backup-service", [f"--master_key_file={foreign}"], f"{foreign} belongs to user {NOBODY}"))
        for name, flags, text in cases:
            self.refuse(name, BAD_CONFIGURATION, ("not fit for --production: ", text), "--production", *flags)
        self.refuse("backup-bridge", BAD_CONFIGURATION, ("--debug",), "--debug", BACKUP_PRODUCTION="true")

    def test_what_is_fit_for_production_starts(self):
        ca, service, bridge = (self.shared / "certs/ca.crt", *map(self.tls_flags, ("backup-service", "backup-bridge")))
        policy = pathlib.Path(__file__).resolve().parents[2] / "deploy/authz_policy.json"
        for name, flags in (("backup-service", ["--allow_master_key_beside_data"]),
                            ("backup-service", ["--listen=*:0", f"--master_key_file={self.folder}/made.key", *service,
                                                f"--tls_client_ca_file={ca}", f"--authz_policy_file={policy}"]),
                            ("backup-bridge", ["--service=192.0.2.1:1", *bridge, f"--service_tls_ca_file={ca}"])):
            with self.subTest(name=name, flags=flags):
                shutil.rmtree(self.data, ignore_errors=True)
                done = self.run_command(self.command(name, "--production", *flags))
                self.assertEqual(done.returncode, SUCCESS, done.stderr)

    # The data directory.

    def test_a_data_directory_that_another_process_holds(self):
        holder = Process("backup-service", [f"--data_dir={self.data}", "--listen=127.0.0.1:0"], self.folder)
        self.addCleanup(holder.stop)
        done = self.run_command(self.command("backup-service"))
        self.assertEqual(done.returncode, IN_USE, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn(f"the data directory {self.data}: another process holds it: stop that first", done.stderr)

    # These two are about the file in which the SQLite catalog lives.

    def test_a_data_directory_of_a_newer_schema(self):
        self.start_once()
        with contextlib.closing(sqlite3.connect(self.data / "catalog.db")) as catalog:
            catalog.execute("PRAGMA user_version = 127")
        self.refuse("backup-service", NEWER_SCHEMA, (self.data, "schema 127", "run the newer program"))

    def test_a_data_directory_that_is_damaged(self):
        self.start_once()
        (self.data / "catalog.db").write_bytes(b"nonsense" * 1000)
        self.refuse("backup-service", DAMAGED, (self.data, "backupctl state rebuild"))

    def test_a_data_directory_that_is_none(self):
        self.data.write_text("a file")
        self.refuse("backup-service", BAD_CONFIGURATION, (self.data, "Not a directory", "--data_dir"))
        self.assertEqual(self.data.read_text(), "a file")
        self.refuse("backup-service", BAD_CONFIGURATION, (self.data / "below", "Not a directory", "--data_dir"),
                    f"--data_dir={self.data}/below")

    def test_a_data_directory_of_somebody_else(self):
        self.data.mkdir(mode=0o700)
        if os.geteuid() != 0:
            self.data.chmod(0)
        done = self.run_command(self.as_nobody(*self.command("backup-service")))
        self.assert_refused(done, BAD_CONFIGURATION, self.data, "Permission denied", "owner")
        self.assertEqual(list(self.folder.glob("data/*")) if os.geteuid() == 0 else [], [])

    def in_namespace(self, *script):
        """Runs a shell script of mounts and, as "$@", the service."""
        command = self.command("backup-service")
        return self.run_command([*IN_NAMESPACE, "sh", "-ec", "\n".join(script), "sh", *command])

    def test_a_read_only_data_directory(self):
        self.start_once()
        remount = f"mount --bind {self.data} {self.data}", f"mount -o remount,bind,ro {self.data}"
        self.assert_refused(self.in_namespace(*remount, 'exec "$@"'), BAD_CONFIGURATION, self.data, "Read-only file system",
                            "--data_dir")

    def test_a_full_data_directory_which_serves_once_there_is_room(self):
        self.data.mkdir()
        for limits in ("size=4k", "size=8k", "size=100k", "nr_inodes=1", "nr_inodes=2", "nr_inodes=3", "nr_inodes=100"):
            with self.subTest(limits):
                done = self.in_namespace(
                    f"mount -t tmpfs -o mode=700,{limits} none {self.data}", '"$@" || code=$?', f"test ! -e {self.port_files[0]}",
                    f"mount -o remount,size=64m,nr_inodes=10000 {self.data}", '"$@" 2>&1', f"rm {self.port_files[0]}",
                    "exit $code")
                self.assert_refused(done, FAILED, self.data, "free disk space")


if __name__ == "__main__":
    unittest.main()
