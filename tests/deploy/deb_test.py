"""The Debian package in a fresh Debian of this machine's release: installed, removed and purged; its units run under a
real systemd.

Runs where a Docker engine does, or with TEST_START_DOCKER=1 (./check --deploy)."""

import os
import pathlib
import re
import time
import unittest

import docker_engine
import model_client as m
from docker_engine import run, succeeds

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN_DIR = pathlib.Path(os.environ.get("TEST_BIN_DIR", ROOT / "build/release/bin")).resolve()
BUILD_DIR = BIN_DIR.parent
PROGRAMS = ("backup-service", "backup-bridge", "backupctl", "legacy-client")
UNITS = ("backup-service", "backup-bridge")
SOCKET = "unix:/run/backup/service.sock"
INSTALL = "apt-get install -y --no-install-recommends /root/backup.deb"
# What `systemd-analyze security` may say at worst: 10 is no sandbox. The bridge must face the network.
EXPOSURE_LIMITS = {"backup-service": 0.5, "backup-bridge": 1.5}
# What systemd needs in a container; --privileged would also ask for what not every engine has.
SYSTEMD_FLAGS = ("--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN", "--cap-add=SYS_PTRACE", "--cap-add=MKNOD",
                 "--security-opt=seccomp=unconfined", "--security-opt=systempaths=unconfined", "--cgroupns=host",
                 "--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw")
SYSTEMD_IMAGE = "backup-test-systemd"
SYSTEMD_DOCKERFILE = """FROM {base}
RUN apt-get update && apt-get install -y --no-install-recommends openssl systemd systemd-sysv
CMD ["/sbin/init"]
"""
WAIT_S = 60


class Machine:
    """A Debian of this machine's release in a container."""

    def __init__(self, image, *flags, command=()):
        self.id = run("docker", "run", "--detach", *flags, image, *command).strip()
        run("docker", "cp", str(package()), f"{self.id}:/root/backup.deb")
        self.sh("apt-get update")

    def sh(self, script, **options):
        return run("docker", "exec", self.id, "sh", "-ec", script, **options)

    def remove(self):
        run("docker", "rm", "--force", "--volumes", self.id)


def base_image():
    return docker_engine.base_image(docker_engine.host_release())


def package():
    found = list(BUILD_DIR.glob("backup_*.deb"))
    assert len(found) == 1, found
    return found[0]


def setUpModule():
    for old in BUILD_DIR.glob("backup_*.deb"):
        old.unlink()
    run("cpack", "-G", "DEB", cwd=BUILD_DIR)


class ContentTest(unittest.TestCase):
    def test_files_owners_and_dependencies(self):
        listed = run("dpkg-deb", "--contents", package())
        files = {line.split()[5]: line.split()[:2] for line in listed.splitlines()}
        for name in (*(f"./usr/bin/{program}" for program in PROGRAMS), "./etc/backup/service.flags",
                     "./etc/backup/bridge.flags", "./etc/backup/authz_policy.json",
                     "./usr/share/backup/make_certificates.sh", "./usr/share/backup/backup.protoset",
                     "./usr/share/backup/legacy-client-src/main.cc", "./usr/share/man/man1/backupctl.1.gz",
                     "./usr/share/man/man8/backup-service.8.gz", "./usr/share/bash-completion/completions/backupctl",
                     "./usr/share/zsh/vendor-completions/_backupctl", "./usr/share/fish/vendor_completions.d/backupctl.fish",
                     *(f"./usr/lib/systemd/system/{unit}.service" for unit in UNITS)):
            self.assertIn(name, files)
        for name, (mode, owner) in files.items():
            self.assertEqual(owner, "root/root", name)
            self.assertRegex(mode, r"^(drwxr-xr-x|-rw-r--r--|-rwxr-xr-x)$", name)
            self.assertNotIn("/local/", name)
        conffiles = run("dpkg-deb", "--info", package(), "conffiles").split()
        self.assertEqual(sorted(conffiles), sorted(name[1:] for name in files if re.match(r"\./etc/.*[^/]$", name)))
        depends = run("dpkg-deb", "--field", package(), "Depends")
        for library in ("libpq5", "libsqlite3-0", "libssl3"):
            self.assertIn(library, depends)
        for part in ("libgrpc", "libabsl", "libprotobuf", "-dev"):
            self.assertNotIn(part, depends)


class LifeTest(unittest.TestCase):
    # Everything that is called after the package or its user.
    NAMESAKES = "find / -xdev -iname '*backup*' ! -path '/root/*' | sort"

    def test_install_remove_and_purge(self):
        machine = Machine(base_image(), command=("sleep", "infinity"))
        self.addCleanup(machine.remove)
        before = machine.sh(self.NAMESAKES)
        machine.sh(INSTALL)
        self.assertNotEqual(machine.sh(self.NAMESAKES), before)
        version = run("dpkg-deb", "--field", package(), "Version").strip()
        for program in PROGRAMS:
            argument = "version" if program == "backupctl" else "--version"
            self.assertIn(version, machine.sh(f"{program} {argument}"))
        self.assertEqual(machine.sh("stat -c '%U %G %a' /var/lib/backup").strip(), "_backup _backup 700")
        self.assertIn("--encrypt", machine.sh("backup-bridge --help || true"))
        self.check_completion(machine)

        with self.subTest("what the operator changed survives an upgrade and a removal"):
            machine.sh("echo '# mine' >>/etc/backup/bridge.flags; touch /var/lib/backup/a_file")
            machine.sh(INSTALL + " --reinstall; apt-get remove -y backup")
            self.assertIn("# mine", machine.sh("cat /etc/backup/bridge.flags"))
            machine.sh("test -e /var/lib/backup/a_file; getent passwd _backup; ! test -e /usr/bin/backupctl")
        with self.subTest("a purge keeps backups and says so"):
            said = machine.sh("apt-get purge -y backup 2>&1")
            self.assertIn("the stored files are kept in /var/lib/backup", said)
            machine.sh("test -e /var/lib/backup/a_file; getent passwd _backup; ! test -e /etc/backup")
        with self.subTest("without backups nothing is left"):
            machine.sh(f"rm /var/lib/backup/a_file; {INSTALL}; apt-get purge -y backup")
            machine.sh("getent passwd _backup", code=2)
            machine.sh("getent group _backup", code=2)
            self.assertEqual(machine.sh(self.NAMESAKES), before)

    def check_completion(self, machine):
        complete = ("source /usr/share/bash-completion/completions/backupctl; COMP_WORDS=(backupctl {words}); "
                    "COMP_CWORD={at}; _backupctl backupctl '{word}'; echo ${{COMPREPLY[*]}}")
        for words, at, word, expected in (("re", 1, "re", "restore"), ("file ''", 2, "", "list versions get put"),
                                          ("--js", 1, "--js", "--json")):
            script = complete.format(words=words, at=at, word=word)
            found = run("docker", "exec", machine.id, "bash", "-c", script).split()
            self.assertTrue(set(expected.split()) <= set(found), found)


class SystemdTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        docker_engine.build_image(SYSTEMD_IMAGE, SYSTEMD_DOCKERFILE.format(base=base_image()))
        cls.machine = Machine(SYSTEMD_IMAGE, *SYSTEMD_FLAGS, "--publish=127.0.0.1::1357")
        cls.addClassCleanup(cls.machine.remove)
        cls.wait_for("systemctl is-system-running --wait")
        cls.machine.sh(INSTALL)
        cls.wait_for(f"backupctl --service={SOCKET} health")
        cls.port = int(run("docker", "port", cls.machine.id, "1357").rpartition(":")[2])

    @classmethod
    def wait_for(cls, script):
        deadline = time.monotonic() + WAIT_S
        while not succeeds("docker", "exec", cls.machine.id, "sh", "-c", script):
            if time.monotonic() > deadline:
                log = cls.machine.sh("journalctl --no-pager | tail -40")
                raise AssertionError(f"not within {WAIT_S} s: {script}\n{log}")
            time.sleep(0.2)

    def test_both_units_run_sandboxed_and_back_up(self):
        for unit in UNITS:
            state = self.machine.sh(f"systemctl is-active {unit}; systemctl is-enabled {unit}")
            self.assertEqual(state, "active\nenabled\n")
            # Active is what has told systemd that it is ready.
            self.assertEqual(self.machine.sh(f"systemctl show --property=Type --value {unit}"), "notify\n")
            judged = self.machine.sh(f"systemd-analyze security --no-pager {unit}.service")
            exposure = float(re.search(r"exposure level for \S+: ([\d.]+)", judged).group(1))
            self.assertLessEqual(exposure, EXPOSURE_LIMITS[unit], judged)
            status = self.machine.sh(f"cat /proc/$(systemctl show --property=MainPID --value {unit})/status")
            self.assertNotIn("Uid:\t0\t", status)
            for line in ("CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
                self.assertIn(line, status)
        client = m.ModelClient(self.port, b"laptop").sign_up()
        client.back_up(b"small", b"content")
        client.back_up(b"large", bytes(1_000_000))
        self.machine.sh("systemctl restart backup-service backup-bridge")
        self.wait_for(f"backupctl --service={SOCKET} restore --client=laptop --to=/root/restored")
        restored = self.machine.sh("cat /root/restored/small; stat -c %s /root/restored/large")
        self.assertEqual(restored, "content1000000\n")

    def test_systemd_understands_every_line_of_the_units(self):
        units = " ".join(f"{unit}.service" for unit in UNITS)
        self.assertEqual(self.machine.sh(f"systemd-analyze verify --man=no {units} 2>&1"), "")

    def test_others_can_neither_call_the_service_nor_read_the_data(self):
        self.machine.sh(f"setpriv --reuid=nobody --clear-groups backupctl --service={SOCKET} client list", code=15)
        self.machine.sh("setpriv --reuid=nobody --clear-groups ls /var/lib/backup", code=2)

    def test_the_self_test_finds_its_sources(self):
        self.machine.sh("echo --encrypt >>/etc/backup/bridge.flags; systemctl restart backup-bridge")
        self.wait_for("journalctl --unit=backup-bridge | grep 'legacy-client-src was backed up through'")

    def test_the_recipe_of_tls_works_when_pasted(self):
        self.addCleanup(self.machine.sh, "rm -r /etc/backup /etc/systemd/system/backup-*.d;"
                        "mv /root/settings /etc/backup; systemctl daemon-reload; systemctl stop backup-bridge;"
                        "deluser --quiet backup-bridge; systemctl restart backup-service backup-bridge")
        self.machine.sh("cp -a /etc/backup /root/settings")
        recipe = docker_engine.recipe("docs/operations.md", "TLS with the package")
        run("docker", "exec", self.machine.id, "bash", "-euc", recipe)
        call = ("backupctl --service=localhost:50051 --timeout=2s --tls-ca=/etc/backup/tls/ca.crt "
                "--tls-cert=/etc/backup/tls/{0}.crt --tls-key=/etc/backup/tls/{0}.key")
        self.wait_for(f"{call.format('operator')} client list")
        self.wait_for("bash -c 'exec 3<>/dev/tcp/127.0.0.1/1357'")
        m.ModelClient(self.port, b"over-tls").sign_up().back_up(b"file", b"content")
        self.assertIn("over-tls", self.machine.sh(f"{call.format('reader')} client list"))
        self.machine.sh(f"{call.format('bridge')} client list", code=12)
        self.machine.sh("backupctl --service=localhost:50051 --timeout=2s client list", code=15)


if __name__ == "__main__":
    with docker_engine.engine(docker_engine.host_release()):
        unittest.main()
