"""A real PostgreSQL, of the newest release that this machine has, in a folder of its own: no port, only a socket there.

Who runs the tests as root runs it as the user of Debian's package, since it refuses to be root's."""

import atexit
import contextlib
import itertools
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.parse

DEADLINE_S = 120
ADMINISTRATOR = "postgres"
ROLE = "backup"
# Killed processes lose nothing that was written, synced or not, and a disk is not what is tested.
SETTINGS = {"listen_addresses": "''", "fsync": "off", "shared_buffers": "32MB", "max_connections": "200"}


def programs():
    """Where its programs are; None if they are not installed."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Server:
    """Running when it is there. `with` closes it."""

    def __init__(self, **settings):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="postgres"))
        self.process = None
        self.passwords = self.folder / "passwords"
        self.names = itertools.count()
        if os.geteuid() == 0:
            owner = pwd.getpwnam(ADMINISTRATOR)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
            self.folder.chmod(0o755)  # Clients are root's.
        try:
            self.run("initdb", "--pgdata", self.folder / "data", "--username", ADMINISTRATOR, "--auth", "trust",
                     "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
            self.set(**SETTINGS, unix_socket_directories=f"'{self.folder}'", **settings)
            self.start()
            self.sql(f"CREATE ROLE {ROLE} LOGIN")
        except BaseException:
            self.close()
            raise

    def command(self, program, *arguments):
        """It ends with the thread of the test that runs it, however that ends."""
        prefix = ["setpriv", "--pdeathsig=KILL"]
        if os.geteuid() == 0:
            prefix += [f"--reuid={ADMINISTRATOR}", f"--regid={ADMINISTRATOR}", "--clear-groups"]
        return [*prefix, programs() / program, *arguments]

    def run(self, program, *arguments):
        done = subprocess.run(self.command(program, *arguments), capture_output=True, text=True, timeout=DEADLINE_S, cwd="/")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def set(self, **settings):
        """From its next start on."""
        with open(self.folder / "data" / "postgresql.conf", "a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(self.command("postgres", "-D", self.folder / "data"), stdout=log, stderr=log,
                                            cwd="/")
        deadline = time.monotonic() + DEADLINE_S
        while subprocess.run([programs() / "pg_isready", "--quiet", "--host", self.folder], check=False).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("PostgreSQL does not start:\n" + (self.folder / "log").read_text(errors="replace"))
            time.sleep(0.05)

    def sql(self, text, database="postgres", user=ADMINISTRATOR):
        """Rows as lines, columns with | between."""
        done = subprocess.run(
            [programs() / "psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--host",
             self.folder, "--username", user, "--dbname", database],
            input=text, capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def dump(self, database):
        """Statements that make a copy of it."""
        return self.run("pg_dump", "--host", self.folder, "--username", ADMINISTRATOR, "--no-owner", database)

    def new_database(self):
        """The name of an empty one that the role owns."""
        name = f"catalog{next(self.names)}"
        self.sql(f"CREATE DATABASE {name} OWNER {ROLE}")
        return name

    def url(self, database, **options):
        query = urllib.parse.urlencode({"host": self.folder, **options})
        return f"postgres://{ROLE}@/{database}?{query}"

    def require_password(self, password):
        """Of the role, from now on; it is in the file `passwords`."""
        self.sql(f"ALTER ROLE {ROLE} PASSWORD '{password}'")
        self.passwords.write_text(f"*:*:*:{ROLE}:{password}\n")
        self.passwords.chmod(0o600)
        rules = self.folder / "data" / "pg_hba.conf"
        rules.write_text(f"local all {ROLE} scram-sha-256\n" + rules.read_text())
        self.sql("SELECT pg_reload_conf()")

    def kill(self):
        """All its processes at once, as when the machine loses power, but for its disk."""
        processes = [self.process.pid, *children(self.process.pid)]
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        deadline = time.monotonic() + DEADLINE_S
        while any(is_running(pid) for pid in processes) and time.monotonic() < deadline:
            time.sleep(0.01)

    def stop(self):
        """Ends every connection; nothing is lost."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=DEADLINE_S)

    def close(self):
        if self.process and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def children(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in task.read_text().split()]
    return found


def is_running(pid):
    try:
        state = re.search(r"^State:\s+(\S)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return False
    return bool(state) and state.group(1) != "Z"


SHARED = []


def shared():
    """One for all tests of this process."""
    if not SHARED:
        SHARED.append(Server())
        atexit.register(SHARED[0].close)
    return SHARED[0]
