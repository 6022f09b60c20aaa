#!/usr/bin/env python3
"""Fails on an include that the layers forbid. The most specific folder of a file decides; what is not listed may use
nothing of ours. Tests may use everything."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Folder: the prefixes of our own includes it may use, and of those of outside libraries that are kept to few places.
LAYERS = {
    "base": (("base/",), ("isa-l/", "event2/", "prometheus/")),
    "base/rpc": (("base/", "google/rpc/"), ("grpcpp/", "openssl/")),
    "bridge/wire": (("base/", "bridge/wire/"), ()),
    "bridge/client": (("base/", "bridge/client/"), ("openssl/",)),
    "bridge": (("base/", "bridge/", "backup/v1/"), ("grpcpp/",)),
    "storage": (("base/", "storage/"), ()),
    "storage/sqlite": (("base/", "storage/"), ("sqlite3.h",)),
    "services/backup/crypto": (("base/", "services/backup/crypto/"), ("openssl/",)),
    "services/backup/handlers": (
        ("base/", "storage/", "backup/v1/", "services/backup/crypto/", "services/backup/handlers/",
         "services/backup/limits.h"), ()),
    "services/backup": (("base/", "storage/", "backup/v1/", "services/backup/"), ("grpcpp/",)),
    "services/backupctl": (
        ("base/", "storage/", "backup/v1/", "services/backup/", "services/backupctl/"), ("grpcpp/", "CLI/")),
}
# Only one file names implementations of the storage interfaces.
IMPLEMENTATIONS = ("storage/sqlite/", "storage/local/", "storage/memory/")
NAMES_IMPLEMENTATIONS = ("services/backup/open_storage.cc",)

OURS = ("base/", "bridge/", "storage/", "services/", "backup/v1/", "google/rpc/")
CONFINED = ("grpcpp/", "openssl/", "sqlite3.h", "isa-l/", "CLI/", "event2/", "prometheus/")
# Web servers and clients of the metrics library that must never be linked: the server has an open heap overflow.
FORBIDDEN = ("prometheus/exposer.h", "prometheus/gateway.h")
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.MULTILINE)


def layer_of(path):
    return max((folder for folder in LAYERS if path.startswith(folder + "/")), key=len, default=None)


def violations(path):
    layer = layer_of(path)
    if layer is None or path.endswith("_test.cc") or "/testing/" in path:
        return
    ours, outside = LAYERS[layer]
    for include in INCLUDE.findall((ROOT / path).read_text()):
        if include.startswith(OURS) and not include.startswith(ours):
            yield f"{path}: {layer} must not use {include}"
        if include.startswith(CONFINED) and not include.startswith(outside):
            yield f"{path}: {include} does not belong in {layer}"
        if include in FORBIDDEN:
            yield f"{path}: {include} must not be used"
        if (include.startswith(IMPLEMENTATIONS) and not path.startswith(IMPLEMENTATIONS)
                and path not in NAMES_IMPLEMENTATIONS):
            yield f"{path}: only {NAMES_IMPLEMENTATIONS[0]} names implementations, not {include}"


def main():
    files = sorted(str(path.relative_to(ROOT)) for folder in ("base", "bridge", "services", "storage")
                   for path in (ROOT / folder).rglob("*") if path.suffix in (".h", ".cc"))
    found = [violation for path in files for violation in violations(path)]
    print("\n".join(found) if found else f"{len(files)} files keep to their layers")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
