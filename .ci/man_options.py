#!/usr/bin/env python3
"""Compares the man pages in deploy/man with the programs' --help, from which their lists of commands and options are made, and
backupctl's exit codes there with those in docs/operations.md.
usage: man_options.py BIN_DIR [--update]"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
MAN = ROOT / "deploy/man"
PAGES = {"backupctl": "backupctl.1", "legacy-client": "legacy-client.1", "backup-service": "backup-service.8",
         "backup-bridge": "backup-bridge.8"}
BEGIN, END = '.\\" From --help, by .ci/man_options.py:\n', '.\\" End of that.\n'
NAME_COLUMN = 34


def help_of(program, *command):
    return subprocess.run([program, *command, "--help"], capture_output=True, text=True, timeout=20, check=True).stdout


def escaped(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def entry(name, text):
    return f".TP\n.B {escaped(name)}\n{escaped(' '.join(text.split()))}\n"


def pairs(section):
    """The names and texts of a section of backupctl's help: a text may begin on the next line, and go on there."""
    found = []
    for line in section.splitlines():
        name, text = line[:NAME_COLUMN].strip(), line[NAME_COLUMN:]
        if not name:
            found[-1][1] += " " + text
        elif len(line) > NAME_COLUMN and line[NAME_COLUMN - 1] != " ":
            found.append([line.strip(), ""])
        else:
            found.append([name, text])
    return found


def of_backupctl(program, *command):
    sections = dict(re.findall(r"^(\w+):\n((?:  .*\n)+)", help_of(program, *command), re.MULTILINE))
    text = ""
    if command:
        title = help_of(program, *command).splitlines()[0]
        positionals = [name for name, _ in pairs(sections.get("Positionals", ""))]
        usage = " ".join([*command, *(name.removesuffix(" REQUIRED") for name in positionals)])
        if "Subcommands" not in sections:
            text += f".SS {escaped(usage)}\n{escaped(title)}\n"
        for kind in ("Positionals", "Options"):
            for name, about in pairs(sections.get(kind, "")):
                if name not in ("-h,--help",) and "Subcommands" not in sections:
                    text += entry(name.replace(" REQUIRED", ""), about)
    else:
        text += "".join(entry(name, about) for name, about in pairs(sections["Options"]))
        text += ".SH COMMANDS\n"
    for name, _ in pairs(sections.get("Subcommands", "")):
        text += of_backupctl(program, *command, name)
    return text


def of_flags(program):
    # By name: --help has them in the order of the paths of the sources they are from, wherever that was compiled.
    flags = re.findall(r"^  (--\S*)\n((?:      .*\n?)+)", help_of(program), re.MULTILINE)
    return "".join(entry(name, about) for name, about in sorted(flags))


def exit_codes(bin_dir):
    """backupctl's exit codes, by the place that tells them."""
    listed = r"(?:^|, )\s*(\d+) [a-z]"
    documented = (ROOT / "docs/operations.md").read_text().partition("## Exit codes")[2].partition("\n## ")[0]
    page = (MAN / "backupctl.1").read_text().partition(".SH EXIT STATUS\n")[2].partition("\n.SH")[0]
    footer = help_of(bin_dir / "backupctl").partition("Exit codes: ")[2]
    return {"docs/operations.md": re.findall(r"^\| (\d+) \|", documented, re.MULTILINE),
            "deploy/man/backupctl.1": re.findall(listed, " ".join(page.split())),
            "backupctl --help": re.findall(listed, " ".join(footer.split()))}


def main(bin_dir, update):
    wrong = []
    for name, page in PAGES.items():
        made = (of_backupctl if name == "backupctl" else of_flags)(bin_dir / name)
        path = MAN / page
        text = path.read_text()
        before, _, rest = text.partition(BEGIN)
        old, _, after = rest.partition(END)
        if old == made:
            continue
        wrong.append(page)
        if update:
            path.write_text(before + BEGIN + made + END + after)
    if update:
        print("changed:", *wrong)
        return 0
    codes = exit_codes(bin_dir)
    if len(set(map(tuple, codes.values()))) != 1:
        print("exit codes differ:", codes, file=sys.stderr)
        return 1
    if wrong:
        print(f"deploy/man: {', '.join(wrong)} and --help differ: run .ci/man_options.py BIN_DIR --update", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), "--update" in sys.argv[2:]))
