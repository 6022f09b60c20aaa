"""What a running service has stored, asked as everybody else would: by backupctl, whatever the catalog and the store are."""

import json
import pathlib
import subprocess
import tempfile
import unicodedata
import uuid

from cluster import BIN_DIR

NOT_FOUND = 10
WAIT_S = 60


def backupctl(service, *arguments, codes=(0,)):
    """Standard output; None if there is no such object."""
    done = subprocess.run([BIN_DIR / "backupctl", f"--service=127.0.0.1:{service.port}", *arguments],
                          capture_output=True, text=True, timeout=WAIT_S)
    if done.returncode == NOT_FOUND:
        return None
    if done.returncode not in codes:
        raise AssertionError(f"backupctl {arguments} ends with {done.returncode}: {done.stderr}")
    return done.stdout


def client_text(client_id):
    """An id of the wire as the API writes it."""
    return str(uuid.UUID(bytes=client_id))


def name_text(name):
    """A name of the wire as the API writes it: control characters, bytes that are not UTF-8 and % as %XX."""
    def is_plain(character):
        return character != "%" and not 0xDC80 <= ord(character) <= 0xDCFF and unicodedata.category(character) != "Cc"
    return "".join(character if is_plain(character) else
                   "".join(f"%{byte:02X}" for byte in character.encode(errors="surrogateescape"))
                   for character in name.decode(errors="surrogateescape"))


def newest_verified(service, client_id, name):
    """The plaintext of the newest verified version, or None."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "file"
        got = backupctl(service, "--quiet", "file", "get", f"--out={path}", client_text(client_id), "--", name_text(name))
        return None if got is None else path.read_bytes()


def all_newest_verified(service, client_id):
    """The same of all files of a client: by name."""
    with tempfile.TemporaryDirectory() as folder:
        said = backupctl(service, "--json", "restore", f"--client={client_text(client_id)}", f"--to={folder}/files")
        lines = [json.loads(line) for line in said.splitlines()]
        files = [line["restored"] for line in lines if "restored" in line]
        return {file["file_name"]: (pathlib.Path(folder) / "files" / file["path"]).read_bytes() for file in files}
