#!/usr/bin/env python3
"""Fails on an include that the layers forbid, and on internals of gRPC outside rpc/. The most specific folder of a file
decides; what is not listed may use nothing of ours. Tests may use everything."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]

STORAGE_INTERFACES = ("storage/background_commit.h", "storage/blob_ledger.h", "storage/blob_store.h", "storage/catalog/", "storage/chunk_cache.h",
                      "storage/snapshot_folder.h")
# Folder: the prefixes of our own includes it may use, and of those of outside libraries that are kept to few places.
LAYERS = {
    "base": (("base/",), ("isa-l/", "event2/", "liburing.h", "prometheus/")),
    "rpc": (("base/", "rpc/", "backup/v1/", "google/rpc/"), ("grpcpp/", "openssl/")),
    "bridge/wire": (("base/", "bridge/wire/", "backup/bridge/v1/"), ()),
    "bridge/capture": (("base/", "bridge/wire/conversation.h", "bridge/capture/"), ("pcap/",)),
    "bridge/net": (("base/", "bridge/net/"), ()),
    "bridge/upload": (("base/", "bridge/net/", "bridge/upload/", "bridge/wire/"), ()),
    "bridge/service": (
        ("base/", "rpc/", "bridge/net/", "bridge/upload/", "bridge/service/", "bridge/bridge_metrics.h", "backup/v1/"),
        ("grpcpp/",)),
    "bridge/request": (
        ("base/", "rpc/", "bridge/net/", "bridge/upload/", "bridge/service/", "bridge/wire/", "bridge/request/",
         "bridge/bridge_metrics.h", "backup/v1/"), ()),
    "bridge": (("base/", "rpc/", "bridge/", "backup/v1/"), ("grpcpp/",)),
    "legacy_client": (("base/", "legacy_client/", "backup/bridge/v1/"), ("openssl/",)),
    "storage": (("base/", "storage/"), ()),
    "storage/sqlite": (("base/", "storage/"), ("sqlite3.h",)),
    "storage/postgres": (("base/", "storage/"), ("libpq-fe.h",)),
    "storage/s3": (("base/", "crypto/hmac_sha256.h", "crypto/random.h", "crypto/sha256.h", "storage/blob_store.h", "storage/s3/"), ("curl/", "pugixml")),
    "crypto": (("base/", "crypto/"), ("openssl/",)),
    "content": (("base/", "crypto/", "content/", "storage/catalog/chunk.h", "storage/catalog/version.h"), ("zstd",)),
    "services/backup/handlers": (
        ("base/", "crypto/", "content/", *STORAGE_INTERFACES, "backup/v1/", "services/backup/audit/", "services/backup/handlers/",
         "services/backup/retention/", "services/backup/limits.h"), ()),
    # What makes the audit log hold together, whoever writes to it.
    "services/backup/audit": (("base/", "crypto/", "storage/catalog/", "services/backup/audit/"), ()),
    # Decides what is kept and what goes; who asks does it.
    "services/backup/retention": (("base/", "storage/catalog/", "services/backup/retention/"), ()),
    # Jobs do what handlers do, by themselves.
    "services/backup/jobs": (
        ("base/", "crypto/", "content/", *STORAGE_INTERFACES, "services/backup/handlers/", "services/backup/jobs/",
         "services/backup/retention/"), ()),
    "services/backup": (
        ("base/", "rpc/", "crypto/", "content/", "storage/",
         "backup/v1/", "services/backup/"), ("grpcpp/",)),
    # The API's client; reading a data directory without a service takes a little more.
    "services/backupctl": (
        ("base/", "rpc/", "crypto/", "content/", "backup/v1/", "services/backupctl/", "services/backup/audit/actions.h", "services/backup/open_storage.h",
         "services/backup/catalog_mark.h", "services/backup/migrate.h", "services/backup/restore_state.h", "services/backup/rebuild_state.h",
         "services/backup/jobs/snapshot_state.h", "services/backup/handlers/key_keeper.h",
         "services/backup/handlers/open_content.h", "services/backup/handlers/store_keys.h"), ("grpcpp/", "CLI/", "archive", "re2/")),
    # Reads another server's database, which no catalog of ours is.
    "services/backupctl/old_server": (("base/", "crypto/", "backup/v1/", "services/backupctl/"), ("sqlite3.h",)),
}
FOLDERS = ("base", "rpc", "crypto", "content", "bridge", "legacy_client", "services", "storage")
# Only one file names implementations of the storage interfaces.
IMPLEMENTATIONS = ("storage/sqlite/", "storage/postgres/", "storage/local/", "storage/memory/", "storage/s3/")
NAMES_IMPLEMENTATIONS = ("services/backup/blobs_location.cc", "services/backup/catalog_hold.cc", "services/backup/catalog_hold.h",
                         "services/backup/catalog_location.cc", "services/backup/migration_places.cc", "services/backup/open_storage.cc")

OURS = ("base/", "rpc/", "crypto/", "content/", "bridge/", "legacy_client/", "storage/", "services/", "backup/v1/",
        "backup/bridge/v1/", "google/rpc/")
CONFINED = ("grpcpp/", "openssl/", "sqlite3.h", "isa-l/", "liburing.h", "CLI/", "event2/", "libpq-fe.h", "prometheus/", "archive", "curl/", "pcap/", "pugixml", "re2/", "zstd")
# Web servers and clients of the metrics library that must never be linked: the server has an open heap overflow.
FORBIDDEN = ("prometheus/exposer.h", "prometheus/gateway.h")
# What may change with every release of gRPC is used in one folder only.
INTERNALS_OF_GRPC = re.compile(r"grpcpp/impl/|grpc::internal|grpc::experimental|experimental\(\)")
USES_INTERNALS_OF_GRPC = "rpc/"
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.MULTILINE)


def layer_of(path):
    return max((folder for folder in LAYERS if path.startswith(folder + "/")), key=len, default=None)


def violations(path):
    layer = layer_of(path)
    if layer is None or path.endswith("_test.cc") or "/testing/" in path:
        return
    ours, outside = LAYERS[layer]
    text = (ROOT / path).read_text()
    if not path.startswith(USES_INTERNALS_OF_GRPC):
        for internal in INTERNALS_OF_GRPC.findall(text):
            yield f"{path}: only {USES_INTERNALS_OF_GRPC} uses {internal}"
    for include in INCLUDE.findall(text):
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
    files = sorted(str(path.relative_to(ROOT)) for folder in FOLDERS
                   for path in (ROOT / folder).rglob("*") if path.suffix in (".h", ".cc"))
    found = [violation for path in files for violation in violations(path)]
    print("\n".join(found) if found else f"{len(files)} files keep to their layers")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
