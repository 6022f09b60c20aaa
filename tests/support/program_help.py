"""The commands and options of the programs, from their --help."""

import functools
import re
import subprocess

OPTION = re.compile(r"^ {2,4}(-\S.*)$")
OPTION_NAME = re.compile(r"--?[A-Za-z][\w-]*")


@functools.cache
def help_of(program, *command):
    return subprocess.run([program, *command, "--help"], capture_output=True, text=True, timeout=20, check=True).stdout


def commands_of(program, *command):
    """The subcommands of a command of backupctl, in order."""
    section = help_of(program, *command).partition("\nSubcommands:\n")[2]
    return re.findall(r"^  (\S+)", section.partition("\n\n")[0], re.MULTILINE)


def options_of(program, *command):
    """All spellings of all options, --help aside."""
    names = set()
    for line in help_of(program, *command).splitlines():
        if OPTION.match(line):
            # What follows two blanks is about the option, and may name others.
            names.update(OPTION_NAME.findall(re.split(r"  +|=", line.strip())[0]))
    return names - {"-h", "--help"}


def options_of_libraries(program):
    """The flags that a program has from gflags and glog, beside its own."""
    text = subprocess.run([program, "--helpfull"], capture_output=True, text=True, timeout=20, check=True).stdout
    return {f"--{name}" for name in re.findall(r"^    -(\w+) \(", text, re.MULTILINE)}


def leaves(program, *command):
    """The commands that have no subcommands, as tuples of words."""
    below = commands_of(program, *command)
    if not below:
        return [command]
    return [leaf for word in below for leaf in leaves(program, *command, word)]


def places(program, *command):
    """All commands, that without words first."""
    return [command, *(place for word in commands_of(program, *command) for place in places(program, *command, word))]
