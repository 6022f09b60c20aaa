"""The judge after every run with faults: what the store tells, against the journal of what its clients were told.

Its invariants (nobody is to be connected any more but the oracle):
 I1  every upload whose checksum was acknowledged is there with its bytes, but for one that its client gave up afterwards;
 I2  and every one whose verdict was acknowledged is in the state which that says;
 I3  what a restore gives is the last confirmed content, and nothing is there that nobody sent, nor twice;
 I4  everything can be read back, no blob is without a row, no row without a blob, and the catalog's own check passes;
 I5  nobody did anything by hand: the oracle only starts and stops the service;
 I6  no secret of the run is in any log or other file that is not to have it;
 I7  descriptors, threads and memory are what they were before.
"""

import base64
import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import sqlite3
import subprocess
import tempfile
import urllib.parse

import grpc_client
import journal as j
import model_client as m
from cluster import BIN_DIR
from stored_files import client_text

VERIFY_S = 600
PARTIAL, DAMAGED = 3, 14
RECEIVED, VERIFIED, ABANDONED, IS_DAMAGED = range(1, 5)
STATES = {RECEIVED: "RECEIVED", VERIFIED: "VERIFIED", ABANDONED: "ABANDONED", IS_DAMAGED: "DAMAGED"}
SECRET_PART = 8
# What a process may have more than before: pools that grow to what was needed at once.
SPARE_DESCRIPTORS = 24
SPARE_THREADS = 40
SPARE_MEMORY = 64 << 20


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is wrong, as one of the invariants says it."""

    invariant: str
    kind: str
    what: str

    def __str__(self):
        return f"{self.invariant} {self.kind}: {self.what}"


def run_backupctl(port, *arguments, code=0):
    done = subprocess.run([BIN_DIR / "backupctl", f"--service=127.0.0.1:{port}", *arguments], capture_output=True, timeout=VERIFY_S)
    assert done.returncode in (code, 0), f"backupctl {arguments} ends with {done.returncode}: {done.stderr.decode()}"
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


class Oracle:
    """Of one journal and one running service."""

    def __init__(self, journal, port):
        self.journal, self.port = journal, port
        self.problems = []

    def _add(self, invariant, kind, what):
        self.problems.append(Problem(invariant, kind, what))

    def check(self):
        """All that can be seen from outside; returns the problems."""
        with grpc_client.GrpcClient(self.port) as api:
            clients = {client.client_id: client for client in api.pages("ListClients", "clients")}
            stored = {client_id: self._versions(api, client_id) for client_id in clients}
            self._check_clients(clients)
            for (client, file), uploads in self.journal.by_file().items():
                self._check_file(client, file, uploads, stored.get(client, {}).get(file, []))
                self._check_bytes(api, client, file, stored.get(client, {}).get(file, []))
            self._check_strangers(clients, stored)
        for client in set(stored) & set(self.journal.clients):
            self._check_restore(client)
        self._check_readable()
        return self.problems

    @staticmethod
    def _versions(api, client_id):
        """By file name: its versions, newest first."""
        return {file.file_name: api.pages("ListVersions", "versions", client_id=client_id, file_name=file.file_name)
                for file in api.pages("ListFiles", "files", client_id=client_id)}

    def _is_removed(self, client, file="", sha256="", done=False):
        """Whether somebody deleted that, or (unless `done`) may have."""
        return any(removal.client == client and removal.file in ("", file) and removal.sha256 in ("", sha256)
                   and (removal.done or not done) for removal in self.journal.removals.values())

    def _check_clients(self, clients):
        for client_id, client in self.journal.clients.items():
            found = clients.get(client_id)
            if found is None:
                if not self._is_removed(client_id):
                    self._add("I1", "client missing", f"{client.name} {client_id}")
            elif found.name != client.name or bool(client.session_key) > found.has_public_key:
                self._add("I1", "client changed", f"{client.name} {client_id} is {found.name}, key: {found.has_public_key}")

    def _check_file(self, client, file, uploads, versions):
        """Counted by content, as versions do not tell of which upload they are."""
        found = collections.defaultdict(collections.Counter)
        for version in versions:
            found[version.sha256.hex()][version.state] += 1
        sizes = {version.sha256.hex(): version.size_bytes for version in versions}
        for sha256 in {upload.sha256 for upload in uploads}:
            of = [upload for upload in uploads if upload.sha256 == sha256]
            self._check_content(f"{client}/{file} {sha256[:12]}", client, file, of, found.pop(sha256, collections.Counter()))
            if sha256 in sizes and sizes[sha256] != of[0].size:
                self._add("I1", "wrong size", f"{client}/{file}: {sizes[sha256]} instead of {of[0].size}")
        for sha256, states in found.items():
            self._add("I3", "nobody sent it", f"{client}/{file} {sha256[:12]}: {dict(states)}")
        self._check_newest(client, file, uploads, versions)

    def _check_content(self, where, client, file, uploads, states):
        """Uploads of one content against the versions that have it."""
        if states[IS_DAMAGED]:
            self._add("I1", "damaged", where)
        removable = self._is_removed(client, file, uploads[0].sha256)
        confirmed = sum(upload.verdict == j.VERIFIED and bool(upload.told) for upload in uploads)
        confirmable = sum(upload.verdict == j.VERIFIED for upload in uploads)
        given_up = sum(upload.verdict in (j.RETRYING, j.ABANDONED) for upload in uploads)
        kept = sum(bool(upload.stored) for upload in uploads if upload.verdict not in (j.RETRYING, j.ABANDONED))
        sound = states[RECEIVED] + states[VERIFIED] + states[IS_DAMAGED]
        if sound < kept and not removable:
            self._add("I1", "version lost", f"{where}: {kept} were stored, {sound} are there")
        if states[VERIFIED] + states[IS_DAMAGED] < confirmed and not removable:
            self._add("I2", "not verified", f"{where}: {confirmed} were confirmed, {states[VERIFIED]} are VERIFIED")
        if states[VERIFIED] > confirmable:
            self._add("I3", "verified by nobody", f"{where}: {confirmable} were confirmed, {states[VERIFIED]} are VERIFIED")
        if sum(states.values()) > len(uploads):
            self._add("I3", "version too many", f"{where}: {len(uploads)} were sent, {sum(states.values())} are there")
        if states[ABANDONED] > given_up:
            self._add("I2", "abandoned by nobody", f"{where}: {given_up} were given up, {states[ABANDONED]} are ABANDONED")

    def _check_newest(self, client, file, uploads, versions):
        """The newest verified version is the last that was confirmed, or one of which that may be."""
        newest = next((version.sha256.hex() for version in versions if version.state == VERIFIED), None)
        confirmable = [upload for upload in uploads if upload.verdict == j.VERIFIED]
        confirmed = [upload for upload in confirmable if upload.told and not self._is_removed(client, file, upload.sha256)]
        possible = {upload.sha256 for upload in confirmable
                    if not any(later.begin >= upload.stored for later in confirmed)}
        if not confirmed:
            possible.add(None)
        if newest not in possible:
            self._add("I3", "not the newest", f"{client}/{file}: {newest and newest[:12]}, not one of {possible}")

    def _check_bytes(self, api, client, file, versions):
        for version in versions:
            if version.state == ABANDONED:
                continue
            where = f"{client}/{file} version {version.version_id}"
            try:
                content = api.download(client_id=client, file_name=file, version_id=version.version_id)
            except grpc_client.CallError as error:
                self._add("I1", "not readable", f"{where}: {error}")
                continue
            if j.digest(content) != version.sha256.hex():
                self._add("I1", "other bytes", where)

    def _check_strangers(self, clients, stored):
        """Clients and files that nobody of the journal made."""
        for client in set(clients) - set(self.journal.clients):
            if any(stored[client].values()):
                self._add("I3", "client too many", f"{clients[client].name} {client}")
        known = self.journal.by_file()
        for client in set(clients) & set(self.journal.clients):
            for file in stored[client]:
                if (client, file) not in known:
                    self._add("I3", "file too many", f"{client}/{file}")

    def _check_restore(self, client):
        """Everything, as somebody who lost a disk would: each file is what its newest confirmed version was."""
        known = self.journal.by_file()
        with tempfile.TemporaryDirectory() as folder:
            events = run_backupctl(self.port, "--json", "restore", f"--client={client}", f"--to={folder}/files", code=PARTIAL)
            restored = {}
            for event in events:
                if "restored" in event:
                    root = os.fsencode(folder) + b"/files/"
                    path = os.path.realpath(root + urllib.parse.unquote_to_bytes(event["restored"]["path_text"]))
                    if not path.startswith(root):
                        self._add("I3", "restored outside", f"{client}/{event['restored']['file_name']}: {path}")
                        continue
                    with open(path, "rb") as file:
                        restored[event["restored"]["file_name"]] = j.digest(file.read())
                elif "failed" in event:
                    self._add("I1", "not restored", f"{client}/{event['failed']['file_name']}: {event['failed']['error']}")
        for (of, file), uploads in known.items():
            needed = [one for one in uploads if one.verdict == j.VERIFIED and one.told]
            if of != client or not needed or self._is_removed(client, file):
                continue
            if file not in restored:
                self._add("I2", "restore lacks it", f"{client}/{file}")
            elif restored[file] not in {one.sha256 for one in uploads}:
                self._add("I1", "restored other bytes", f"{client}/{file}")

    def _check_readable(self):
        for event in run_backupctl(self.port, "--json", "verify", code=DAMAGED):
            if "finding" in event:
                finding = event["finding"]
                self._add("I4", finding["kind"].lower(), f"{finding['client_id']}/{finding['file_name']} "
                                                         f"version {finding['version_id']}: {finding['detail']}")


def check_catalog(data_dir):
    """I4 of a service that is stopped, or was killed: the catalog's own checks."""
    with contextlib.closing(sqlite3.connect(f"file:{data_dir}/catalog.db?mode=ro", uri=True)) as catalog:
        said = [row[0] for row in catalog.execute("PRAGMA integrity_check")]
        problems = [] if said == ["ok"] else [Problem("I4", "catalog damaged", text) for text in said]
        return problems + [Problem("I4", "row without its parent", str(row)) for row in catalog.execute("PRAGMA foreign_key_check")]


def check_session_keys(journal, clients):
    """I1 of keys: each client (a model_client that is in the journal) gets the key that it had."""
    problems = []
    for client in clients:
        known = journal.clients[client_text(client.id)].session_key
        try:
            if client.reconnect() == m.RECONNECTED and j.digest(client.aes) == known:
                continue
        except (AssertionError, ValueError):
            pass
        problems.append(Problem("I1", "wrong session key", client.name.decode()))
    return problems


def _forms(secret):
    """What a secret may be written as: parts of it raw, in hex and in base64 at each of its three positions."""
    yield "raw", secret[:SECRET_PART]
    yield "hex", secret[:SECRET_PART].hex().encode()
    yield "hex", secret[:SECRET_PART].hex().upper().encode()
    for shift in range(3):
        part = secret[shift:shift + (len(secret) - shift) // 3 * 3][:12]
        yield "base64", base64.b64encode(part).rstrip(b"=")


def check_secrets(paths, secrets):
    """I6: `secrets` is name: bytes, at least 16 of them."""
    problems = []
    forms = [(name, form, text) for name, secret in secrets.items() for form, text in _forms(secret)]
    for path in paths:
        data = pathlib.Path(path).read_bytes()
        problems += [Problem("I6", "secret told", f"{name} ({form}) in {path}, line {data[:data.index(text)].count(bytes([10])) + 1}")
                     for name, form, text in forms if text in data]
    return problems


@dataclasses.dataclass(frozen=True)
class Resources:
    """What a process holds."""

    descriptors: int
    threads: int
    memory: int

    @classmethod
    def of(cls, process):
        folder = pathlib.Path(f"/proc/{process.process.pid}")
        status = (folder / "status").read_text()
        number = {name: int(re.search(rf"{name}:\s+(\d+)", status).group(1)) for name in ("Threads", "VmRSS")}
        return cls(len(list((folder / "fd").iterdir())), number["Threads"], number["VmRSS"] << 10)

    def problems_since(self, before, name, but_for=()):
        """I7, but for some of the fields."""
        limits = (("descriptors", SPARE_DESCRIPTORS), ("threads", SPARE_THREADS), ("memory", SPARE_MEMORY))
        return [Problem("I7", f"more {field}", f"{name}: {getattr(before, field)} before, {getattr(self, field)} now")
                for field, spare in limits if field not in but_for and getattr(self, field) > getattr(before, field) * 1.1 + spare]
