#include "storage/sqlite/schema.h"

#include <iterator>
#include <memory>
#include <set>
#include <string>

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
    R"(
-- Content in chunks (storage/catalog/chunk.h; docs/storage.md).

-- A pack is a blob, and goes with its last chunk. Its running counts are of chunks that are referred to.
-- Numbers of packs, chunks and recipes are used once: whoever read one may come back with it.
CREATE TABLE packs (
  pack_id INTEGER PRIMARY KEY AUTOINCREMENT,
  blob_id BLOB NOT NULL UNIQUE,
  size_bytes INTEGER NOT NULL,
  form INTEGER NOT NULL,
  live_bytes INTEGER NOT NULL DEFAULT 0,
  waiting_bytes INTEGER NOT NULL DEFAULT 0,
  damaged_bytes INTEGER NOT NULL DEFAULT 0,
  condemned_epoch INTEGER NOT NULL DEFAULT 0,
  wrapped_key BLOB NOT NULL
);
CREATE INDEX packs_to_rewrite ON packs (condemned_epoch = 0)
  WHERE damaged_bytes = 0 AND (condemned_epoch > 0 OR waiting_bytes > 0 OR live_bytes = 0
    OR (live_bytes * 3 < size_bytes * 2 AND size_bytes - live_bytes > 16384));
CREATE INDEX packs_by_size ON packs (size_bytes);

-- A chunk without a pack is in chunk_payloads. It has no triggers: a statement that has any takes time
-- for all pages that its transaction wrote before, and there are many such statements in one.
CREATE TABLE chunks (
  chunk_no INTEGER PRIMARY KEY AUTOINCREMENT,
  chunk_id BLOB NOT NULL UNIQUE,
  size_bytes INTEGER NOT NULL,
  refs INTEGER NOT NULL DEFAULT 0,
  stored_size INTEGER NOT NULL,
  form INTEGER NOT NULL,
  coding INTEGER NOT NULL,
  waits INTEGER NOT NULL DEFAULT 0,
  is_damaged INTEGER NOT NULL DEFAULT 0,
  is_condemned INTEGER NOT NULL DEFAULT 0,
  pack_id INTEGER,
  place INTEGER,
  pack_offset INTEGER
);
CREATE UNIQUE INDEX chunks_by_place ON chunks (pack_id, place) WHERE pack_id IS NOT NULL;
CREATE TABLE chunk_payloads (
  chunk_no INTEGER PRIMARY KEY REFERENCES chunks ON DELETE CASCADE,
  payload BLOB NOT NULL
);

-- Recipes of more than one chunk: entries are numbers and sizes of chunks (storage/sqlite/recipes.cc).
-- A recipe has a row in pending_recipes, then versions.recipe_id, then a row in dropped_recipes until
-- its references are released.
CREATE TABLE recipes (
  recipe_id INTEGER PRIMARY KEY AUTOINCREMENT,
  size_bytes INTEGER NOT NULL,
  kept_bytes INTEGER NOT NULL
);
CREATE TABLE recipe_parts (
  recipe_id INTEGER NOT NULL,
  first_offset INTEGER NOT NULL,
  entries BLOB NOT NULL,
  PRIMARY KEY (recipe_id, first_offset)
) WITHOUT ROWID;
CREATE TABLE pending_recipes (
  recipe_id INTEGER PRIMARY KEY,
  owner BLOB NOT NULL,
  lease_end INTEGER NOT NULL
);
CREATE TABLE dropped_recipes (recipe_id INTEGER PRIMARY KEY);
CREATE TABLE owner_epochs (
  owner BLOB PRIMARY KEY,
  epoch INTEGER NOT NULL,
  lease_end INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE store_values (name BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- chunk_no 0: the content is empty. kept_bytes: what the version made the store grow by; NULL: it is
-- older than this column, and counted by its size.
ALTER TABLE versions ADD COLUMN kept_bytes INTEGER;
ALTER TABLE versions ADD COLUMN chunk_no INTEGER;
ALTER TABLE versions ADD COLUMN recipe_id INTEGER;
CREATE INDEX versions_unmoved ON versions (version_id)
  WHERE state <> 3 AND form < 3 AND chunk_no IS NULL AND recipe_id IS NULL;
DROP INDEX versions_received;  -- Nothing asks for it.
ALTER TABLE clients ADD COLUMN kept_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE clients SET kept_bytes = stored_bytes;

ALTER TABLE totals ADD COLUMN chunks INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN unique_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN compressed_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN waiting_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN packs INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN pack_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN pack_live_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN unmoved_versions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN dropped_recipes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
UPDATE totals SET unmoved_versions = (SELECT count(*) FROM versions INDEXED BY versions_unmoved
  WHERE state <> 3 AND form < 3 AND chunk_no IS NULL AND recipe_id IS NULL);

CREATE TRIGGER pack_added AFTER INSERT ON packs BEGIN
  UPDATE totals SET packs = packs + 1, pack_bytes = pack_bytes + NEW.size_bytes;
END;
CREATE TRIGGER pack_removed AFTER DELETE ON packs BEGIN
  UPDATE totals SET packs = packs - 1, pack_bytes = pack_bytes - OLD.size_bytes;
  INSERT INTO dropped_blobs VALUES (OLD.blob_id) ON CONFLICT DO NOTHING;
END;
CREATE TRIGGER recipe_dropped AFTER INSERT ON dropped_recipes BEGIN
  UPDATE totals SET dropped_recipes = dropped_recipes + 1;
END;
CREATE TRIGGER recipe_released AFTER DELETE ON dropped_recipes BEGIN
  UPDATE totals SET dropped_recipes = dropped_recipes - 1;
END;

-- Every reference of a version to chunks that ends, in whatever way. To delete from this view is to end
-- a reference to one chunk.
CREATE VIEW chunk_references AS SELECT chunk_no FROM chunks;
CREATE TRIGGER chunk_reference_ended INSTEAD OF DELETE ON chunk_references BEGIN
  UPDATE totals SET
    chunks = chunks - 1,
    unique_bytes = unique_bytes - last.size_bytes,
    compressed_bytes = compressed_bytes - last.stored_size,
    waiting_bytes = waiting_bytes - last.stored_size * last.waits,
    pack_live_bytes = pack_live_bytes - last.stored_size * (last.pack_id IS NOT NULL)
  FROM (SELECT * FROM chunks WHERE chunk_no = OLD.chunk_no AND refs = 1) AS last;
  UPDATE packs SET
    live_bytes = live_bytes - last.stored_size,
    waiting_bytes = packs.waiting_bytes - last.stored_size * last.waits,
    damaged_bytes = damaged_bytes - last.stored_size * last.is_damaged
  FROM (SELECT * FROM chunks WHERE chunk_no = OLD.chunk_no AND refs = 1) AS last
  WHERE packs.pack_id = last.pack_id;
  UPDATE chunks SET refs = refs - 1 WHERE chunk_no = OLD.chunk_no;
  DELETE FROM chunks WHERE chunk_no = OLD.chunk_no AND refs <= 0 AND pack_id IS NULL;
END;
CREATE TRIGGER chunk_reference_changed AFTER UPDATE OF chunk_no ON versions
WHEN OLD.chunk_no IS NOT NULL AND OLD.chunk_no IS NOT NEW.chunk_no BEGIN
  DELETE FROM chunk_references WHERE chunk_no = OLD.chunk_no;
END;
CREATE TRIGGER chunk_reference_removed AFTER DELETE ON versions WHEN OLD.chunk_no IS NOT NULL BEGIN
  DELETE FROM chunk_references WHERE chunk_no = OLD.chunk_no;
END;
CREATE TRIGGER recipe_reference_changed AFTER UPDATE OF recipe_id ON versions
WHEN OLD.recipe_id IS NOT NULL AND OLD.recipe_id IS NOT NEW.recipe_id BEGIN
  INSERT INTO dropped_recipes VALUES (OLD.recipe_id) ON CONFLICT DO NOTHING;
END;
CREATE TRIGGER recipe_reference_removed AFTER DELETE ON versions WHEN OLD.recipe_id IS NOT NULL BEGIN
  INSERT INTO dropped_recipes VALUES (OLD.recipe_id) ON CONFLICT DO NOTHING;
END;

-- As before, and with kept_bytes and unmoved_versions.
DROP TRIGGER client_bytes_added;
DROP TRIGGER version_added;
CREATE TRIGGER version_added AFTER INSERT ON versions BEGIN
  UPDATE totals SET
    versions = versions + 1,
    stored_bytes = stored_bytes + NEW.size_bytes,
    blob_bytes = blob_bytes + NEW.blob_size,
    unmoved_versions = unmoved_versions
      + (NEW.form < 3 AND NEW.chunk_no IS NULL AND NEW.recipe_id IS NULL);
  UPDATE files SET version_count = version_count + 1, last_version_id = NEW.version_id
  WHERE file_id = NEW.file_id;
  UPDATE clients SET
    stored_bytes = stored_bytes + NEW.size_bytes,
    kept_bytes = kept_bytes + NEW.kept_bytes
  WHERE client_id = (SELECT client_id FROM files WHERE file_id = NEW.file_id);
END;
DROP TRIGGER version_settled;
CREATE TRIGGER version_settled AFTER UPDATE OF state ON versions BEGIN
  UPDATE totals SET
    verified_versions = verified_versions + (NEW.state = 2) - (OLD.state = 2),
    stored_bytes = stored_bytes - OLD.size_bytes * (NEW.state = 3);
END;
CREATE TRIGGER version_content_changed AFTER UPDATE OF kept_bytes ON versions BEGIN
  UPDATE totals SET
    blob_bytes = blob_bytes + NEW.blob_size - OLD.blob_size,
    unmoved_versions = unmoved_versions
      + (NEW.state <> 3 AND NEW.form < 3 AND NEW.chunk_no IS NULL AND NEW.recipe_id IS NULL)
      - (OLD.state <> 3 AND OLD.form < 3 AND OLD.chunk_no IS NULL AND OLD.recipe_id IS NULL);
  UPDATE clients SET
    kept_bytes = kept_bytes + NEW.kept_bytes - coalesce(OLD.kept_bytes, OLD.size_bytes)
  WHERE client_id = (SELECT client_id FROM files WHERE file_id = OLD.file_id);
END;
DROP TRIGGER client_bytes_removed;
CREATE TRIGGER client_bytes_removed BEFORE DELETE ON versions WHEN OLD.state <> 3 BEGIN
  UPDATE clients SET
    stored_bytes = stored_bytes - OLD.size_bytes,
    kept_bytes = kept_bytes - coalesce(OLD.kept_bytes, OLD.size_bytes)
  WHERE client_id = (SELECT client_id FROM files WHERE file_id = OLD.file_id);
END;
DROP TRIGGER version_removed;
CREATE TRIGGER version_removed AFTER DELETE ON versions BEGIN
  UPDATE totals SET
    versions = versions - 1,
    verified_versions = verified_versions - (OLD.state = 2),
    stored_bytes = stored_bytes - OLD.size_bytes * (OLD.state <> 3),
    blob_bytes = blob_bytes - OLD.blob_size,
    unmoved_versions = unmoved_versions
      - (OLD.state <> 3 AND OLD.form < 3 AND OLD.chunk_no IS NULL AND OLD.recipe_id IS NULL);
  UPDATE files SET version_count = version_count - 1 WHERE file_id = OLD.file_id;
  DELETE FROM files WHERE file_id = OLD.file_id AND version_count = 0;
END;
)",
    R"(
-- In the whole order in which packs are asked for, so that what many could give nobody sorts.
DROP INDEX packs_to_rewrite;
CREATE INDEX packs_to_rewrite ON packs (condemned_epoch = 0, live_bytes > 0)
  WHERE damaged_bytes = 0 AND (condemned_epoch > 0 OR waiting_bytes > 0 OR live_bytes = 0
    OR (live_bytes * 3 < size_bytes * 2 AND size_bytes - live_bytes > 16384));
)",
    // Footers are no garbage: those that tell of many recipes are large. What is not known, 0, is
    // taken for garbage, as before.
    R"(
ALTER TABLE packs ADD COLUMN footer_bytes INTEGER NOT NULL DEFAULT 0;
DROP INDEX packs_to_rewrite;
CREATE INDEX packs_to_rewrite ON packs (condemned_epoch = 0, live_bytes > 0)
  WHERE damaged_bytes = 0 AND (condemned_epoch > 0 OR waiting_bytes > 0 OR live_bytes = 0
    OR (live_bytes * 3 < (size_bytes - footer_bytes) * 2 AND
      size_bytes - footer_bytes - live_bytes > 16384));
)",
    R"(
-- Retention (docs/storage.md). retain_until: nobody may remove the version before; of a client, the latest
-- of the versions that it ever sent.
ALTER TABLE versions ADD COLUMN retain_until INTEGER;
ALTER TABLE clients ADD COLUMN retain_until INTEGER;
CREATE INDEX versions_retained ON versions (file_id, retain_until) WHERE retain_until IS NOT NULL;

-- client_id of 16 zero bytes: the store's. An empty pattern: for all files. 0: no such rule.
CREATE TABLE retention_policies (
  client_id BLOB NOT NULL,
  pattern BLOB NOT NULL,
  keep_last INTEGER NOT NULL,
  keep_within INTEGER NOT NULL,
  keep_hourly INTEGER NOT NULL,
  keep_daily INTEGER NOT NULL,
  keep_weekly INTEGER NOT NULL,
  keep_monthly INTEGER NOT NULL,
  keep_yearly INTEGER NOT NULL,
  PRIMARY KEY (client_id, pattern)
) WITHOUT ROWID;
CREATE TRIGGER client_policies_removed AFTER DELETE ON clients BEGIN
  DELETE FROM retention_policies WHERE client_id = OLD.client_id;
END;

-- One row: storage/catalog/retention.h, ClockNote.
CREATE TABLE clock_notes (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  base_time INTEGER NOT NULL,
  base_uptime INTEGER NOT NULL,
  boot_id BLOB NOT NULL,
  newest_time INTEGER NOT NULL,
  distrusted_since INTEGER,
  distrust BLOB NOT NULL
);
)",
    R"(
-- Damage (docs/storage.md). Versions whose content is not what was stored; of chunks their own rows tell.
CREATE TABLE damaged_versions (
  version_id INTEGER PRIMARY KEY REFERENCES versions ON DELETE CASCADE
);
-- Blobs that were found damaged: no job deletes them, whether something refers to them or not.
CREATE TABLE set_aside_blobs (blob_id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE INDEX chunks_damaged ON chunks (refs) WHERE is_damaged = 1;
ALTER TABLE totals ADD COLUMN healed_chunks INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN healed_versions INTEGER NOT NULL DEFAULT 0;
DROP TRIGGER blob_reference_changed;
CREATE TRIGGER blob_reference_changed AFTER UPDATE OF blob_id ON versions
WHEN OLD.blob_id IS NOT NULL AND OLD.blob_id IS NOT NEW.blob_id BEGIN
  INSERT INTO dropped_blobs SELECT OLD.blob_id
    WHERE NOT EXISTS (SELECT 1 FROM set_aside_blobs WHERE blob_id = OLD.blob_id)
    ON CONFLICT DO NOTHING;
END;
DROP TRIGGER blob_reference_removed;
CREATE TRIGGER blob_reference_removed AFTER DELETE ON versions WHEN OLD.blob_id IS NOT NULL BEGIN
  INSERT INTO dropped_blobs SELECT OLD.blob_id
    WHERE NOT EXISTS (SELECT 1 FROM set_aside_blobs WHERE blob_id = OLD.blob_id)
    ON CONFLICT DO NOTHING;
END;
)",
    R"(
-- The trash (docs/storage.md): what was deleted and can be taken back until it is purged. NULL: it is not in
-- the trash.
ALTER TABLE versions ADD COLUMN delete_time INTEGER;
ALTER TABLE clients ADD COLUMN delete_time INTEGER;
DROP INDEX versions_verified;
CREATE INDEX versions_verified ON versions (file_id, version_id) WHERE state = 2 AND delete_time IS NULL;
CREATE INDEX versions_trashed ON versions (delete_time, version_id) WHERE delete_time IS NOT NULL;
CREATE INDEX clients_trashed ON clients (delete_time, client_id) WHERE delete_time IS NOT NULL;

-- Counts of each client, of which the totals are made up, so that one row puts all that it has into the
-- trash. trash_versions and trash_bytes are of versions that were deleted on their own; all others, and
-- files.version_count too, of versions that were not.
ALTER TABLE clients ADD COLUMN file_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clients ADD COLUMN version_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clients ADD COLUMN verified_versions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clients ADD COLUMN abandoned_versions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clients ADD COLUMN trash_versions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clients ADD COLUMN trash_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN trash_clients INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN trash_versions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN trash_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE clients SET
  file_count = (SELECT count(*) FROM files WHERE files.client_id = clients.client_id),
  (version_count, verified_versions, abandoned_versions) = (
    SELECT count(*), coalesce(sum(state = 2), 0), coalesce(sum(state = 3), 0)
    FROM files JOIN versions USING (file_id) WHERE files.client_id = clients.client_id);
UPDATE totals SET (clients, files, versions, verified_versions, abandoned_versions, stored_bytes) = (
  SELECT count(*), coalesce(sum(file_count), 0), coalesce(sum(version_count), 0),
    coalesce(sum(verified_versions), 0), coalesce(sum(abandoned_versions), 0), coalesce(sum(stored_bytes), 0)
  FROM clients);

-- As before, and of the trash: what changes a version changes its client's counts, and these the totals.
DROP TRIGGER client_removed;
DROP TRIGGER file_added;
DROP TRIGGER file_removed;
DROP TRIGGER version_added;
DROP TRIGGER version_settled;
DROP TRIGGER version_abandoned;
DROP TRIGGER version_content_changed;
DROP TRIGGER client_bytes_removed;
DROP TRIGGER abandoned_removed;
DROP TRIGGER version_removed;
CREATE TRIGGER client_removed AFTER DELETE ON clients BEGIN
  UPDATE totals SET
    clients = clients - (OLD.delete_time IS NULL),
    trash_clients = trash_clients - (OLD.delete_time IS NOT NULL);
END;
CREATE TRIGGER client_counted AFTER UPDATE OF file_count, version_count, verified_versions,
  abandoned_versions, stored_bytes, trash_versions, trash_bytes, delete_time ON clients BEGIN
  UPDATE totals SET
    clients = clients + (NEW.delete_time IS NULL) - (OLD.delete_time IS NULL),
    files = files + NEW.file_count * (NEW.delete_time IS NULL) - OLD.file_count * (OLD.delete_time IS NULL),
    versions = versions + NEW.version_count * (NEW.delete_time IS NULL)
      - OLD.version_count * (OLD.delete_time IS NULL),
    verified_versions = verified_versions + NEW.verified_versions * (NEW.delete_time IS NULL)
      - OLD.verified_versions * (OLD.delete_time IS NULL),
    abandoned_versions = abandoned_versions + NEW.abandoned_versions * (NEW.delete_time IS NULL)
      - OLD.abandoned_versions * (OLD.delete_time IS NULL),
    stored_bytes = stored_bytes + NEW.stored_bytes * (NEW.delete_time IS NULL)
      - OLD.stored_bytes * (OLD.delete_time IS NULL),
    trash_clients = trash_clients + (NEW.delete_time IS NOT NULL) - (OLD.delete_time IS NOT NULL),
    trash_versions = trash_versions + NEW.trash_versions + NEW.version_count * (NEW.delete_time IS NOT NULL)
      - OLD.trash_versions - OLD.version_count * (OLD.delete_time IS NOT NULL),
    trash_bytes = trash_bytes + NEW.trash_bytes + NEW.stored_bytes * (NEW.delete_time IS NOT NULL)
      - OLD.trash_bytes - OLD.stored_bytes * (OLD.delete_time IS NOT NULL);
END;
CREATE TRIGGER file_shown AFTER UPDATE OF version_count ON files
WHEN (OLD.version_count > 0) <> (NEW.version_count > 0) BEGIN
  UPDATE clients SET file_count = file_count + (NEW.version_count > 0) - (OLD.version_count > 0)
  WHERE client_id = NEW.client_id;
END;
CREATE TRIGGER version_added AFTER INSERT ON versions BEGIN
  UPDATE files SET version_count = version_count + 1, last_version_id = NEW.version_id
  WHERE file_id = NEW.file_id;
  UPDATE clients SET
    version_count = version_count + 1,
    stored_bytes = stored_bytes + NEW.size_bytes,
    kept_bytes = kept_bytes + NEW.kept_bytes
  WHERE client_id = (SELECT client_id FROM files WHERE file_id = NEW.file_id);
END;
CREATE TRIGGER version_changed AFTER UPDATE OF state, kept_bytes, delete_time ON versions BEGIN
  UPDATE clients SET
    version_count = version_count + (NEW.delete_time IS NULL) - (OLD.delete_time IS NULL),
    verified_versions = verified_versions
      + (NEW.delete_time IS NULL AND NEW.state = 2) - (OLD.delete_time IS NULL AND OLD.state = 2),
    abandoned_versions = abandoned_versions
      + (NEW.delete_time IS NULL AND NEW.state = 3) - (OLD.delete_time IS NULL AND OLD.state = 3),
    stored_bytes = stored_bytes + NEW.size_bytes * (NEW.delete_time IS NULL AND NEW.state <> 3)
      - OLD.size_bytes * (OLD.delete_time IS NULL AND OLD.state <> 3),
    kept_bytes = kept_bytes
      + coalesce(NEW.kept_bytes, NEW.size_bytes) * (NEW.delete_time IS NULL AND NEW.state <> 3)
      - coalesce(OLD.kept_bytes, OLD.size_bytes) * (OLD.delete_time IS NULL AND OLD.state <> 3),
    trash_versions = trash_versions + (NEW.delete_time IS NOT NULL) - (OLD.delete_time IS NOT NULL),
    trash_bytes = trash_bytes + NEW.size_bytes * (NEW.delete_time IS NOT NULL AND NEW.state <> 3)
      - OLD.size_bytes * (OLD.delete_time IS NOT NULL AND OLD.state <> 3)
  WHERE client_id = (SELECT client_id FROM files WHERE file_id = NEW.file_id);
END;
CREATE TRIGGER version_trashed AFTER UPDATE OF delete_time ON versions
WHEN (OLD.delete_time IS NULL) <> (NEW.delete_time IS NULL) BEGIN
  UPDATE files SET version_count = version_count + (NEW.delete_time IS NULL) - (OLD.delete_time IS NULL)
  WHERE file_id = NEW.file_id;
END;
CREATE TRIGGER version_removed AFTER DELETE ON versions BEGIN
  UPDATE clients SET
    version_count = version_count - (OLD.delete_time IS NULL),
    verified_versions = verified_versions - (OLD.delete_time IS NULL AND OLD.state = 2),
    abandoned_versions = abandoned_versions - (OLD.delete_time IS NULL AND OLD.state = 3),
    stored_bytes = stored_bytes - OLD.size_bytes * (OLD.delete_time IS NULL AND OLD.state <> 3),
    kept_bytes = kept_bytes
      - coalesce(OLD.kept_bytes, OLD.size_bytes) * (OLD.delete_time IS NULL AND OLD.state <> 3),
    trash_versions = trash_versions - (OLD.delete_time IS NOT NULL),
    trash_bytes = trash_bytes - OLD.size_bytes * (OLD.delete_time IS NOT NULL AND OLD.state <> 3)
  WHERE client_id = (SELECT client_id FROM files WHERE file_id = OLD.file_id);
  UPDATE files SET version_count = version_count - 1 WHERE file_id = OLD.file_id AND OLD.delete_time IS NULL;
  DELETE FROM files WHERE file_id = OLD.file_id AND version_count = 0
    AND NOT EXISTS (SELECT 1 FROM versions WHERE file_id = OLD.file_id);
END;

-- What takes room counts wherever it is; content in chunks counts by its chunks.
CREATE TRIGGER version_content_added AFTER INSERT ON versions
WHEN NEW.blob_size > 0 OR (NEW.form < 3 AND NEW.chunk_no IS NULL AND NEW.recipe_id IS NULL) BEGIN
  UPDATE totals SET
    blob_bytes = blob_bytes + NEW.blob_size,
    unmoved_versions = unmoved_versions
      + (NEW.form < 3 AND NEW.chunk_no IS NULL AND NEW.recipe_id IS NULL);
END;
CREATE TRIGGER version_content_changed AFTER UPDATE OF kept_bytes ON versions BEGIN
  UPDATE totals SET
    blob_bytes = blob_bytes + NEW.blob_size - OLD.blob_size,
    unmoved_versions = unmoved_versions
      + (NEW.state <> 3 AND NEW.form < 3 AND NEW.chunk_no IS NULL AND NEW.recipe_id IS NULL)
      - (OLD.state <> 3 AND OLD.form < 3 AND OLD.chunk_no IS NULL AND OLD.recipe_id IS NULL);
END;
CREATE TRIGGER version_content_removed AFTER DELETE ON versions
WHEN OLD.blob_size > 0
  OR (OLD.state <> 3 AND OLD.form < 3 AND OLD.chunk_no IS NULL AND OLD.recipe_id IS NULL) BEGIN
  UPDATE totals SET
    blob_bytes = blob_bytes - OLD.blob_size,
    unmoved_versions = unmoved_versions
      - (OLD.state <> 3 AND OLD.form < 3 AND OLD.chunk_no IS NULL AND OLD.recipe_id IS NULL);
END;
)",
    R"(
-- How much was kept at a time (storage/catalog/types.h, SizeNote).
CREATE TABLE size_notes (
  time INTEGER PRIMARY KEY,
  disk_bytes INTEGER NOT NULL,
  stored_bytes INTEGER NOT NULL
);
)",
    R"(
-- Quotas (storage/catalog/quota.h). client_id of 16 zero bytes: for all clients, or the store. 0: no such limit.
CREATE TABLE quotas (
  client_id BLOB NOT NULL,
  kind INTEGER NOT NULL,
  soft_bytes INTEGER NOT NULL,
  hard_bytes INTEGER NOT NULL,
  soft_files INTEGER NOT NULL,
  hard_files INTEGER NOT NULL,
  PRIMARY KEY (client_id, kind)
) WITHOUT ROWID;
CREATE TRIGGER client_quota_removed AFTER DELETE ON clients BEGIN
  DELETE FROM quotas WHERE client_id = OLD.client_id;
END;

-- trash_files: of a client, all of whose versions were deleted on their own; of the total, those too that went
-- with their client.
ALTER TABLE clients ADD COLUMN trash_files INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN trash_files INTEGER NOT NULL DEFAULT 0;
UPDATE clients SET trash_files = (
  SELECT count(*) FROM files WHERE files.client_id = clients.client_id AND version_count = 0)
WHERE trash_versions > 0;
UPDATE totals SET trash_files = (
  SELECT coalesce(sum(trash_files + file_count * (delete_time IS NOT NULL)), 0) FROM clients);

-- As before, and with trash_files.
DROP TRIGGER client_counted;
CREATE TRIGGER client_counted AFTER UPDATE OF file_count, version_count, verified_versions,
  abandoned_versions, stored_bytes, trash_versions, trash_bytes, trash_files, delete_time ON clients BEGIN
  UPDATE totals SET
    clients = clients + (NEW.delete_time IS NULL) - (OLD.delete_time IS NULL),
    files = files + NEW.file_count * (NEW.delete_time IS NULL) - OLD.file_count * (OLD.delete_time IS NULL),
    versions = versions + NEW.version_count * (NEW.delete_time IS NULL)
      - OLD.version_count * (OLD.delete_time IS NULL),
    verified_versions = verified_versions + NEW.verified_versions * (NEW.delete_time IS NULL)
      - OLD.verified_versions * (OLD.delete_time IS NULL),
    abandoned_versions = abandoned_versions + NEW.abandoned_versions * (NEW.delete_time IS NULL)
      - OLD.abandoned_versions * (OLD.delete_time IS NULL),
    stored_bytes = stored_bytes + NEW.stored_bytes * (NEW.delete_time IS NULL)
      - OLD.stored_bytes * (OLD.delete_time IS NULL),
    trash_clients = trash_clients + (NEW.delete_time IS NOT NULL) - (OLD.delete_time IS NOT NULL),
    trash_versions = trash_versions + NEW.trash_versions + NEW.version_count * (NEW.delete_time IS NOT NULL)
      - OLD.trash_versions - OLD.version_count * (OLD.delete_time IS NOT NULL),
    trash_bytes = trash_bytes + NEW.trash_bytes + NEW.stored_bytes * (NEW.delete_time IS NOT NULL)
      - OLD.trash_bytes - OLD.stored_bytes * (OLD.delete_time IS NOT NULL),
    trash_files = trash_files + NEW.trash_files + NEW.file_count * (NEW.delete_time IS NOT NULL)
      - OLD.trash_files - OLD.file_count * (OLD.delete_time IS NOT NULL);
END;
-- A file without a version that is not in the trash is there; only a new one never had any version.
DROP TRIGGER file_shown;
CREATE TRIGGER file_shown AFTER UPDATE OF version_count ON files
WHEN (OLD.version_count > 0) <> (NEW.version_count > 0) BEGIN
  UPDATE clients SET
    file_count = file_count + (NEW.version_count > 0) - (OLD.version_count > 0),
    trash_files = trash_files + (NEW.version_count = 0) - (OLD.version_count = 0 AND OLD.last_version_id > 0)
  WHERE client_id = NEW.client_id;
END;
CREATE TRIGGER file_gone AFTER DELETE ON files BEGIN
  UPDATE clients SET trash_files = trash_files - 1 WHERE client_id = OLD.client_id;
END;
)",
    R"(
-- When the version came to this store, if receive_time tells another time.
ALTER TABLE versions ADD COLUMN arrive_time INTEGER;
)",
    R"(
-- How often a chunk was found damaged (storage/catalog/snapshot.h, DamageEpoch).
ALTER TABLE totals ADD COLUMN damage_epoch INTEGER NOT NULL DEFAULT 0;
)",
    R"(
-- A change of many versions that TrashTally counts changes this as well, and the triggers that count each leave it alone.
ALTER TABLE versions ADD COLUMN tally INTEGER NOT NULL DEFAULT 0;
DROP TRIGGER version_changed;
DROP TRIGGER version_trashed;
CREATE TRIGGER version_changed AFTER UPDATE OF state, kept_bytes, delete_time ON versions
WHEN NEW.tally = OLD.tally BEGIN
  UPDATE clients SET
    version_count = version_count + (NEW.delete_time IS NULL) - (OLD.delete_time IS NULL),
    verified_versions = verified_versions
      + (NEW.delete_time IS NULL AND NEW.state = 2) - (OLD.delete_time IS NULL AND OLD.state = 2),
    abandoned_versions = abandoned_versions
      + (NEW.delete_time IS NULL AND NEW.state = 3) - (OLD.delete_time IS NULL AND OLD.state = 3),
    stored_bytes = stored_bytes + NEW.size_bytes * (NEW.delete_time IS NULL AND NEW.state <> 3)
      - OLD.size_bytes * (OLD.delete_time IS NULL AND OLD.state <> 3),
    kept_bytes = kept_bytes
      + coalesce(NEW.kept_bytes, NEW.size_bytes) * (NEW.delete_time IS NULL AND NEW.state <> 3)
      - coalesce(OLD.kept_bytes, OLD.size_bytes) * (OLD.delete_time IS NULL AND OLD.state <> 3),
    trash_versions = trash_versions + (NEW.delete_time IS NOT NULL) - (OLD.delete_time IS NOT NULL),
    trash_bytes = trash_bytes + NEW.size_bytes * (NEW.delete_time IS NOT NULL AND NEW.state <> 3)
      - OLD.size_bytes * (OLD.delete_time IS NOT NULL AND OLD.state <> 3)
  WHERE client_id = (SELECT client_id FROM files WHERE file_id = NEW.file_id);
END;
CREATE TRIGGER version_trashed AFTER UPDATE OF delete_time ON versions
WHEN (OLD.delete_time IS NULL) <> (NEW.delete_time IS NULL) AND NEW.tally = OLD.tally BEGIN
  UPDATE files SET version_count = version_count + (NEW.delete_time IS NULL) - (OLD.delete_time IS NULL)
  WHERE file_id = NEW.file_id;
END;
)",
    R"(
-- The audit log (storage/catalog/audit.h). client_id NULL: of no client; it may be gone. version_id 0: of no version.
CREATE TABLE audit_entries (
  number INTEGER PRIMARY KEY,
  time INTEGER NOT NULL,
  actor BLOB NOT NULL,
  role BLOB NOT NULL,
  peer BLOB NOT NULL,
  action BLOB NOT NULL,
  client_id BLOB,
  object BLOB NOT NULL,
  version_id INTEGER NOT NULL,
  outcome BLOB NOT NULL,
  detail BLOB NOT NULL,
  chain BLOB NOT NULL
);
)",
    R"(
-- Who may not connect (storage/catalog/ban.h). end_time of the largest number: until it is lifted.
CREATE TABLE bans (
  network BLOB NOT NULL PRIMARY KEY,
  start_time INTEGER NOT NULL,
  end_time INTEGER NOT NULL,
  source INTEGER NOT NULL,
  author BLOB NOT NULL,
  reason BLOB NOT NULL,
  strikes INTEGER NOT NULL
) WITHOUT ROWID;
)",
};

absl::StatusOr<int64_t> SchemaVersion(Database& database) {
  Query query = database.Prepare("PRAGMA user_version");
  RETURN_IF_ERROR(query.Step().status());
  return query.Int(0);
}

absl::Status CheckNotNewer(int64_t current, int64_t newest) {
  if (current <= newest) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat("the catalog has schema ", current,
                                               ", this program knows ", newest,
                                               ": run the newer program that wrote it"));
}

// Tables, each with its columns, indices and triggers, each as a text.
absl::StatusOr<std::set<std::string>> SchemaNames(Database& database) {
  Query query = database.Prepare(
      "SELECT s.type || ' ' || s.name || coalesce('.' || c.name, '') FROM sqlite_schema s "
      "LEFT JOIN pragma_table_info(s.name) c ON s.type = 'table'");
  std::set<std::string> names;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return names;
    names.insert(query.Blob(0));
  }
}

}  // namespace

absl::Status CheckSchema(Database& database) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Database> right,
                   Database::Open(":memory:", Database::Mode::kReadWrite));
  RETURN_IF_ERROR(Migrate(*right));
  ASSIGN_OR_RETURN(const std::set<std::string> needed, SchemaNames(*right));
  ASSIGN_OR_RETURN(const std::set<std::string> found, SchemaNames(database));
  for (const std::string& name : needed) {
    if (!found.contains(name)) return DamagedCatalog(absl::StrCat("it has no ", name));
  }
  return absl::OkStatus();
}

absl::Status Migrate(Database& database) { return MigrateTo(database, std::size(kMigrations)); }

absl::Status CheckIsNewest(Database& database) {
  const int64_t newest = std::size(kMigrations);
  ASSIGN_OR_RETURN(const int64_t current, SchemaVersion(database));
  RETURN_IF_ERROR(CheckNotNewer(current, newest));
  if (current == newest) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("the catalog has schema ", current,
                                                    ", this program's is ", newest,
                                                    ": start the service of this release once"));
}

absl::Status MigrateTo(Database& database, int64_t newest) {
  ASSIGN_OR_RETURN(const int64_t current, SchemaVersion(database));
  RETURN_IF_ERROR(CheckNotNewer(current, newest));
  LOG_IF(INFO, current > 0 && current < newest)
      << "the catalog is migrated from schema " << current << " to " << newest
      << ": a large one takes minutes, and nobody is served meanwhile";
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
