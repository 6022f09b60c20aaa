"""A Docker engine for the deployment tests: the one that runs, or, with TEST_START_DOCKER=1, one of our own."""

import contextlib
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Of the images: as deploy/compose.yaml takes it.
IMAGES_RELEASE = os.environ.get("BACKUP_DEBIAN_RELEASE", "bookworm")
# Kept between runs, because its layers spare most of the time of the next build.
DATA_ROOT = ROOT / "build" / "docker"
START_DEADLINE_S = 60
STOP_DEADLINE_S = 60
# What ctest takes for "skipped".
SKIPPED = 77


def run(*command, code=0, timeout=600, **options):
    """Standard output of a command that must end with `code`."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)
    if done.returncode != code:
        raise AssertionError(f"{command} ended with {done.returncode}, not {code}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def succeeds(*command, timeout=600):
    try:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=timeout)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def compose_command():
    """Docker's own plugin, else Debian's docker-compose; nothing where there is neither."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and succeeds(*command, "version"):
            return command
    return None


def skip(why):
    print(f"SKIPPED: {why}; ./check --deploy installs and starts what is needed")
    sys.exit(SKIPPED)


def _start(directory):
    """Our own engine: beside none, because two would share a bridge."""
    os.environ["DOCKER_HOST"] = f"unix://{directory}/docker.sock"
    with open(directory / "dockerd.log", "wb") as log:
        engine = subprocess.Popen(
            ["dockerd", f"--host={os.environ['DOCKER_HOST']}", f"--data-root={DATA_ROOT}",
             f"--exec-root={directory}/exec", f"--pidfile={directory}/pid"], stdout=log, stderr=log)
    deadline = time.monotonic() + START_DEADLINE_S
    while not succeeds("docker", "info"):
        if engine.poll() is not None or time.monotonic() > deadline:
            engine.terminate()
            raise AssertionError("dockerd does not start:\n" + (directory / "dockerd.log").read_text()[-5000:])
        time.sleep(0.2)
    return engine


def base_image(release):
    return f"debian:{release}-slim"


def _make_base_image(release):
    """Where no registry can be reached, the same from Debian's mirror, as apt knows it here."""
    mirrors = run("bash", "-c", "apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' | "
                  "grep -v security")
    with tempfile.TemporaryDirectory() as directory:
        run("debootstrap", "--variant=minbase", release, f"{directory}/base", *mirrors.split()[:1])
        shutil.rmtree(f"{directory}/base/var/cache/apt/archives")
        run("bash", "-c", f"set -o pipefail; tar -C {directory}/base -c . | docker import - {base_image(release)}")


def recipe(document, section):
    """The commands of a document's section, all its code blocks in order."""
    text = re.search(rf"^#+ {section}\n(.*?)^#", (ROOT / document).read_text(), re.DOTALL | re.MULTILINE).group(1)
    return "".join(re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE))


def has_image(name):
    return succeeds("docker", "image", "inspect", name) or succeeds("docker", "pull", name)


def build_image(name, dockerfile):
    with tempfile.TemporaryDirectory() as directory:
        (pathlib.Path(directory) / "Dockerfile").write_text(dockerfile)
        run("docker", "build", "--quiet", "--tag", name, directory)


def host_release():
    """Of what is built here outside of containers: the package. Ends the program as skipped where this is no Debian."""
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        system = {}
    if system.get("ID") != "debian" or "VERSION_CODENAME" not in system:
        print("SKIPPED: the package is for the release of Debian on which it is built, and this is none")
        sys.exit(SKIPPED)
    return system["VERSION_CODENAME"]


@contextlib.contextmanager
def engine(release):
    """An engine that has the release's base image; ends the program as skipped where there can be none."""
    with contextlib.ExitStack() as stack:
        if shutil.which("docker") is None or not succeeds("docker", "info"):
            if os.environ.get("TEST_START_DOCKER") != "1":
                skip("no Docker engine runs")
            directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            own = _start(directory)
            stack.callback(own.wait, STOP_DEADLINE_S)
            stack.callback(own.terminate)
        if not has_image(base_image(release)):
            if shutil.which("debootstrap") is None:
                skip(f"{base_image(release)} cannot be pulled, and debootstrap is not installed")
            _make_base_image(release)
        yield
