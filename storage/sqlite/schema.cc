#include "storage/sqlite/schema.h"

#include <iterator>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::storage {
namespace {

// Migration n is kMigrations[n - 1]. Never change one that was released; add the next. Times are
// microseconds since 1970, names are bytes, and the numbers of states, kinds and forms are those of
// storage/catalog/version.h.
constexpr const char* kMigrations[] = {
    R"(
CREATE TABLE clients (
  client_id BLOB PRIMARY KEY,
  name BLOB NOT NULL,
  create_time INTEGER NOT NULL,
  last_seen_time INTEGER NOT NULL,
  public_key BLOB NOT NULL,
  sealed_session_key BLOB NOT NULL,
  session_key_bits INTEGER NOT NULL,
  last_verified_time INTEGER
) WITHOUT ROWID;
CREATE INDEX clients_by_name ON clients (name, create_time);
CREATE INDEX clients_by_last_verified ON clients (last_verified_time) WHERE last_verified_time IS NOT NULL;

CREATE TABLE files (
  file_id INTEGER PRIMARY KEY,
  client_id BLOB NOT NULL REFERENCES clients ON DELETE CASCADE,
  name BLOB NOT NULL,
  version_count INTEGER NOT NULL DEFAULT 0,
  UNIQUE (client_id, name)
);

CREATE TABLE versions (
  version_id INTEGER PRIMARY KEY,
  file_id INTEGER NOT NULL REFERENCES files ON DELETE CASCADE,
  size_bytes INTEGER NOT NULL,
  encoded_size INTEGER NOT NULL,
  checksum_kind INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  sha256 BLOB NOT NULL,
  state INTEGER NOT NULL,
  receive_time INTEGER NOT NULL,
  verify_time INTEGER,
  form INTEGER NOT NULL,
  upload_id BLOB,
  blob_id BLOB
);
CREATE INDEX versions_by_file ON versions (file_id, version_id);
CREATE INDEX versions_verified ON versions (file_id, version_id) WHERE state = 2;
CREATE INDEX versions_received ON versions (file_id, version_id) WHERE state = 1;
CREATE INDEX versions_by_upload ON versions (upload_id) WHERE upload_id IS NOT NULL;
CREATE UNIQUE INDEX versions_by_blob ON versions (blob_id) WHERE blob_id IS NOT NULL;

-- The content of small files, apart so that scanning versions does not read it.
CREATE TABLE inline_contents (
  version_id INTEGER PRIMARY KEY REFERENCES versions ON DELETE CASCADE,
  content BLOB NOT NULL
);

-- Running totals, kept by triggers, so that counting reads one row.
CREATE TABLE totals (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  clients INTEGER NOT NULL,
  files INTEGER NOT NULL,
  versions INTEGER NOT NULL,
  verified_versions INTEGER NOT NULL,
  stored_bytes INTEGER NOT NULL,
  next_version_id INTEGER NOT NULL
);
INSERT INTO totals VALUES (1, 0, 0, 0, 0, 0, 1);
CREATE TRIGGER client_added AFTER INSERT ON clients BEGIN UPDATE totals SET clients = clients + 1; END;
CREATE TRIGGER client_removed AFTER DELETE ON clients BEGIN UPDATE totals SET clients = clients - 1; END;
CREATE TRIGGER file_added AFTER INSERT ON files BEGIN UPDATE totals SET files = files + 1; END;
CREATE TRIGGER file_removed AFTER DELETE ON files BEGIN UPDATE totals SET files = files - 1; END;
CREATE TRIGGER version_added AFTER INSERT ON versions BEGIN
  UPDATE totals SET versions = versions + 1, stored_bytes = stored_bytes + NEW.size_bytes;
  UPDATE files SET version_count = version_count + 1 WHERE file_id = NEW.file_id;
END;
CREATE TRIGGER version_settled AFTER UPDATE OF state ON versions BEGIN
  UPDATE totals SET
    verified_versions = verified_versions + (NEW.state = 2) - (OLD.state = 2),
    stored_bytes = stored_bytes - OLD.size_bytes * (NEW.state = 3);
END;
CREATE TRIGGER version_removed AFTER DELETE ON versions BEGIN
  UPDATE totals SET
    versions = versions - 1,
    verified_versions = verified_versions - (OLD.state = 2),
    stored_bytes = stored_bytes - OLD.size_bytes * (OLD.state <> 3);
  UPDATE files SET version_count = version_count - 1 WHERE file_id = OLD.file_id;
  DELETE FROM files WHERE file_id = OLD.file_id AND version_count = 0;
END;
)",
    R"(
-- What was learned of how an old client speaks: storage/catalog/legacy_profile.h.
ALTER TABLE clients ADD COLUMN family BLOB NOT NULL DEFAULT x'';
ALTER TABLE clients ADD COLUMN header_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clients ADD COLUMN framing BLOB NOT NULL DEFAULT x'';
ALTER TABLE clients ADD COLUMN file_style BLOB NOT NULL DEFAULT x'';
ALTER TABLE clients ADD COLUMN connection_style BLOB NOT NULL DEFAULT x'';
ALTER TABLE clients ADD COLUMN last_protocol_error BLOB NOT NULL DEFAULT x'';
ALTER TABLE clients ADD COLUMN last_protocol_error_time INTEGER;
ALTER TABLE clients ADD COLUMN checksum_kind INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clients ADD COLUMN checksum_refusals INTEGER NOT NULL DEFAULT 0;
)",
    R"(
-- Totals of each client, and of what was given up, for metrics.
ALTER TABLE clients ADD COLUMN stored_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clients ADD COLUMN resends INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN abandoned_versions INTEGER NOT NULL DEFAULT 0;
UPDATE totals SET abandoned_versions = (SELECT count(*) FROM versions WHERE state = 3);
UPDATE clients SET stored_bytes = coalesce((
  SELECT sum(size_bytes) FROM files JOIN versions USING (file_id)
  WHERE files.client_id = clients.client_id AND state <> 3), 0);
CREATE TRIGGER client_bytes_added AFTER INSERT ON versions BEGIN
  UPDATE clients SET stored_bytes = stored_bytes + NEW.size_bytes
  WHERE client_id = (SELECT client_id FROM files WHERE file_id = NEW.file_id);
END;
CREATE TRIGGER version_abandoned AFTER UPDATE OF state ON versions WHEN NEW.state = 3 AND OLD.state <> 3 BEGIN
  UPDATE totals SET abandoned_versions = abandoned_versions + 1;
  UPDATE clients SET stored_bytes = stored_bytes - OLD.size_bytes
  WHERE client_id = (SELECT client_id FROM files WHERE file_id = OLD.file_id);
END;
-- Before version_removed, which may remove the file's row.
CREATE TRIGGER client_bytes_removed BEFORE DELETE ON versions WHEN OLD.state <> 3 BEGIN
  UPDATE clients SET stored_bytes = stored_bytes - OLD.size_bytes
  WHERE client_id = (SELECT client_id FROM files WHERE file_id = OLD.file_id);
END;
CREATE TRIGGER abandoned_removed AFTER DELETE ON versions WHEN OLD.state = 3 BEGIN
  UPDATE totals SET abandoned_versions = abandoned_versions - 1;
END;
)",
    R"(
-- The last version that was added to a file, which may be gone: of old files the newest that is left.
ALTER TABLE files ADD COLUMN last_version_id INTEGER NOT NULL DEFAULT 0;
UPDATE files SET last_version_id = coalesce((
  SELECT max(version_id) FROM versions WHERE versions.file_id = files.file_id), 0);

-- What a version's blob takes, else 0. Of old blobs that is not known; the encoded size is close.
ALTER TABLE versions ADD COLUMN blob_size INTEGER NOT NULL DEFAULT 0;
UPDATE versions SET blob_size = encoded_size WHERE blob_id IS NOT NULL;

-- The life of a blob (docs/storage.md): a row here while it is stored, then versions.blob_id, then a
-- row in dropped_blobs until the store has it no more.
CREATE TABLE pending_blobs (
  blob_id BLOB PRIMARY KEY,
  owner BLOB NOT NULL,
  lease_end INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE dropped_blobs (blob_id BLOB PRIMARY KEY) WITHOUT ROWID;

CREATE TABLE jobs (
  name BLOB PRIMARY KEY,
  cursor BLOB NOT NULL,
  last_start_time INTEGER,
  last_success_time INTEGER,
  last_error BLOB NOT NULL,
  last_count INTEGER NOT NULL,
  total_count INTEGER NOT NULL
) WITHOUT ROWID;

ALTER TABLE totals ADD COLUMN blob_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN dropped_blobs INTEGER NOT NULL DEFAULT 0;
UPDATE totals SET blob_bytes = (SELECT coalesce(sum(blob_size), 0) FROM versions);
CREATE TRIGGER blob_dropped AFTER INSERT ON dropped_blobs BEGIN
  UPDATE totals SET dropped_blobs = dropped_blobs + 1;
END;
CREATE TRIGGER blob_forgotten AFTER DELETE ON dropped_blobs BEGIN
  UPDATE totals SET dropped_blobs = dropped_blobs - 1;
END;

-- Every reference to a blob that ends, in whatever way.
CREATE TRIGGER blob_reference_changed AFTER UPDATE OF blob_id ON versions
WHEN OLD.blob_id IS NOT NULL AND OLD.blob_id IS NOT NEW.blob_id BEGIN
  INSERT INTO dropped_blobs VALUES (OLD.blob_id) ON CONFLICT DO NOTHING;
END;
CREATE TRIGGER blob_reference_removed AFTER DELETE ON versions WHEN OLD.blob_id IS NOT NULL BEGIN
  INSERT INTO dropped_blobs VALUES (OLD.blob_id) ON CONFLICT DO NOTHING;
END;

-- As before, and with blob_bytes and last_version_id.
DROP TRIGGER version_added;
CREATE TRIGGER version_added AFTER INSERT ON versions BEGIN
  UPDATE totals SET
    versions = versions + 1,
    stored_bytes = stored_bytes + NEW.size_bytes,
    blob_bytes = blob_bytes + NEW.blob_size;
  UPDATE files SET version_count = version_count + 1, last_version_id = NEW.version_id
  WHERE file_id = NEW.file_id;
END;
DROP TRIGGER version_settled;
CREATE TRIGGER version_settled AFTER UPDATE OF state ON versions BEGIN
  UPDATE totals SET
    verified_versions = verified_versions + (NEW.state = 2) - (OLD.state = 2),
    stored_bytes = stored_bytes - OLD.size_bytes * (NEW.state = 3),
    blob_bytes = blob_bytes + NEW.blob_size - OLD.blob_size;
END;
DROP TRIGGER version_removed;
CREATE TRIGGER version_removed AFTER DELETE ON versions BEGIN
  UPDATE totals SET
    versions = versions - 1,
    verified_versions = verified_versions - (OLD.state = 2),
    stored_bytes = stored_bytes - OLD.size_bytes * (OLD.state <> 3),
    blob_bytes = blob_bytes - OLD.blob_size;
  UPDATE files SET version_count = version_count - 1 WHERE file_id = OLD.file_id;
  DELETE FROM files WHERE file_id = OLD.file_id AND version_count = 0;
END;
)",
};

absl::StatusOr<int64_t> SchemaVersion(Database& database) {
  Query query = database.Prepare("PRAGMA user_version");
  RETURN_IF_ERROR(query.Step().status());
  return query.Int(0);
}

}  // namespace

absl::Status Migrate(Database& database) { return MigrateTo(database, std::size(kMigrations)); }

absl::Status MigrateTo(Database& database, int64_t newest) {
  ASSIGN_OR_RETURN(const int64_t current, SchemaVersion(database));
  if (current > newest) {
    return absl::UnimplementedError(absl::StrCat("the catalog has schema ", current,
                                                 ", this program knows ", newest,
                                                 ": run the newer program that wrote it"));
  }
  for (int64_t version = current; version < newest; ++version) {
    const std::string migration = absl::StrCat("BEGIN IMMEDIATE;", kMigrations[version],
                                               ";PRAGMA user_version = ", version + 1, ";COMMIT;");
    RETURN_IF_ERROR(database.Execute(migration.c_str()));
  }
  LOG_IF(INFO, current > 0 && current < newest)
      << "the catalog was migrated from schema " << current << " to " << newest;
  return absl::OkStatus();
}

}  // namespace backup::storage
