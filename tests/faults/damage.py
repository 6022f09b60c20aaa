"""The catalog, and what is stored, damaged where nobody looks: it is told, nothing grows on it, and one command brings all back."""

import os
import shutil
import sqlite3
import subprocess

import grpc_client
import journal as j
from cluster import BIN_DIR, wait_until
from journaled_clients import ApiPlayer, LegacyPlayer, until_served
from oracle import DAMAGED, IS_DAMAGED, VERIFIED, Oracle, check_session_keys, run_backupctl
from scenario import scenario

PAGE = 4096
FLIPS = 16
UNIQUE = 32  # So many bytes of a content are nowhere else.
IN_CATALOG, IN_PACKS = (0, 1, 100, 5_000), (70_000, 300_000)
FILES = 8
PROGRAM_S = 120
STALE_S = 10
DATA_LOSS = 15
WRITES_NOTHING = "nothing is written to the catalog any more"
IS_WHOLE = "the catalog was checked in"  # At --v=1.
IS_UNREAD = "the check of the catalog: "
REBUILD = "backupctl state rebuild"
FORMS = ("plain", "sealed", "client")


def write_at(path, at, content):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(content)


def flip_at(dice, path, at):
    with open(path, "rb") as file:
        file.seek(at)
        byte = file.read(1)[0]
    write_at(path, at, bytes([byte ^ dice.randrange(1, 256)]))


class Template:
    """A data directory as a service left it, of which every round damages a copy."""

    def __init__(self, cluster, folder):
        self.data_dir, self.folder = cluster.data_dir, folder
        shutil.copytree(self.data_dir, folder)

    def put_in_place(self):
        shutil.rmtree(self.data_dir)
        shutil.copytree(self.folder, self.data_dir)


# Each damages the catalog of a service that does not run, and says how; nothing if it cannot.


def flip(dice, catalog, _):
    """1 to 16 bytes anywhere."""
    places = sorted({dice.randrange(catalog.stat().st_size) for _ in range(dice.randrange(1, FLIPS + 1))})
    for at in places:
        flip_at(dice, catalog, at)
    return f"the bytes at {places} are changed"


def flip_content(dice, catalog, _):
    """A byte of a content that only the catalog has."""
    with sqlite3.connect(catalog) as database:
        number, payload = dice.choice(database.execute(
            "SELECT chunk_no, payload FROM chunk_payloads UNION ALL SELECT -version_id, content FROM inline_contents").fetchall())
    database.close()
    begin = catalog.read_bytes().find(payload[:UNIQUE])
    if len(payload) < UNIQUE or begin < 0:
        return ""
    at = begin + dice.randrange(UNIQUE)
    flip_at(dice, catalog, at)
    return f"the byte at {at}, of the content {number}, is changed"


def zero(dice, catalog, _):
    page = dice.randrange(catalog.stat().st_size // PAGE)
    write_at(catalog, page * PAGE, bytes(PAGE))
    return f"the page {page} is zeroed"


def cut(dice, catalog, _):
    size = dice.randrange(catalog.stat().st_size)
    os.truncate(catalog, size)
    return f"it is cut at {size}"


def put_older(_, catalog, older):
    shutil.copy(older, catalog)
    return "an older copy is in its place"


KINDS = (flip, flip_content, zero, cut, put_older)


def start(cluster, what):
    """Whether it did; then it has looked for damage. What is refused is refused with the command that helps."""
    begin = len(cluster.service.log())
    try:
        cluster.start_service()
    except AssertionError:
        done = subprocess.run([BIN_DIR / "backup-service", f"--data_dir={cluster.data_dir}", "--listen=127.0.0.1:0"],
                              capture_output=True, text=True, timeout=PROGRAM_S)
        assert done.returncode in (DAMAGED, 10) and REBUILD in done.stderr.splitlines()[-1], f"{what}: {done.returncode} {done.stderr}"
        return False
    wait_until(lambda: any(text in cluster.service.log()[begin:] for text in (WRITES_NOTHING, IS_WHOLE, IS_UNREAD)), "the catalog is checked")
    return True


def check_reads(run, cluster, what):
    """Of what can be read every byte is right; nothing hangs, nothing ends."""
    for (client, file), uploads in run.journal.by_file().items():
        try:
            with grpc_client.GrpcClient(cluster.service_port, timeout=STALE_S) as api:
                content = api.download(client_id=client, file_name=file)
        except grpc_client.CallError:
            continue
        assert j.digest(content) in {upload.sha256 for upload in uploads}, f"{what}: {client}/{file} has bytes that nobody sent"
    assert cluster.service.process.poll() is None, f"{what}: it ended:\n{cluster.service.log()[-4000:]}"


def check_refuses(cluster, caller, what):
    catalog = (cluster.data_dir / "catalog.db").read_bytes()
    try:
        with grpc_client.GrpcClient(cluster.service_port, timeout=STALE_S) as api:
            api.upload(b"content", client_id=caller.id, file_name="refused", upload_id="00000000-0000-4000-8000-000000000001")
        raise AssertionError(f"{what}: an upload is taken")
    except grpc_client.CallError as error:
        assert error.code == grpc_client.FAILED_PRECONDITION and REBUILD in error.message, f"{what}: {error}"
    assert (cluster.data_dir / "catalog.db").read_bytes() == catalog, f"{what}: it was written to"


def look(run, cluster, caller, what):
    """What a service makes of its damaged catalog: everything is as it was, or it is told."""
    begin = len(cluster.service.log())
    if not start(cluster, what):
        return
    check_reads(run, cluster, what)
    if WRITES_NOTHING in cluster.service.log()[begin:]:
        check_refuses(cluster, caller, what)
    else:
        findings = [event["finding"] for event in run_backupctl(cluster.service_port, "--json", "verify", code=DAMAGED) if "finding" in event]
        problems = Oracle(run.journal, cluster.service_port).check()
        assert findings or not problems, f"{what}, and nothing says so, though: {[str(problem) for problem in problems[:5]]}"
    cluster.service.kill()


def problems_after_rebuild(run, cluster, what, *flags):
    """What is still wrong then."""
    done = subprocess.run([BIN_DIR / "backupctl", "state", "rebuild", f"--data_dir={cluster.data_dir}", *flags], capture_output=True,
                          text=True, timeout=PROGRAM_S)
    assert done.returncode in (0, DAMAGED), f"{what}: the rebuild ends with {done.returncode}: {done.stderr}"
    cluster.start_service()
    cluster.bridge.kill()
    cluster.start_bridge()  # Which would try again now and then, and has no time here.
    problems = Oracle(run.journal, cluster.service_port).check() + check_session_keys(run.journal, run.journal.old_clients)
    cluster.service.kill()
    assert problems or done.returncode == 0, f"{what}: nothing is wrong, but {done.stderr}"
    return problems


def recover(run, cluster, what):
    """As the drill has it: what a catalog that looks sound says wrong of a version, a chosen snapshot has right."""
    problems = problems_after_rebuild(run, cluster, what)
    if problems:
        run.note(f"damaged_catalog: a snapshot had to be chosen, as {what}: {problems[0]}")
        newest = max((cluster.data_dir / "store" / "snapshots").glob("*.snapshot"))
        run.problems += problems_after_rebuild(run, cluster, what, f"--snapshot={newest}")
    if run.problems:
        run.fail(f"after the rebuild, as {what}")


def live(run, players, sizes, rounds=2):
    for _ in range(rounds):
        for player in players:
            for number in range(FILES):
                content = run.dice.randbytes(run.dice.choice(sizes))
                until_served(lambda: run.check(player.transfer(f"file {number}", content)))


def make_store(run, cluster):
    """Old clients and callers, a state of their store, and later ones of all of it; returns the players and the first state."""
    players = [LegacyPlayer(run.journal, cluster.port, "old", run.dice).sign_up(),
               ApiPlayer(run.journal, cluster.service_port, "caller", run.dice).sign_up()]
    live(run, players, IN_CATALOG, rounds=1)
    assert cluster.service.stop() == 0
    older = shutil.copy(cluster.data_dir / "catalog.db", run.folder / "older.db")
    cluster.start_service()
    live(run, players, IN_CATALOG + IN_PACKS)
    for player in players:
        if isinstance(player, ApiPlayer):
            player.close()
    with grpc_client.GrpcClient(cluster.service_port) as api:
        api.call("BackUpState")
    return players, older


@scenario("R9", deadline_s=280, soak_deadline_s=3 * 3600)
def damaged_catalog(run):
    """bytes of the catalog changed, pages zeroed, its end cut off, an older copy: told, and all is back after `state rebuild`"""
    cluster = run.start(service_flags=["--snapshot_interval=0s", "--v=1", f"--at_rest={run.dice.choice(FORMS)}"])
    players, older = make_store(run, cluster)
    assert cluster.service.stop() == 0
    template = Template(cluster, run.folder / "template")
    for _ in range(run.times(3, 1000)):
        template.put_in_place()
        what = run.dice.choice(KINDS)(run.dice, cluster.data_dir / "catalog.db", older)
        if what:
            run.tally.faults += 1
            look(run, cluster, players[-1], what)
            recover(run, cluster, what)
    template.put_in_place()
    cluster.start_service()
    cluster.bridge.kill()
    cluster.start_bridge()
    run.judge(cluster)


def scrub(port):
    """A whole cycle from now on."""
    def last_end():
        return run_backupctl(port, "--json", "scrub", "status")[0].get("last_end_time", "")
    before = last_end()
    run_backupctl(port, "--json", "scrub", "start")
    wait_until(lambda: last_end() > before, "a cycle of scrub comes to its end")


def damage_blobs(run, blobs):
    """Some of them, one in each way; returns {path: how}."""
    dice, flips = run.dice, run.times(3, 12)
    chosen = dice.sample(sorted(blobs), flips + 3)
    for path in chosen[:flips]:
        flip_at(dice, path, dice.randrange(path.stat().st_size))
    chosen[flips].unlink()
    first, second = chosen[flips + 1:]
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    return dict(zip(chosen, ["a byte is changed"] * flips + ["it is gone"] + ["it is another's"] * 2))


def versions_of(api, client, file):
    return api.pages("ListVersions", "versions", client_id=client, file_name=file)


def check_found(run, cluster, owner, damaged):
    """After a cycle of scrub: what cannot be read is marked, and told by its reason, and all else can be read."""
    log = cluster.service.log()
    findings = [event["finding"] for event in run_backupctl(cluster.service_port, "--json", "verify", code=DAMAGED) if "finding" in event]
    assert {finding["reason"] for finding in findings} <= {"BLOB_DAMAGED"}, findings
    told = {(finding["client_id"], finding["file_name"]) for finding in findings}
    with grpc_client.GrpcClient(cluster.service_port) as api:
        states = {file: versions_of(api, *file)[0].state for file in owner.values()}
        for path, file in owner.items():
            try:
                is_right = j.digest(api.download(client_id=file[0], file_name=file[1])) == run.journal.by_file()[file][-1].sha256
                assert is_right, f"{file} has other bytes: {damaged.get(path)}"
            except grpc_client.CallError as error:
                assert error.code == DATA_LOSS and path in damaged, f"{file} cannot be read: {error}, {damaged.get(path)}"
                assert states[file] == IS_DAMAGED and file in told, f"{file} cannot be read, and scrub did not find it: {damaged[path]}"
                continue
            assert states[file] == VERIFIED, f"{file} can be read, and is not verified"
            # What a pack says of itself is not needed to read it; to rebuild a catalog it is.
            assert path not in damaged or path.name in log, f"nothing tells of {path}: {damaged[path]}"


@scenario("R11", deadline_s=180)
def damaged_blobs(run):
    """a byte of some blobs changed, one of them gone, two in each other's place: scrub finds all, others are as they were, and all heals"""
    cluster = run.start(service_flags=["--snapshot_interval=0s", "--repack_interval=0s", "--sweep_interval=1s",
                                       f"--at_rest={run.dice.choice(FORMS)}"])
    players = [LegacyPlayer(run.journal, cluster.port, "old", run.dice).sign_up(),
               ApiPlayer(run.journal, cluster.service_port, "caller", run.dice).sign_up()]
    contents, owner = {}, {}
    for number in range(run.times(12, 60)):
        player, name = run.dice.choice(players), f"file {number}"
        content = run.dice.randbytes(run.dice.choice(IN_PACKS))
        before = set(cluster.blob_sizes())
        until_served(lambda: run.check(player.transfer(name, content)))
        contents[player.id, name] = player, content
        for path in set(cluster.blob_sizes()) - before:
            owner[path] = player.id, name
    damaged = damage_blobs(run, owner)
    run.tally.faults += len(damaged)
    scrub(cluster.service_port)
    check_found(run, cluster, owner, damaged)
    for path in damaged:
        player, content = contents[owner[path]]
        until_served(lambda: run.check(player.transfer(owner[path][1], content)))

    def is_healed():
        with grpc_client.GrpcClient(cluster.service_port) as api:
            return all(version.state != IS_DAMAGED for file in contents for version in versions_of(api, *file))
    wait_until(is_healed, "what is sent again heals")
    players[1].close()
    run.judge(cluster)
