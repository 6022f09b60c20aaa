"""What is written about the command lines is true: every command and option in README.md and docs/ exists and is used as
it can be, and completion and man pages tell what --help tells."""

import datetime
import os
import pathlib
import re
import shlex
import subprocess
import unittest

import program_help
from cluster import BIN_DIR, ClusterTest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = ("backupctl", "legacy-client", "backup-service", "backup-bridge")
USAGE = 2
WAIT_S = 20
FENCE = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
ANY_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`([^`]+)`")
OPTION = re.compile(r"--[A-Za-z][\w-]*")
# Words of the documents that stand for something.
STAND_INS = {"PATTERN": "*", "LEVEL": "debug", "N": "1", "DURATION": "36h", "HEX": "00", "TIME": "2026-01-01T00:00:00Z",
             "SHELL": "bash", "GENERATION": "1"}
# Options in the documents that are of other people's programs, or of our scripts.
OTHER_OPTIONS = {"--build", "--build-arg", "--deploy", "--encrypt", "--fast", "--group", "--no-create-home",
                 "--preset", "--profile", "--quiet", "--read-only", "--rm", "--serve", "--short", "--system", "--target",
                 "--volumes", "--build=", "--help", "--version", "--flag", "--gtest_filter"}


def commands_of_script(script):
    """The simple commands of a shell script, as lists of words; here documents are left out."""
    script = re.sub(r"<<-?'?(\w+)'?\n.*?^\1$", "", script, flags=re.DOTALL | re.MULTILINE)
    for line in script.replace("\\\n", " ").splitlines():
        try:
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words = list(lexer)
        except ValueError:
            continue  # A string of several lines: not about our programs.
        command = []
        for word in [*words, ";"]:
            if re.fullmatch(r"[;&|()<>]+", word):
                if command:
                    yield command
                command = []
            else:
                command.append(word)


def our_command(words):
    """From the name of one of our programs on; nothing if there is none."""
    for index, word in enumerate(words):
        name = word.rpartition("/")[2]
        # The name of a program as another's argument, as in `systemctl restart backup-service`.
        if name in PROGRAMS and (index == 0 or (words[0].startswith("docker") and name == "backupctl")):
            return [name, *words[index + 1:]]
    return None


def documented_commands():
    """(page, command) of every command of ours in the documents."""
    for page in PAGES:
        text = page.read_text()
        scripts = FENCE.findall(text) + [" ".join(span.split()) for span in SPAN.findall(ANY_FENCE.sub("", text))]
        for script in scripts:
            for words in commands_of_script(script):
                command = our_command(words)
                if command and len(command) > 1:
                    yield page.relative_to(ROOT), command


class DocumentsTest(ClusterTest):
    def run_command(self, command, **variables):
        return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, cwd=self.folder, stdin=subprocess.DEVNULL,
                              env={**os.environ, **variables})

    def parse(self, command):
        """Why a command is no good; nothing if it is. A service is not there, so nothing is done."""
        program, *words = [STAND_INS.get(word, word) for word in command]
        if program == "backupctl":
            if words in (["COMMAND"], ["--json", "COMMAND"]):
                return None
            if any(words == list(place)[:len(words)] for place in program_help.places(BIN_DIR / program)):
                words.append("--help")  # Only the command is named, not how it is called.
            if all(word.startswith("-") for word in words):
                words.append("--help")  # Nor a command.
            words = [re.sub(r"^--service=.*", "--service=127.0.0.1:1", word) for word in words
                     if not word.startswith("--tls-")]
            done = self.run_command([BIN_DIR / program, *words], BACKUP_SERVICE="127.0.0.1:1")
            return done.stderr if done.returncode == USAGE and "--yes" not in done.stderr else None
        if program == "legacy-client":
            (self.folder / "transfer.info").write_text("127.0.0.1:1\nname\nfile\n")
            mine = (ROOT / "bridge/dialects/c.textproto").read_text().replace('name: "C"', 'name: "mine"')
            (self.folder / "mine.textproto").write_text(mine)
            words = [re.sub(r"^--dir=.*", "--dir=.", word) for word in words]
            done = self.run_command([BIN_DIR / program, *words])
            return done.stderr if done.returncode == USAGE else None
        if words == ["--help"]:
            return None
        known = program_help.options_of(BIN_DIR / program)
        unknown = [word for word in words if OPTION.match(word) and OPTION.match(word).group() not in known]
        return f"there is no {unknown}" if unknown else None

    def test_every_command_exists_and_is_used_as_it_can_be(self):
        count = 0
        for page, command in documented_commands():
            count += 1
            with self.subTest(page=str(page), command=shlex.join(command)):
                self.assertIsNone(self.parse(command))
        self.assertGreater(count, 40)

    def test_every_option_that_is_named_exists(self):
        known = OTHER_OPTIONS | program_help.options_of_libraries(BIN_DIR / "backup-service")
        for program in PROGRAMS:
            for place in program_help.places(BIN_DIR / program) if program == "backupctl" else [()]:
                known |= program_help.options_of(BIN_DIR / program, *place)
        for page in PAGES:
            for span in SPAN.findall(ANY_FENCE.sub("", page.read_text())):
                if span.startswith("--") and page.parent.name != "adr" and page.name != "performance.md":
                    option = OPTION.match(span)
                    self.assertTrue(option is None or option.group() in known, f"{page.name} names `{span}`, which no program has")

    def test_the_recipes_for_backing_up_and_restoring_work_when_pasted(self):
        cluster = self.start()
        text = (ROOT / "README.md").read_text()
        sections = [text.split(f"\n## {name}\n")[1].split("\n## ")[0] for name in ("Pointing an old client at it", "Restoring")]
        scripts = [script for section in sections for script in FENCE.findall(section) if "--idle_shutdown" not in script]
        self.assertEqual(len(scripts), 2)
        script = "\n".join(["set -e", *scripts]).replace("127.0.0.1:1357", f"127.0.0.1:{cluster.port}")
        script = script.replace("/tmp/", f"{self.folder}/tmp/").replace("build/release/bin", str(BIN_DIR.resolve()))
        tomorrow = datetime.date.today() + datetime.timedelta(days=1)  # By README.md's moment there was no backup yet.
        self.assertIn("--as-of '2026-05-01 18:30'", script)
        script = script.replace("2026-05-01 18:30", tomorrow.isoformat())
        done = self.run_command(["bash", "-c", script], BACKUP_SERVICE=f"127.0.0.1:{cluster.service_port}")
        self.assertEqual(done.returncode, 0, done.stderr)
        hostname = pathlib.Path("/etc/hostname").read_bytes()
        self.assertEqual((self.folder / "tmp/restored/etc/hostname").read_bytes(), hostname)
        self.assertEqual((self.folder / "hostname").read_bytes(), hostname)


class CompletionTest(unittest.TestCase):
    def script(self, shell):
        return subprocess.run([BIN_DIR / "backupctl", "completion", shell], capture_output=True, text=True, timeout=WAIT_S,
                              check=True).stdout

    def expected(self, place):
        program = BIN_DIR / "backupctl"
        return {*program_help.commands_of(program, *place), *program_help.options_of(program, *place),
                *program_help.options_of(program), "--help", "-h"}

    def test_bash_offers_what_help_tells(self):
        for place in program_help.places(BIN_DIR / "backupctl"):
            words = shlex.join(["backupctl", "--json", *place, ""])
            done = subprocess.run(
                ["bash", "-c", f'source /dev/stdin; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _backupctl '
                 'backupctl ""; printf "%s\\n" "${COMPREPLY[@]}"'],
                input=self.script("bash"), capture_output=True, text=True, timeout=WAIT_S, check=True)
            self.assertEqual(set(done.stdout.split()), self.expected(place), place)

    def test_the_other_shells_are_told_the_same(self):
        for shell, case in (("zsh", r'"{}"\) next="(.*)" ;;'), ("fish", r'case "{}"\n\s*string split \' \' -- "(.*)"')):
            script = self.script(shell)
            for place in program_help.places(BIN_DIR / "backupctl"):
                words = re.search(case.format("".join(f" {word}" for word in place)), script)
                self.assertEqual(set(words.group(1).split()), self.expected(place), (shell, place))

    def test_man_pages_tell_what_help_tells(self):
        # A library's flag has another default then: what is told does not depend on who asks, or where it was built.
        done = subprocess.run([ROOT / ".ci/man_options.py", BIN_DIR], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "GLOG_v": "1"})
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
