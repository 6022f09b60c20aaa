"""tests/fuzz/run.py, with programs in the place of fuzz targets: what it tells of them, and how it ends. And that the documents
name no option of it, or of ./check, that there is not."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUN = ROOT / "tests" / "fuzz" / "run.py"
WAIT_S = 60
# As libFuzzer tells of a run that went well; where inputs go is its first argument.
GOOD = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/calls"
echo new > "$1/input"
cat >&2 <<'END'
stat::number_of_executed_units: 12345
stat::average_exec_per_sec:     678
stat::new_units_added:          9
END
"""
BAD = """#!/bin/sh
echo "==1== ERROR: AddressSanitizer: heap-buffer-overflow" >&2
echo "artifact_prefix='x'; Test unit written to /somewhere/bad-crash-1" >&2
exit 77
"""


class FuzzRunTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.build = pathlib.Path(folder.name)
        (self.build / "bin").mkdir()

    def add(self, name, script):
        program = self.build / "bin" / f"{name}_fuzzer"
        program.write_text(script)
        program.chmod(0o755)
        with open(self.build / "fuzz_targets.txt", "a") as targets:
            targets.write(f"{name} \n")

    def run_it(self, *arguments):
        return subprocess.run([RUN, *arguments], capture_output=True, text=True, timeout=WAIT_S,
                              env={**os.environ, "FUZZ_BUILD_DIR": str(self.build)})

    def test_tells_what_was_tried_and_keeps_what_was_found(self):
        self.add("good", GOOD)
        self.add("other", GOOD)
        done = self.run_it("--seconds", "3", "good")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"\| good +\| 12345 +\| 678 +\| 9 +\| - +\| - +\|")
        self.assertNotIn("other", done.stdout)
        self.assertIn("-max_total_time=3", (self.build / "bin" / "calls").read_text())
        self.assertTrue((self.build / "corpus" / "good" / "input").exists())

    def test_tries_a_number_of_inputs(self):
        self.add("good", GOOD)
        self.assertEqual(self.run_it("--runs", "7").returncode, 0)
        self.assertIn("-runs=7", (self.build / "bin" / "calls").read_text())

    def test_a_broken_promise_is_told_with_the_command_that_repeats_it(self):
        self.add("bad", BAD)
        self.add("good", GOOD)
        done = self.run_it("--seconds", "1")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"\| bad .* yes +\|")
        self.assertIn(f"again: {self.build}/bin/bad_fuzzer /somewhere/bad-crash-1\n", done.stdout)
        self.assertIn("heap-buffer-overflow", done.stderr)
        self.assertRegex(done.stdout, r"\| good +\| 12345")

    def test_says_that_there_are_no_targets(self):
        done = self.run_it("--seconds", "1")
        self.assertEqual(done.returncode, 77)
        self.assertIn("NOT TESTED", done.stderr)

    def test_lists_the_targets_and_refuses_others(self):
        self.add("good", GOOD)
        self.assertIn("good", self.run_it().stdout)
        self.assertEqual(self.run_it("--seconds", "1", "nonsense").returncode, 2)

    def test_refuses_what_would_have_no_end(self):
        self.add("good", GOOD)
        for limit in ("--seconds=0", "--seconds=-1", "--runs=0", "--runs=-1"):
            self.assertEqual(self.run_it(limit).returncode, 2, limit)


class DocumentsTest(unittest.TestCase):
    def test_every_target_has_inputs_that_are_replayed(self):
        targets = re.findall(r"^backup_fuzz_target\((\w+)", (ROOT / "tests/fuzz/CMakeLists.txt").read_text(), re.MULTILINE)
        self.assertGreater(len(targets), 10)
        for target in targets:
            self.assertTrue(any((ROOT / "tests/fuzz/corpus" / target).iterdir()), target)
            self.assertIn(f"`{target}`", (ROOT / "docs/fuzzing.md").read_text())

    def test_every_option_that_is_named_exists(self):
        usage = {"tests/fuzz/run.py": subprocess.run([RUN, "--help"], capture_output=True, text=True, timeout=WAIT_S).stdout,
                 "./check": subprocess.run([ROOT / "check", "--nonsense"], capture_output=True, text=True, timeout=WAIT_S).stderr}
        named = 0
        for page in (ROOT / "CONTRIBUTING.md", ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
            for program, option in re.findall(r"(tests/fuzz/run\.py|\./check) [^`\n]*?(--\w+)", page.read_text()):
                named += 1
                self.assertIn(option, usage[program], f"{page.name} names {program} {option}")
        self.assertGreater(named, 3)


if __name__ == "__main__":
    unittest.main()
