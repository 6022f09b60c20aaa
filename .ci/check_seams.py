#!/usr/bin/env python3
"""Fails if what must survive a crash is written past base/file_system.h, where no test can have the disk fail or forget.

Of the service and what it is made of. The bridge keeps nothing; backupctl and legacy-client write what their users own, by
descriptors of folders. SQLite has a seam of its own (storage/sqlite/testing/fault_vfs.h). Reading needs no seam."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = ("base", "content", "crypto", "rpc", "services/backup", "storage")
# What opens, changes or syncs a file, or a name of one. To read is to say O_RDONLY.
RAW = re.compile(
    r"(?<![\w.>])(creat|copy_file_range|fallocate|fdatasync|fopen|fsync|ftruncate|link|linkat|mkdir|mkdirat|mkostemp|mkstemp|mkdtemp|"
    r"openat2?|posix_fallocate|pwritev?2?|rename|renameat2?|rmdir|symlink|sync_file_range|syncfs|truncate|unlink|unlinkat|writev?)\((?!\))|"
    r"(::|[=(]\s*|return\s+)open\((?![^;]*O_RDONLY)|::open\([^;]*O_DIRECTORY|\bstd::(ofstream|fstream)\b|"
    r"\bstd::remove\((?:[^(),]|\([^()]*\))*\)|"
    r"\b(std::filesystem|fs)::(copy|copy_file|create_director\w+|create_hard_link|remove|remove_all|rename|resize_file)\(", re.DOTALL)
# Texts and comments, which are passed over.
TEXT = re.compile(r'R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
# What it must find, and what it must not.
FOUND = ("::open(path, kFlags);", "::open(path, flags | O_CLOEXEC);", "fd = open(path.c_str(), O_WRONLY | O_CREAT);", "fopen(path, mode);",
         "::open(path, O_RDONLY | O_DIRECTORY);", 'Get("http://host"); ::unlink(path);', "std::rename(from, to);", "::writev(fd, parts, 2);",
         "std::remove(path.c_str());", "std::ofstream(path) << text;")
PASSED = ("::open(path, O_RDONLY | O_CLOEXEC);", "file.write(bytes);", "files->unlink(path);", "// ::unlink(path);", 'Log("::unlink(");',
          "std::remove(all.begin(), all.end(), one);", "fs_.Rename(from, to);", "Reopen(path);")
# Why these may.
ALLOWED = {
    "base/file_system.cc": "is what is behind the seam",
    "base/inherited_state.cc": "opens /dev/null, and tells the kernel what belongs into cores",
    "base/io_engine.cc": "does the writes in flight of DirectFile, which the seam lets bypass it by File::descriptor()",
    "base/listening_socket.cc": "removes a socket",
    "base/log_writer.cc": "the log promises nothing after a crash",
    "base/process.cc": "files that tell a parent of ports, and of nobody after a crash",
    "base/standard_error.cc": "writes to the terminal",
    "rpc/acceptor.cc": "removes a socket",
    "services/backup/open_storage.cc": "the lock of the data directory is the kernel's, and gone with the process",
    "services/backup/probes.cc": "asks the real disk whether it can be written to",
    # Not behind the seam yet: their crashes are played on the real disk, by tests that end the process at each step.
    "services/backup/jobs/snapshot_state.cc": "not yet; copies by SQLite, job_kill_test.cc ends it at each step",
    "services/backup/restore_state.cc": "not yet; moves whole catalogs of SQLite, restore_state_test.cc ends it at each step",
    "storage/space_reserve.cc": "not yet; what it keeps has no content",
    "storage/sqlite/rebuild.cc": "not yet; files of SQLite",
}


def is_checked(path):
    return path.suffix in (".cc", ".h") and not path.name.endswith("_test.cc") and "testing" not in path.parts


def without_texts(code):
    return TEXT.sub(lambda text: "\n" * text.group().count("\n"), code)


def main():
    found, unused = [], set(ALLOWED)
    found += [f"it does not find {line}" for line in FOUND if not RAW.search(without_texts(line))]
    found += [f"it finds {line}" for line in PASSED if RAW.search(without_texts(line))]
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if is_checked(path)]
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        code = without_texts(path.read_text())
        for match in RAW.finditer(code):
            unused.discard(name)
            if name not in ALLOWED:
                number = code.count("\n", 0, match.start()) + 1
                found.append(f"{name}:{number}: {match.group().split('(')[0]} is not behind base/file_system.h")
    found += [f"{name} needs no exception any more" for name in sorted(unused)]
    print("\n".join(found) if found else f"{len(files)} files write by base/file_system.h, but for {len(ALLOWED)} that need not")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
