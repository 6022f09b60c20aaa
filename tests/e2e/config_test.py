"""Where flags come from, what --print_config and --check_config say, and that bad input stops the start."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import certificates
from cluster import BIN_DIR

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
WAIT_S = 30
USAGE, BAD_CONFIGURATION = 2, 10


class ConfigTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_daemon(self, name, *flags, code=0, **variables):
        done = subprocess.run([BIN_DIR / name, *flags], capture_output=True, text=True, timeout=WAIT_S,
                              cwd=self.folder, env={**os.environ, **variables})
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def refused(self, name, *flags, **variables):
        """The one line that says what is wrong."""
        lines = self.run_daemon(name, *flags, code=BAD_CONFIGURATION, **variables).stderr.splitlines()
        self.assertIn("cannot start: ", lines[-1])
        return lines[-1]

    def test_precedence_is_flag_environment_file_default(self):
        flags = self.folder / "service.flags"
        flags.write_text(f"# where it lives\n--data_dir={self.folder}/data\n--at_rest=plain\n--rekey=allow\n--encrypt\n")
        shown = self.run_daemon("backup-service", "--print_config", f"--flagfile={flags}", "--at_rest=client",
                                BACKUP_AT_REST="sealed", BACKUP_REKEY="pin").stdout
        self.assertIn("--at_rest=client  (flag)\n", shown)
        self.assertIn("--rekey=pin  (environment BACKUP_REKEY)\n", shown)
        self.assertIn(f"--encrypt=true  (file {flags}:5)\n", shown)
        self.assertIn("--duplicate_names=reject  (default)\n", shown)
        self.assertNotIn("minloglevel", shown)
        self.assertFalse((self.folder / "data").exists())

    def test_every_flag_of_both_daemons_can_be_set_by_its_variable(self):
        for name in ("backup-service", "backup-bridge"):
            settings = self.run_daemon(name, "--print_config").stdout.splitlines()
            self.assertGreater(len(settings), 10)
            variables = {}
            for line in settings:
                flag, _, value = line.removeprefix("--").removesuffix("  (default)").partition("=")
                variables[f"BACKUP_{flag.upper()}"] = value
            for line in self.run_daemon(name, "--print_config", **variables).stdout.splitlines():
                self.assertIn("(environment BACKUP_", line)

    def test_unknown_variables_stop_the_start(self):
        self.assertIn("BACKUP_PROT", self.refused("backup-bridge", BACKUP_PROT="1"))
        self.assertIn("BACKUP_PORT", self.refused("backup-service", "--data_dir=data", BACKUP_PORT="1"))
        self.run_daemon("backup-service", "--data_dir=data", "--check_config", BACKUP_SERVICE="127.0.0.1:1")

    def test_wrong_values_stop_the_start_and_name_their_place(self):
        self.assertIn("environment BACKUP_PORT", self.refused("backup-bridge", BACKUP_PORT="70000"))
        self.assertIn("environment BACKUP_DEBUG", self.refused("backup-bridge", BACKUP_DEBUG="maybe"))
        flags = self.folder / "bridge.flags"
        flags.write_text("--port=1357\n\n--idle_timeout=soon\n")
        self.assertIn(f"{flags}:3", self.refused("backup-bridge", BACKUP_FLAGFILE=str(flags)))
        self.assertIn("/no/such/file", self.refused("backup-bridge", "--flagfile=/no/such/file"))

    def test_check_config_says_0_or_10_and_starts_nothing(self):
        good = ["--data_dir=data", "--listen=127.0.0.1:0", "--check_config"]
        self.run_daemon("backup-service", *good)
        self.run_daemon("backup-bridge", "--check_config")
        for bad in (["--check_config"], [*good, "--at_rest=folded"], [*good, "--no_such_flag"], [*good, "stray"],
                    [*good, "--listen=nonsense"], [*good, "--listen=0.0.0.0:1"]):
            self.run_daemon("backup-service", *bad, code=BAD_CONFIGURATION)
        self.run_daemon("backup-bridge", "--check_config", "--port=70000", code=BAD_CONFIGURATION)
        self.assertEqual(list(self.folder.iterdir()), [])

    def of_variants(self, *variants):
        """By service of deploy/compose.*.yaml, the flags that its variables are; secrets are those of this test."""
        flags = {"service": [], "bridge": []}
        for variant in variants:
            text = (DEPLOY / f"compose.{variant}.yaml").read_text()
            for name, section in re.findall(r"^  (\w+):(.*?)(?=^  \w|^\w|\Z)", text, re.MULTILINE | re.DOTALL):
                for variable, value in re.findall(r'BACKUP_(\w+): "?([^"\s,}]+)', section) if name in flags else ():
                    flags[name].append(f"--{variable.lower()}={value}")
        return {name: [flag.replace("/run/secrets", str(self.folder / "certs")).replace("/etc/backup", str(DEPLOY))
                       for flag in found] for name, found in flags.items()}

    def test_what_is_shipped_is_for_production_but_for_the_debug_variant(self):
        certificates.make(self.folder / "certs")
        for variants in ((), ("encrypt",), ("tls",), ("observability",), ("encrypt", "tls", "observability"), ("debug",)):
            for name, flags in self.of_variants(*variants).items():
                with self.subTest(name=name, variants=variants):
                    self.assertTrue(flags or not variants)
                    command = [f"backup-{name}", f"--flagfile={DEPLOY}/config/{name}.flags", *flags]
                    if name == "service":
                        command.append(f"--data_dir={self.folder}/data")
                    production = str("debug" not in variants).lower()
                    self.assertIn(f"--production={production}  ", self.run_daemon(*command, "--print_config").stdout)
                    self.run_daemon(*command, "--check_config")

    def test_wrong_usage_and_help(self):
        for name in ("backup-service", "backup-bridge"):
            self.run_daemon(name, "--no_such_flag", code=USAGE)
            self.run_daemon(name, "stray", "--data_dir=data" if name == "backup-service" else "--port=0", code=USAGE)
            text = self.run_daemon(name, "--help").stdout
            self.assertIn("--idle_shutdown=240s", text)
            self.assertNotIn("vmodule=", text)
            self.assertLess(len(text.splitlines()), 140)
            self.assertIn("vmodule", self.run_daemon(name, "--helpfull").stdout)


if __name__ == "__main__":
    unittest.main()
