"""The whole compose file on a real Docker engine: images built, old clients on the host, restarts, kills, modes.

Runs where a Docker engine does, or with TEST_START_DOCKER=1 (./check --deploy)."""

import contextlib
import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import docker_engine  # noqa: E402
import model_client as m  # noqa: E402
from docker_engine import run  # noqa: E402

DEPLOY = ROOT / "deploy"
BIN_DIR = pathlib.Path(os.environ.get("TEST_BIN_DIR", ROOT / "build/release/bin")).resolve()
BUILD_TIMEOUT_S = 2400
WAIT_S = 90
SECTION = re.compile(r"^## Deploying\n(.*?)^## ", re.DOTALL | re.MULTILINE)
RECIPE = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
# Big enough to be a blob, small enough for the bridge to repeat it.
CONTENT = bytes(range(256)) * 4000


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, what):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {WAIT_S} s: {what}")
        time.sleep(0.2)


class Deployment:
    """deploy/compose.yaml under a name and a port of its own."""

    def __init__(self):
        self.port = free_port()
        self.project = f"backup-test-{os.getpid()}"
        # They win over deploy/.env, also in the README's recipes.
        os.environ.update(COMPOSE_PROJECT_NAME=self.project, BACKUP_LEGACY_ADDRESS="127.0.0.1",
                          BACKUP_LEGACY_PORT=str(self.port))
        self.command = docker_engine.compose_command()

    def compose(self, *arguments, overrides=(), **options):
        files = [f"--file={name}" for name in ("compose.yaml", *overrides)]
        return run(*self.command, *files, *arguments, cwd=DEPLOY, **options)

    def up(self, *overrides):
        self.compose("up", "-d", overrides=overrides)
        for name in ("service", "bridge"):
            wait_until(lambda: self.inspect(name)["State"]["Health"]["Status"] == "healthy", f"{name} is healthy")

    def down(self):
        self.compose("--profile", "tools", "down", "--volumes", "--timeout", "5")

    def container(self, name):
        return self.compose("ps", "-a", "-q", name).strip()

    def inspect(self, name):
        return json.loads(run("docker", "inspect", self.container(name)))[0]

    def execute(self, name, *command, **options):
        return run("docker", "exec", self.container(name), *command, **options)

    def log(self, name):
        done = subprocess.run(["docker", "logs", self.container(name)], capture_output=True, text=True, check=True)
        return done.stderr

    def backupctl(self, *arguments, **options):
        return self.compose("run", "--rm", "backupctl", *arguments, **options)

    def restored(self, client, directory):
        """What backupctl, run as a container, restores of a client: bytes by name."""
        target = pathlib.Path(directory)
        target.chmod(0o777)
        self.compose("run", "--rm", "-v", f"{target}:/restored", "backupctl", "restore", "--client", client, "--to",
                     f"/restored/{client}")
        return {path.name: path.read_bytes() for path in (target / client).rglob("*") if path.is_file()}


class ComposeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.deployment = Deployment()
        cls.addClassCleanup(cls.deployment.down)
        cls.deployment.compose("--profile", "tools", "build", timeout=BUILD_TIMEOUT_S)

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.deployment.up()

    def client(self, name):
        return m.ModelClient(self.deployment.port, name.encode()).sign_up()

    def check_restored(self, name, expected):
        with tempfile.TemporaryDirectory() as directory:
            self.assertEqual(self.deployment.restored(name, directory), expected)


class RecipeTest(ComposeTest):
    def test_the_readme_works_when_pasted(self):
        recipes = RECIPE.findall(SECTION.search((ROOT / "README.md").read_text()).group(1))
        script = "set -euo pipefail\n"
        if self.deployment.command == ["docker-compose"]:
            # Debian's, which the README names beside it.
            script += 'docker() { shift; docker-compose "$@"; }\n'
        script += recipes[0].replace("127.0.0.1:1357", f"127.0.0.1:{self.deployment.port}")
        run("bash", "-c", script.replace("/tmp/", f"{self.folder}/"), timeout=BUILD_TIMEOUT_S, cwd=ROOT)
        restored = [path for path in (self.folder / "restored").rglob("*") if path.is_file()]
        self.assertEqual([path.read_bytes() for path in restored], [pathlib.Path("/etc/hostname").read_bytes()])


class HardeningTest(ComposeTest):
    def test_containers_are_read_only_unprivileged_and_apart(self):
        for name in ("service", "bridge"):
            with self.subTest(name):
                found = self.deployment.inspect(name)
                host = found["HostConfig"]
                self.assertTrue(host["ReadonlyRootfs"])
                self.assertEqual(host["CapDrop"], ["ALL"])
                self.assertGreater(host["Memory"], 0)
                status = self.deployment.execute(name, "cat", "/proc/1/status")
                self.assertRegex(status, r"Uid:\t65532\t65532\t65532\t65532")
                self.assertRegex(status, r"CapBnd:\t0{16}\n")
                self.assertIn("NoNewPrivs:\t1", status)
                self.assertRegex(self.deployment.execute(name, "cat", "/proc/mounts"), r"(?m)^\S+ / \S+ ro,")
                for program in ("cc", "gcc", "c++", "cmake"):
                    self.deployment.execute(name, "sh", "-c", f"command -v {program}", code=127)
        networks = {name: set(self.deployment.inspect(name)["NetworkSettings"]["Networks"])
                    for name in ("service", "bridge")}
        self.assertFalse(networks["service"] & networks["bridge"])
        self.assertEqual(self.deployment.inspect("service")["NetworkSettings"]["Ports"], {})

    def test_labels_tell_the_version(self):
        version = run(BIN_DIR / "backupctl", "version").split()[1]
        for image in ("backup-service", "backup-bridge", "backupctl"):
            config = json.loads(run("docker", "inspect", image))[0]["Config"]
            self.assertEqual(config["Labels"]["org.opencontainers.image.title"], image)
            self.assertEqual(config["Labels"]["org.opencontainers.image.version"], version)

    def test_health_checks_notice_an_absent_service(self):
        probe = self.deployment.inspect("bridge")["Config"]["Healthcheck"]["Test"][1:]
        self.deployment.execute("bridge", *probe)
        self.deployment.compose("stop", "service")
        self.deployment.execute("bridge", *probe, code=15)

    def test_both_end_with_0_when_told_to(self):
        self.deployment.compose("stop")
        for name in ("service", "bridge"):
            self.assertEqual(self.deployment.inspect(name)["State"]["ExitCode"], 0, self.deployment.log(name))


class BackupTest(ComposeTest):
    def test_the_reference_client_and_an_independent_one_back_up_from_the_host(self):
        expected = {"first.bin": CONTENT, "second.bin": b"two"}
        for name, content in expected.items():
            (self.folder / name).write_bytes(content)
        lines = [f"127.0.0.1:{self.deployment.port}", "reference", *expected]
        (self.folder / "transfer.info").write_text("\n".join(lines))
        run(BIN_DIR / "legacy-client", f"--dir={self.folder}")
        self.check_restored("reference", expected)
        client = self.client("independent")
        for name, content in expected.items():
            client.back_up(name.encode(), content)
        self.check_restored("independent", expected)
        listed = self.deployment.backupctl("--quiet", "client", "list")
        for name in ("reference", "independent"):
            self.assertIn(name, listed)
        self.deployment.backupctl("verify")

    def upload_while(self, name, disturb):
        """One upload, during which `disturb` runs."""
        client = self.client(name)
        ciphertext = client.encrypt(CONTENT)
        payload = struct.pack("<I", len(ciphertext)) + m.name_field(b"file") + ciphertext
        connection = m.Connection(self.deployment.port, timeout=WAIT_S)
        with contextlib.closing(connection):
            half = len(payload) // 2
            connection.send(client.id, client.version, m.FILE, payload[:half], payload_size=len(payload))
            disturb()
            connection.socket.sendall(payload[half:])
            code, answer = connection.answer()
            self.assertEqual(code, m.FILE_RECEIVED)
            self.assertEqual(struct.unpack("<I", answer[275:])[0], m.cksum(CONTENT))
            self.assertEqual(client.verdict(m.VALID, b"file", connection), m.ACKNOWLEDGED)
        self.check_restored(name, {"file": CONTENT})

    def test_a_restart_of_the_service_is_not_noticed_during_an_upload(self):
        container = self.deployment.container("service")
        # Docker's patience is over before the service's own: it does not wait for this upload.
        self.upload_while("restarted", lambda: run("docker", "restart", "--time=1", container))

    def test_a_killed_service_comes_back_and_the_upload_goes_on(self):
        def kill_and_start():
            run("docker", "kill", self.deployment.container("service"))
            self.deployment.compose("up", "-d")
        self.upload_while("killed", kill_and_start)

    def test_the_engine_starts_a_service_that_died(self):
        def die():
            state = self.deployment.inspect("service")["State"]
            os.kill(state["Pid"], 9)
            wait_until(lambda: self.deployment.inspect("service")["State"]["Pid"] not in (0, state["Pid"]),
                       "the service runs again")
        self.upload_while("died", die)

    def test_restart_of_everything_keeps_everything(self):
        self.client("kept").back_up(b"file", CONTENT)
        self.deployment.compose("restart")
        self.deployment.up()
        self.check_restored("kept", {"file": CONTENT})

    def back_up_while(self, name, disturb):
        """Files in a row until `disturb` is over, with new connections where one breaks. What was acknowledged."""
        client = self.client(name)
        acknowledged = {}
        over = threading.Event()

        def back_up():
            number = 0
            while not over.is_set() or number == 0:
                content = f"{name} {number}".encode() * 9000
                with contextlib.suppress(OSError):
                    client.back_up(b"file%d" % number, content)
                    acknowledged[f"file{number}"] = content
                    number += 1
        thread = threading.Thread(target=back_up)
        thread.start()
        try:
            disturb()
        finally:
            over.set()
            thread.join(WAIT_S)
        self.assertGreater(len(acknowledged), 1)
        return acknowledged

    def test_killing_either_container_loses_nothing_that_was_acknowledged(self):
        for victim in ("service", "bridge"):
            with self.subTest(victim):
                def kill_twice():
                    for _ in range(2):
                        time.sleep(1)
                        run("docker", "kill", self.deployment.container(victim))
                        self.deployment.up()
                name = f"{victim}-killed"
                acknowledged = self.back_up_while(name, kill_twice)
                with tempfile.TemporaryDirectory() as directory:
                    restored = self.deployment.restored(name, directory)
                self.assertEqual({key: restored.get(key) for key in acknowledged}, acknowledged)
        self.deployment.backupctl("verify")


class ModesTest(ComposeTest):
    def test_debug_traces_and_answers_wrong_checksums(self):
        self.deployment.up("compose.debug.yaml")
        self.assertFalse(self.client("traced").send_file(b"file", b"content"))
        for name in ("service", "bridge"):
            self.assertIn("checksums are falsified on purpose", self.deployment.log(name))
        self.assertRegex(self.deployment.log("bridge"), r"head [0-9a-f]{46}")
        self.assertRegex(self.deployment.log("service"), r"UploadFile")

    def test_encrypt_hides_the_content_and_tests_itself(self):
        self.client("before").back_up(b"file", CONTENT)
        self.deployment.up("compose.encrypt.yaml")
        wait_until(lambda: "was backed up through" in self.deployment.log("bridge"), "the self-test is done")
        secret = b"precious content of this file " * 5000
        self.client("sealed").back_up(b"file", secret)
        self.check_restored("sealed", {"file": secret})
        self.check_restored("before", {"file": CONTENT})
        data = subprocess.run(["docker", "cp", f"{self.deployment.container('service')}:/var/lib/backup", "-"],
                              stdout=subprocess.PIPE, check=True).stdout
        self.assertIn(CONTENT[:64], data)
        self.assertNotIn(secret[:30], data)
        for name in ("service", "bridge"):
            for line in self.deployment.log(name).splitlines():
                self.assertRegex(line, r"^E.*CRITICAL")


if __name__ == "__main__":
    if docker_engine.compose_command() is None:
        docker_engine.skip("docker compose is not installed")
    with docker_engine.engine():
        unittest.main()
