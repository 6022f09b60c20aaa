"""What a process inherits, and what it leaves: modes of files, standard streams, signals, limits, the environment."""

import contextlib
import fcntl
import os
import pathlib
import signal
import socket
import stat
import subprocess
import time
import unittest
import urllib.error
import urllib.request

import certificates
import model_client as m
from cluster import BIN_DIR, Cluster, ClusterTest, Process, wait_until

CALL_S = 20
END_S = 30
FAILED, BAD_CONFIGURATION, INTERRUPTED = 1, 10, 130
PIPE_SIZE = 4096
LARGE = 300_000
# More than the catalog's log and what the service keeps for recovery, and less than a pack.
FILE_SIZE_LIMIT = 40 << 20
UMASKS = ("000", "077", "777")
NOBODY = 65534


def shell(script, *arguments):
    """A prefix: what the shell does before it becomes the program."""
    return ["sh", "-c", f'{script}; exec "$@"', "sh", *arguments]


def modes_below(folder):
    return {str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in pathlib.Path(folder).rglob("*")}


def run(name, *arguments, prefix=(), **options):
    return subprocess.run([*prefix, BIN_DIR.resolve() / name, *arguments],
                          **{"capture_output": True, "text": True, "timeout": CALL_S, **options})


class Test(ClusterTest):
    def start_one(self, name, *flags, **options):
        more = [f"--data_dir={self.folder}/data", "--listen=127.0.0.1:0"] if name == "backup-service" else ["--port=0"]
        daemon = Process(name, [*more, *flags], self.folder, **options)
        self.addCleanup(daemon.kill)
        return daemon

    def operations(self, name):
        return ["--operations_listen=127.0.0.1:0", f"--operations_bound_port_file={self.folder}/{name}.ops"]

    def get(self, name, path):
        port = (self.folder / f"{name}.ops").read_text().strip()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=CALL_S) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()

    def backupctl(self, cluster, *arguments, **options):
        return run("backupctl", f"--service=127.0.0.1:{cluster.service_port}", *arguments, **options)

    def assert_ends(self, daemon, code=0):
        try:
            self.assertEqual(daemon.process.wait(timeout=END_S), code, daemon.log())
        except subprocess.TimeoutExpired:
            self.fail(f"{daemon.name} does not end:\n{daemon.log()}")

    def assert_works(self, cluster, name=b"client"):
        m.ModelClient(cluster.port, name).sign_up().back_up(b"file", b"content")


class ModesTest(Test):
    def test_all_files_have_their_own_modes_whatever_the_umask(self):
        for umask in UMASKS:
            with self.subTest(umask):
                folder = self.folder / umask
                folder.mkdir()
                (folder / "file").write_bytes(bytes(LARGE))
                prefix = shell(f"umask {umask}")
                socket_path = folder / "socket"
                with Cluster(folder, prefix=prefix, service_flags=self.operations("service")) as cluster:
                    (folder / "transfer.info").write_text(f"127.0.0.1:{cluster.port}\nclient\nfile\n")
                    sent = run("legacy-client", f"--dir={folder}", prefix=prefix)
                    self.assertEqual(sent.returncode, 0, sent.stderr)
                    done = self.backupctl(cluster, "restore", "--client=client", f"--to={folder}/restored", prefix=prefix)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    modes = modes_below(cluster.data_dir)
                    self.assertIn("catalog.db-wal", modes)
                    self.assertGreater(len(modes), 6)
                for tree in (modes, modes_below(folder / "restored")):
                    for path, mode in tree.items():
                        self.assertIn(mode, (0o600, 0o700), path)
                for path in (folder / "data", folder / "restored"):
                    self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o700, path)
                for path in (folder / "me.info", folder / "priv.key"):
                    self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path)
                for path in (folder / "backup-service.port", self.folder / "service.ops"):
                    self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o644, path)
                listener = subprocess.Popen(
                    [*prefix, BIN_DIR.resolve() / "backup-service", f"--data_dir={folder}/data", f"--listen=unix:{socket_path}",
                     "--idle_shutdown=0s"], stderr=subprocess.DEVNULL)
                self.addCleanup(listener.kill)
                wait_until(lambda: run("backupctl", f"--service=unix:{socket_path}", "health").returncode == 0, "a socket")
                # The group may call the service: the units rely on it.
                self.assertEqual(stat.S_IMODE(socket_path.stat().st_mode), 0o660)
                listener.terminate()
                self.assertEqual(listener.wait(timeout=END_S), 0)

    def test_a_data_directory_that_is_open_to_others_is_closed_to_them(self):
        data = self.folder / "data"
        data.mkdir()
        data.chmod(0o777)
        (data / "store").mkdir(mode=0o755)
        service = self.start_one("backup-service")
        service.wait_for_log(f"{data} was open to other users (mode 0777)")
        service.wait_for_log(f"{data}/store was open to other users (mode 0755)")
        self.assertEqual({stat.S_IMODE(path.stat().st_mode) for path in (data, data / "store")}, {0o700})
        service.stop()
        (data / "catalog.db").chmod(0o644)
        service = self.start_one("backup-service")
        service.wait_for_log("catalog.db was open to other users (mode 0644)")
        self.assertEqual(stat.S_IMODE((data / "catalog.db").stat().st_mode), 0o600)

    @unittest.skipIf(os.geteuid() != 0, "needs another user")
    def test_a_data_directory_of_somebody_else_that_is_open_is_refused(self):
        data = self.folder / "data"
        data.mkdir()
        data.chmod(0o777)
        self.folder.chmod(0o755)
        program = self.folder / "backup-service"
        program.write_bytes((BIN_DIR / "backup-service").read_bytes())
        program.chmod(0o755)
        done = subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", program,
                               f"--data_dir={data}", "--listen=127.0.0.1:0"], capture_output=True, text=True, timeout=CALL_S)
        self.assertEqual(done.returncode, BAD_CONFIGURATION, done.stderr)
        self.assertIn(f"{data} is open to other users (mode 0777)", done.stderr)


class StandardStreamsTest(Test):
    def test_closed_ones_are_nobody_elses(self):
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            with self.subTest(closed), Cluster(self.folder, prefix=shell(f"exec {closed}")) as cluster:
                for daemon in (cluster.service, cluster.bridge):
                    for number in range(3):
                        target = os.readlink(f"/proc/{daemon.process.pid}/fd/{number}")
                        self.assertIn(target, ("/dev/null", str(daemon.log_path)), number)
                self.assert_works(cluster, closed.encode())
        with Cluster(self.folder) as cluster:
            done = self.backupctl(cluster, "client", "list", prefix=shell("exec >&-"))
            self.assertEqual(done.returncode, FAILED)
            self.assertIn("cannot write to standard output", done.stderr)
            for closed in ("<&-", "2>&-"):
                to = self.folder / closed
                done = self.backupctl(cluster, "file", "get", "<&-", "file", "-o", to, prefix=shell(f"exec {closed}"))
                self.assertEqual((done.returncode, to.read_bytes()), (0, b"content"), closed)

    def test_a_log_that_cannot_be_written_is_told_and_stops_nothing(self):
        with open("/dev/full", "wb") as full:
            service = self.start_one("backup-service", *self.operations("service"), stderr=full)
            bridge = self.start_one("backup-bridge", f"--service=127.0.0.1:{service.port}", *self.operations("bridge"),
                                    stderr=full)
        m.ModelClient(bridge.port, b"client").sign_up().back_up(b"file", b"content")
        for name in ("service", "bridge"):
            wait_until(lambda: "log: the log cannot be written to standard error (No space left on device)" in
                       self.get(name, "/readyz?verbose"), "a note in /readyz")
            lost = [line for line in self.get(name, "/metrics").splitlines() if line.startswith("backup_log_lines_lost_total")]
            self.assertGreater(int(lost[0].split()[1]), 0)
        for daemon in (bridge, service):
            daemon.process.terminate()
            self.assert_ends(daemon)

    def test_a_log_that_nobody_reads_is_told_until_it_flows_again(self):
        read_end, write_end = os.pipe()
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        service = self.start_one("backup-service", "--v=2", *self.operations("service"), stderr=write_end)
        os.close(write_end)
        bridge = self.start_one("backup-bridge", f"--service=127.0.0.1:{service.port}")
        client = m.ModelClient(bridge.port, b"client").sign_up()
        for _ in range(20):
            client.back_up(b"file", b"content")
        wait_until(lambda: "log: nobody takes the log from standard error" in self.get("service", "/readyz?verbose"),
                   "a note in /readyz")
        self.assertIn('backup_self_probe_success{probe="log"} 0', self.get("service", "/metrics"))
        os.set_blocking(read_end, False)
        text = bytearray()

        def flows():
            with contextlib.suppress(BlockingIOError):
                text.extend(os.read(read_end, 1 << 20))
            return ("log: ok" in self.get("service", "/readyz?verbose") and
                    'backup_self_probe_success{probe="log"} 1' in self.get("service", "/metrics"))
        wait_until(flows, "a log that flows")
        service.process.terminate()
        self.assert_ends(service)
        os.close(read_end)

    def test_a_command_whose_notes_nobody_reads_goes_on(self):
        with Cluster(self.folder) as cluster:
            self.assert_works(cluster)
            read_end, write_end = os.pipe()
            self.addCleanup(os.close, read_end)
            self.addCleanup(os.close, write_end)
            os.set_blocking(write_end, False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(write_end, bytes(4096))
            os.set_blocking(write_end, True)
            (self.folder / "transfer.info").write_text(f"127.0.0.1:{cluster.port}\nother\nabsent\n")
            for name, arguments, code in (("backupctl", (f"--service=127.0.0.1:{cluster.service_port}", "restore",
                                                         "--client=client", f"--to={self.folder}/restored"), 0),
                                          ("legacy-client", (f"--dir={self.folder}",), FAILED)):
                done = run(name, *arguments, capture_output=False, stdout=subprocess.DEVNULL, stderr=write_end)
                self.assertEqual(done.returncode, code, name)
            self.assertEqual((self.folder / "restored/file").read_bytes(), b"content")


class SignalsTest(Test):
    def test_a_stop_that_was_ignored_or_blocked_at_the_start(self):
        blocked = ["env", "--block-signal"]
        for prefix in (shell("trap '' TERM INT HUP"), blocked):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                with self.subTest(prefix=prefix[1], number=number):
                    service = self.start_one("backup-service", prefix=prefix)
                    service.process.send_signal(number)
                    self.assert_ends(service)
                    self.assertIn("] stopped", service.log())

    def test_signals_that_mean_nothing_end_nothing(self):
        with Cluster(self.folder) as cluster:
            numbers = [signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM,
                       signal.SIGPROF, signal.SIGIO, signal.SIGPWR, signal.SIGXFSZ, signal.SIGRTMIN, signal.SIGRTMAX]
            for daemon in (cluster.service, cluster.bridge):
                for number in numbers:
                    daemon.process.send_signal(number)
                daemon.wait_for_log("SIGHUP")
            self.assert_works(cluster)

    def test_too_much_processor_time_is_a_stop(self):
        service = self.start_one("backup-service")
        for _ in range(3):
            service.process.send_signal(signal.SIGXCPU)
        self.assert_ends(service)

    def test_a_hangup_reads_certificates_and_the_policy_again(self):
        certs = self.folder / "certs"
        certificates.make(certs)
        policy = self.folder / "policy.json"
        policy.write_text("{}")
        service = self.start_one("backup-service", f"--tls_cert_file={certs}/service.crt", f"--tls_key_file={certs}/service.key",
                                 f"--tls_client_ca_file={certs}/ca.crt", f"--authz_policy_file={policy}")
        bridge = self.start_one("backup-bridge", f"--service=127.0.0.1:{service.port}", f"--service_tls_ca_file={certs}/ca.crt",
                                f"--service_tls_cert_file={certs}/bridge.crt", f"--service_tls_key_file={certs}/bridge.key")
        for daemon, started in ((service, "serving on"), (bridge, "forwarding to")):
            daemon.wait_for_log(started)
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_for_log("changed TLS files are used from now on")
        service.wait_for_log("is used from now on")

    def test_a_hangup_goes_on_in_the_logs_new_file(self):
        log = self.folder / "log"
        with open(log, "ab") as file:
            service = self.start_one("backup-service", stderr=file)
        log.rename(self.folder / "log.1")
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: log.exists() and "SIGHUP" in log.read_text(), "lines in the new file")
        service.process.terminate()
        self.assert_ends(service)
        self.assertIn("] stopped", log.read_text())
        self.assertNotIn("] stopped", (self.folder / "log.1").read_text())

    def test_a_hangup_interrupts_a_command_unless_under_nohup(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            for prefix, code in ((), INTERRUPTED), (shell("trap '' HUP"), 15):
                command = subprocess.Popen(
                    [*prefix, BIN_DIR.resolve() / "backupctl", f"--service=127.0.0.1:{silent.getsockname()[1]}", "--timeout=2s",
                     "status"], stderr=subprocess.DEVNULL)
                self.addCleanup(command.kill)
                connection, _ = silent.accept()  # It has begun.
                with connection:
                    command.send_signal(signal.SIGHUP)
                    begin = time.monotonic()
                    ended = command.wait(timeout=CALL_S)
                    if code == INTERRUPTED:
                        self.assertEqual(ended, code)
                    else:
                        self.assertNotIn(ended, (INTERRUPTED, -signal.SIGHUP))
                        self.assertGreater(time.monotonic() - begin, 1)


class LimitsTest(Test):
    def limits(self, daemon):
        text = pathlib.Path(f"/proc/{daemon.process.pid}/limits").read_text()
        return {line[:26].strip(): line[26:].split()[:2] for line in text.splitlines()[1:]}

    def test_they_are_raised_and_cores_are_none(self):
        with Cluster(self.folder, prefix=shell("ulimit -S -n 64; ulimit -S -f 8; ulimit -S -s 64; ulimit -S -c unlimited")) as c:
            for daemon in (c.service, c.bridge):
                limits = self.limits(daemon)
                self.assertEqual(limits["Max core file size"], ["0", "0"])
                # Of those that the kernel hands to a program whatever that limit is, too.
                self.assertEqual(int(pathlib.Path(f"/proc/{daemon.process.pid}/coredump_filter").read_text(), 16), 0)
                self.assertEqual(*limits["Max open files"])
                self.assertEqual(*limits["Max file size"])
            self.assert_works(c)

    def test_a_file_size_limit_is_an_error_not_the_end(self):
        with Cluster(self.folder, prefix=["prlimit", f"--fsize={FILE_SIZE_LIMIT}"]) as cluster:
            client = m.ModelClient(cluster.port, b"client").sign_up()
            ciphertext = client.encrypt(os.urandom(FILE_SIZE_LIMIT + LARGE))
            payload = len(ciphertext).to_bytes(4, "little") + m.name_field(b"large") + ciphertext
            with contextlib.closing(client.connect()) as connection, contextlib.suppress(ConnectionError):
                self.assertEqual(connection.call(client.id, 3, m.FILE, payload)[0], m.ERROR)
            cluster.service.wait_for_log("STORAGE_FULL")
            client.back_up(b"small", b"content")

    def test_too_few_descriptors_stop_the_start(self):
        for name, arguments, limit in (("backup-service", (f"--data_dir={self.folder}/data",), 40),
                                       ("backup-bridge", ("--port=0",), 40), ("backupctl", ("status",), 8)):
            done = run(name, *arguments, prefix=["prlimit", f"--nofile={limit}"])
            self.assertEqual(done.returncode, BAD_CONFIGURATION, done.stderr)
            self.assertIn(f"only {limit} files may be open", done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_too_little_memory_stops_the_start(self):
        for name, arguments, mebibytes in (("backup-service", (f"--data_dir={self.folder}/data",), 200),
                                           ("backup-service", (f"--data_dir={self.folder}/data",), 350),
                                           ("backup-bridge", ("--port=0",), 200), ("backupctl", ("status",), 100)):
            done = run(name, *arguments, prefix=["prlimit", f"--as={mebibytes << 20}"])
            self.assertEqual(done.returncode, BAD_CONFIGURATION, done.stderr)
            self.assertIn("there is no room for", done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    @unittest.skipIf(os.geteuid() != 0, "needs another user")
    def test_too_few_threads_stop_the_start(self):
        program = self.folder / "backup-service"
        program.write_bytes((BIN_DIR / "backup-service").read_bytes())
        program.chmod(0o755)
        self.folder.chmod(0o755)
        done = subprocess.run(["prlimit", "--nproc=10", "setpriv", f"--reuid={NOBODY - 1}", f"--regid={NOBODY}",
                               "--clear-groups", program, f"--data_dir={self.folder}/data"],
                              capture_output=True, text=True, timeout=CALL_S)
        self.assertEqual(done.returncode, BAD_CONFIGURATION, done.stderr)
        self.assertIn("raise the limit of processes", done.stderr)


class EnvironmentTest(Test):
    def test_an_odd_one_changes_nothing(self):
        odd = ["env", "LC_ALL=xx_YY.utf-99", "LANG=nonsense", "TZ=nonsense/?", "TMPDIR=/no/such", "HOME=/no/such", "PATH=",
               "GRPC_VERBOSITY=DEBUG", "GRPC_TRACE=all", "GRPC_POLL_STRATEGY=nonsense", "SSLKEYLOGFILE=/no/such", "GLOG_minloglevel=3", "GLOG_v=3",
               "GLOG_logtostdout=1", f"GLOG_log_dir={self.folder}/logs", "GLOG_log_prefix=0"]
        for prefix in (odd, ["env", "--ignore-environment"]):
            with self.subTest(prefix[1]), Cluster(self.folder, prefix=prefix) as cluster:
                self.assert_works(cluster, prefix[1].encode())
                done = self.backupctl(cluster, "client", "list", prefix=prefix)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                for daemon in (cluster.service, cluster.bridge):
                    self.assertRegex(daemon.log(), r"(?m)^I\d{8} [\d:.]+ +\d+ \S+:\d+\] ")
                    self.assertNotIn("epoll", daemon.log())
                    self.assertNotIn("timer.cc", daemon.log())
                if prefix is odd:
                    cluster.service.wait_for_log("GRPC_VERBOSITY, GRPC_TRACE, GRPC_POLL_STRATEGY, SSLKEYLOGFILE")

    def test_no_proxy_gets_anything(self):
        with socket.create_server(("127.0.0.1", 0)) as proxy:
            proxy.setblocking(False)
            address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
            prefix = ["env", *(f"{name}={address}" for name in ("grpc_proxy", "http_proxy", "https_proxy"))]
            with Cluster(self.folder, prefix=prefix) as cluster:
                self.assert_works(cluster)
                done = self.backupctl(cluster, "client", "list", prefix=prefix)
                self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRaises(BlockingIOError, proxy.accept)

    def test_a_working_directory_that_is_gone(self):
        gone = shell(f"mkdir {self.folder}/gone; cd {self.folder}/gone; rmdir {self.folder}/gone")
        done = run("backup-service", "--data_dir=data", "--listen=127.0.0.1:0", prefix=gone)
        self.assertEqual(done.returncode, BAD_CONFIGURATION, done.stderr)
        self.assertIn("the working directory is gone", done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        with Cluster(self.folder, prefix=gone) as cluster:
            self.assert_works(cluster)


if __name__ == "__main__":
    unittest.main()
