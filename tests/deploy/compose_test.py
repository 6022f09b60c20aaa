"""The whole compose file on a real Docker engine: images built, old clients on the host, restarts, kills, variants.

Runs where a Docker engine does, or with TEST_START_DOCKER=1 (./check --deploy). BACKUP_DEBIAN_RELEASE chooses the images'
release, as for the compose file."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.parse
import urllib.request

import docker_engine
import model_client as m
from docker_engine import run

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
OBSERVED = DEPLOY / "observability"
BIN_DIR = pathlib.Path(os.environ.get("TEST_BIN_DIR", ROOT / "build/release/bin")).resolve()
BUILD_TIMEOUT_S = 2400
WAIT_S = 90
# The same each time, because every other one is built anew.
COMMIT = "0123456789ab"
# Big enough to be a blob, small enough for the bridge to repeat it.
CONTENT = bytes(range(256)) * 4000
BASE_IMAGE = docker_engine.base_image(docker_engine.IMAGES_RELEASE)
# In the place of an image that cannot be pulled: Debian's package, of the same version or a later one.
PROMETHEUS_DOCKERFILE = f"""FROM {BASE_IMAGE}
RUN apt-get update && apt-get install -y --no-install-recommends prometheus \\
 && install -d -o nobody -g nogroup /prometheus
USER nobody
ENTRYPOINT ["prometheus"]
"""
VARIANTS = ("debug", "encrypt", "tls", "observability")


def free_ports(count):
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def wait_until(condition, what):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {WAIT_S} s: {what}")
        time.sleep(0.2)


def answers(url):
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=WAIT_S) as answer:
        return answer.status == 200
    return False


class Deployment:
    """deploy/compose.yaml and its variants under a name and ports of their own."""

    def __init__(self):
        self.port, self.api_port, self.prometheus_port, self.grafana_port = free_ports(4)
        folder = tempfile.TemporaryDirectory()
        self._remove_folder = folder.cleanup
        self.certificates = pathlib.Path(folder.name) / "certificates"
        self.project = f"backup-test-{os.getpid()}"
        # They win over deploy/.env, also in the README's recipes.
        os.environ.update(COMPOSE_PROJECT_NAME=self.project, BACKUP_LEGACY_ADDRESS="127.0.0.1",
                          BACKUP_LEGACY_PORT=str(self.port), BACKUP_API_PORT=str(self.api_port),
                          BACKUP_PROMETHEUS_PORT=str(self.prometheus_port), BACKUP_GRAFANA_PORT=str(self.grafana_port),
                          BACKUP_CERTIFICATES=str(self.certificates), BACKUP_COMMIT=COMMIT)
        self.command = docker_engine.compose_command()
        self.variants = ()

    def compose(self, *arguments, **options):
        files = [f"--file=compose.{name}" for name in ("yaml", *(f"{variant}.yaml" for variant in self.variants))]
        return run(*self.command, *files, *arguments, cwd=DEPLOY, **options)

    def up(self, *variants, names=()):
        """Both as these variants have them, and what is called in `names`; nothing else."""
        self.variants = variants
        self.compose("up", "-d", "--remove-orphans", "service", "bridge", *names)
        for name in ("service", "bridge"):
            wait_until(lambda: self.inspect(name)["State"]["Health"]["Status"] == "healthy", f"{name} is healthy")

    def down(self):
        self.variants = VARIANTS
        self.compose("--profile", "tools", "down", "--volumes", "--timeout", "5")
        self._remove_folder()

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


def setUpModule():
    ComposeTest.deployment = Deployment()
    unittest.addModuleCleanup(ComposeTest.deployment.down)
    ComposeTest.deployment.compose("--profile", "tools", "build", timeout=BUILD_TIMEOUT_S)


class ComposeTest(unittest.TestCase):
    # One for all, because images and containers take most of the time. Each test has clients of its own.
    deployment = None

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


class RecipeTest(ComposeTest):
    def paste(self, document, section, **replaced):
        """Runs the recipes of a document's section as they stand there, but with this deployment's ports and files."""
        script = "set -euo pipefail\n"
        if self.deployment.command == ["docker-compose"]:
            # Debian's, which the README names beside it.
            script += 'docker() { shift; docker-compose "$@"; }\n'
        script += docker_engine.recipe(document, section)
        here = {":1357": f":{self.deployment.port}", "/tmp/": f"{self.folder}/", "../build/release/bin/": f"{BIN_DIR}/"}
        for old, new in {**here, **replaced}.items():
            script = script.replace(old, new)
        return run("bash", "-c", script, timeout=BUILD_TIMEOUT_S, cwd=ROOT)

    def test_the_readme_works_when_pasted(self):
        self.paste("README.md", "Deploying")
        restored = [path for path in (self.folder / "restored").rglob("*") if path.is_file()]
        self.assertEqual([path.read_bytes() for path in restored], [pathlib.Path("/etc/hostname").read_bytes()])

    def test_the_recipe_of_the_variants_works_when_pasted(self):
        self.client("listed").back_up(b"file", CONTENT)
        self.deployment.variants = ("encrypt", "tls")
        folder = str(self.deployment.certificates)
        listed = self.paste("docs/operations.md", "Variants", **{
            ":50051": f":{self.deployment.api_port}", "=certificates/": f"={folder}/", " certificates ": f" {folder} "})
        self.assertIn("listed", listed)


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
        self.assertEqual(self.deployment.inspect("service")["NetworkSettings"]["Ports"], {})
        # A neighbour of the bridge, as old clients are.
        network, = self.deployment.inspect("bridge")["NetworkSettings"]["Networks"]
        run("docker", "run", "--rm", f"--network={network}", BASE_IMAGE, "bash", "-ec",
            "exec 3<>/dev/tcp/bridge/1357; ! getent hosts service")

    def test_labels_and_programs_tell_version_and_commit(self):
        version = run(BIN_DIR / "backupctl", "version").split()[1]
        for image in ("backup-service", "backup-bridge", "backupctl"):
            config = json.loads(run("docker", "inspect", image))[0]["Config"]
            self.assertEqual(config["Labels"]["org.opencontainers.image.title"], image)
            self.assertEqual(config["Labels"]["org.opencontainers.image.version"], version)
            self.assertEqual(config["Labels"]["org.opencontainers.image.revision"], COMMIT)
        self.assertEqual(self.deployment.backupctl("version").strip(), f"backupctl {version} ({COMMIT})")

    def test_images_are_of_the_release_that_was_asked_for(self):
        for image in ("backup-service", "backup-bridge", "backupctl"):
            found = run("docker", "run", "--rm", "--network=none", "--entrypoint=cat", image, "/etc/os-release")
            self.assertIn(f"VERSION_CODENAME={docker_engine.IMAGES_RELEASE}\n", found)

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

    def test_a_restart_of_the_service_is_not_noticed_during_an_upload(self):
        # The service waits for this upload in vain, as it goes on only afterwards.
        self.upload_while("restarted", lambda: self.deployment.compose("restart", "service"))

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

    def test_the_service_is_restarted_under_load_and_no_client_notices(self):
        def restart():
            for _ in range(3):
                self.deployment.compose("restart", "service")
        acknowledged = self.back_up_while("steady", restart)
        self.check_restored("steady", acknowledged)

    def test_restart_of_everything_keeps_everything(self):
        self.client("kept").back_up(b"file", CONTENT)
        self.deployment.compose("restart")
        self.deployment.up()
        self.check_restored("kept", {"file": CONTENT})

    def back_up_while(self, name, disturb, tolerated=()):
        """Files in a row until `disturb` is over, again after a tolerated error. What was acknowledged."""
        client = self.client(name)
        acknowledged = {}
        over = threading.Event()

        def back_up():
            number = 0
            while not over.is_set() or number == 0:
                content = f"{name} {number}".encode() * 9000
                with contextlib.suppress(*tolerated):
                    client.back_up(b"file%d" % number, content)
                    acknowledged[f"file{number}"] = content
                    number += 1
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            done = pool.submit(back_up)
            try:
                disturb()
            finally:
                over.set()
            done.result(WAIT_S)
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
                acknowledged = self.back_up_while(name, kill_twice, tolerated=(OSError,))
                with tempfile.TemporaryDirectory() as directory:
                    restored = self.deployment.restored(name, directory)
                self.assertEqual({key: restored.get(key) for key in acknowledged}, acknowledged)
        self.deployment.backupctl("verify")


class ModesTest(ComposeTest):
    def test_debug_traces_and_answers_wrong_checksums(self):
        self.deployment.up("debug")
        self.assertFalse(self.client("traced").send_file(b"file", b"content"))
        for name in ("service", "bridge"):
            self.assertIn("checksums are falsified on purpose", self.deployment.log(name))
        self.assertRegex(self.deployment.log("bridge"), r"head=[0-9a-f]{46}")
        self.assertRegex(self.deployment.log("service"), r"UploadFile")

    def test_encrypt_hides_the_content_and_tests_itself(self):
        self.client("before").back_up(b"file", CONTENT)
        self.deployment.up("encrypt")
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


class TlsTest(ComposeTest):
    @classmethod
    def setUpClass(cls):
        cls.make_certificates()

    @classmethod
    def make_certificates(cls):
        run("./make_certificates.sh", cls.deployment.certificates, "service", "localhost", "127.0.0.1", cwd=DEPLOY,
            env={**os.environ, "KEY_OWNER": "65532"})

    def setUp(self):
        super().setUp()
        self.deployment.up("tls")

    def backupctl(self, role, *arguments, **options):
        """From the host, through the published port."""
        files = self.deployment.certificates
        tls = [f"--tls-ca={files}/ca.crt", f"--tls-cert={files}/{role}.crt", f"--tls-key={files}/{role}.key"]
        return run(BIN_DIR / "backupctl", f"--service=localhost:{self.deployment.api_port}", "--timeout=5s",
                   *(tls if role else ()), *arguments, **options)

    def test_bridge_and_operators_use_certificates_and_nobody_does_without(self):
        self.client("sealed-off").back_up(b"file", CONTENT)
        self.check_restored("sealed-off", {"file": CONTENT})
        for role in ("operator", "reader"):
            self.assertIn("sealed-off", self.backupctl(role, "client", "list"))
        self.backupctl("reader", "log-level", "*", "info", code=12)
        self.backupctl("bridge", "client", "list", code=12)
        self.backupctl(None, "client", "list", code=15)
        networks = self.deployment.inspect("service")["NetworkSettings"]["Networks"]
        self.assertFalse([name for name in networks if name.endswith("_legacy")])
        self.assertNotIn("service.sock", self.deployment.execute("service", "ls", "/run/backup"))

    def test_nobody_learns_the_api_by_reflection_through_the_published_port(self):
        environment = {**os.environ, "TEST_SERVICE": f"localhost:{self.deployment.api_port}",
                       "TEST_CERTIFICATES": str(self.deployment.certificates)}
        run(BIN_DIR.parent / "tests/reflection_test", "--gtest_filter=*IsRefusedWhereItIsOff*", env=environment)

    def test_a_service_made_anew_at_another_address_is_not_noticed_during_an_upload(self):
        def move():
            old = self.internal_address()
            self.deployment.compose("stop", "--timeout=1", "service")
            squatter = run("docker", "run", "--detach", f"--network={self.deployment.project}_internal",
                           BASE_IMAGE, "sleep", str(WAIT_S)).strip()
            self.addCleanup(run, "docker", "rm", "--force", squatter)
            self.deployment.compose("up", "-d", "service")
            self.assertNotEqual(self.internal_address(), old)
        self.upload_while("moved", move)

    def internal_address(self):
        networks = self.deployment.inspect("service")["NetworkSettings"]["Networks"]
        return networks[f"{self.deployment.project}_internal"]["IPAddress"]

    def test_renewed_certificates_are_used_without_a_restart(self):
        started = self.deployment.inspect("service")["State"]["StartedAt"]
        old = self.served_certificate()
        self.make_certificates()
        wait_until(lambda: self.served_certificate() != old, "the renewed certificate is used")
        self.client("renewed").back_up(b"file", CONTENT)
        self.check_restored("renewed", {"file": CONTENT})
        self.assertEqual(self.deployment.inspect("service")["State"]["StartedAt"], started)

    def served_certificate(self):
        files = self.deployment.certificates
        context = ssl.create_default_context(cafile=files / "ca.crt")
        context.load_cert_chain(files / "operator.crt", files / "operator.key")
        with socket.create_connection(("127.0.0.1", self.deployment.api_port), timeout=WAIT_S) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                return secure.getpeercert()["serialNumber"]


class ObservabilityTest(ComposeTest):
    @classmethod
    def setUpClass(cls):
        cls.prometheus, grafana = re.findall(r"image: (\S+)", (DEPLOY / "compose.observability.yaml").read_text())
        if not docker_engine.has_image(cls.prometheus):
            docker_engine.build_image(cls.prometheus, PROMETHEUS_DOCKERFILE)
        cls.names = ["prometheus"]
        if docker_engine.has_image(grafana):
            cls.names.append("grafana")
        else:
            print(f"NOTE: {grafana} cannot be pulled: what it is given is tested, but not Grafana itself")

    def setUp(self):
        super().setUp()
        self.deployment.up("observability", names=self.names)

    def ask(self, path, **parameters):
        url = f"http://127.0.0.1:{self.deployment.prometheus_port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
            return json.load(answer)["data"]

    def test_prometheus_scrapes_both_and_knows_the_alerts(self):
        self.client("watched").back_up(b"file", CONTENT)
        wait_until(lambda: [target["health"] for target in self.ask("targets")["activeTargets"]] == ["up", "up"],
                   "both are scraped")
        wait_until(lambda: self.ask("query", query="backup_client_last_success_timestamp_seconds > 0")["result"],
                   "the backup is seen")
        rules = [rule["name"] for group in self.ask("rules")["groups"] for rule in group["rules"]]
        self.assertEqual(rules, re.findall(r"- alert: (\w+)", (OBSERVED / "alerts.yml").read_text()))
        self.deployment.compose("stop", "bridge")
        wait_until(lambda: "MetricsAbsent" in [alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"]],
                   "an absent bridge raises an alert")

    def test_the_alert_rules_do_what_their_tests_say(self):
        run("docker", "run", "--rm", f"--volume={OBSERVED}:/observed:ro", "--entrypoint=promtool", self.prometheus,
            "test", "rules", "/observed/alerts_test.yml")

    def test_each_panel_of_the_dashboard_asks_for_what_there_is(self):
        self.client("shown").back_up(b"file", CONTENT)
        dashboard = json.loads((OBSERVED / "dashboard.json").read_text())
        expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
        for expression in expressions:
            self.ask("query", query=expression)
        # Counters of what has not happened yet are not there.
        wanted = {name for name in re.findall(r"\b(?:backup|process)_\w+", " ".join(expressions))
                  if not name.endswith("_total")}
        self.assertTrue(wanted)
        wait_until(lambda: wanted <= set(self.ask("label/__name__/values")), f"there are {wanted}")

    def test_grafana_reaches_its_source_and_shows_the_dashboard(self):
        source = re.search(r"url: http://(\w+):(\d+)", (OBSERVED / "grafana_datasource.yml").read_text())
        # The bridge is on Grafana's network.
        self.deployment.execute("bridge", "bash", "-c", "exec 3<>/dev/tcp/{}/{}".format(*source.groups()))
        if "grafana" in self.names:
            url = f"http://127.0.0.1:{self.deployment.grafana_port}/api/dashboards/uid/backup"
            wait_until(lambda: answers(url), "Grafana has the dashboard")


if __name__ == "__main__":
    if docker_engine.compose_command() is None:
        docker_engine.skip("docker compose is not installed")
    with docker_engine.engine(docker_engine.IMAGES_RELEASE):
        unittest.main()
