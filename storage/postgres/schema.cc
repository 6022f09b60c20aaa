#include "storage/postgres/schema.h"

#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::storage::postgres {
namespace {

// Migration n is kMigrations[n - 1]. Never change one that was released; add the next. Times are
// microseconds since 1970, names are bytes, and the numbers of states, kinds and forms are those of
// storage/catalog/version.h. Services of the release before go on while one of a new release
// migrates, so a migration only adds what they need not know of; what is of no more use goes with
// the release after that.
//
// Whoever changes anything of a client, its files or its versions locks the client's row first.
constexpr const char* kMigrations[] = {
    R"(
-- Counts of each client, of which the totals are made up. trash_versions, trash_bytes and trash_files are of
-- what was deleted on its own; all others, and files.version_count too, of what was not.
CREATE TABLE clients (
  client_id BYTEA PRIMARY KEY,
  name BYTEA NOT NULL,
  create_time BIGINT NOT NULL,
  last_seen_time BIGINT NOT NULL,
  public_key BYTEA NOT NULL DEFAULT '',
  sealed_session_key BYTEA NOT NULL DEFAULT '',
  session_key_bits BIGINT NOT NULL DEFAULT 0,
  last_verified_time BIGINT,
  -- storage/catalog/legacy_profile.h
  family BYTEA NOT NULL DEFAULT '',
  header_version BIGINT NOT NULL DEFAULT 0,
  framing BYTEA NOT NULL DEFAULT '',
  file_style BYTEA NOT NULL DEFAULT '',
  connection_style BYTEA NOT NULL DEFAULT '',
  last_protocol_error BYTEA NOT NULL DEFAULT '',
  last_protocol_error_time BIGINT,
  checksum_kind BIGINT NOT NULL DEFAULT 0,
  checksum_refusals BIGINT NOT NULL DEFAULT 0,
  resends BIGINT NOT NULL DEFAULT 0,
  retain_until BIGINT,
  delete_time BIGINT,
  file_count BIGINT NOT NULL DEFAULT 0,
  version_count BIGINT NOT NULL DEFAULT 0,
  verified_versions BIGINT NOT NULL DEFAULT 0,
  abandoned_versions BIGINT NOT NULL DEFAULT 0,
  stored_bytes BIGINT NOT NULL DEFAULT 0,
  kept_bytes BIGINT NOT NULL DEFAULT 0,
  trash_versions BIGINT NOT NULL DEFAULT 0,
  trash_bytes BIGINT NOT NULL DEFAULT 0,
  trash_files BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 60);
CREATE INDEX clients_by_name ON clients (name, create_time);
CREATE INDEX clients_by_last_verified ON clients (last_verified_time) WHERE last_verified_time IS NOT NULL;
CREATE INDEX clients_trashed ON clients (delete_time, client_id) WHERE delete_time IS NOT NULL;

CREATE TABLE files (
  file_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  client_id BYTEA NOT NULL,
  name BYTEA NOT NULL,
  version_count BIGINT NOT NULL DEFAULT 0,
  last_version_id BIGINT NOT NULL DEFAULT 0,  -- That was added, which may be gone.
  UNIQUE (client_id, name)
) WITH (fillfactor = 80);

-- chunk_no 0: the content is empty. kept_bytes: what the version made the store grow by.
CREATE TABLE versions (
  version_id BIGINT PRIMARY KEY,
  file_id BIGINT NOT NULL,
  size_bytes BIGINT NOT NULL,
  encoded_size BIGINT NOT NULL,
  checksum_kind BIGINT NOT NULL,
  checksum BIGINT NOT NULL,
  sha256 BYTEA NOT NULL,
  state BIGINT NOT NULL,
  receive_time BIGINT NOT NULL,
  arrive_time BIGINT,
  verify_time BIGINT,
  form BIGINT NOT NULL,
  upload_id BYTEA,
  blob_id BYTEA,
  blob_size BIGINT NOT NULL DEFAULT 0,
  kept_bytes BIGINT NOT NULL DEFAULT 0,
  chunk_no BIGINT,
  recipe_id BIGINT,
  retain_until BIGINT,
  delete_time BIGINT
) WITH (fillfactor = 80);
CREATE INDEX versions_by_file ON versions (file_id, version_id);
CREATE INDEX versions_by_upload ON versions (upload_id) WHERE upload_id IS NOT NULL;
CREATE UNIQUE INDEX versions_by_blob ON versions (blob_id) WHERE blob_id IS NOT NULL;
-- No index has the state, which changes of each version: a row stays where it is then.
CREATE INDEX versions_unmoved ON versions (version_id)
  WHERE form < 3 AND chunk_no IS NULL AND recipe_id IS NULL;
CREATE INDEX versions_retained ON versions (file_id, retain_until) WHERE retain_until IS NOT NULL;
CREATE INDEX versions_trashed ON versions (delete_time, version_id) WHERE delete_time IS NOT NULL;

-- The content of small files, apart so that scanning versions does not read it.
CREATE TABLE inline_contents (
  version_id BIGINT PRIMARY KEY,
  content BYTEA NOT NULL
);
ALTER TABLE inline_contents ALTER COLUMN content SET STORAGE EXTERNAL;

-- Damage (docs/storage.md). Versions whose content is not what was stored; of chunks their own rows tell.
CREATE TABLE damaged_versions (version_id BIGINT PRIMARY KEY);

-- The life of a blob (docs/storage.md): a row here while it is stored, then versions.blob_id or packs.blob_id,
-- then a row in dropped_blobs until the store has it no more. No job deletes those that were set aside.
CREATE TABLE pending_blobs (
  blob_id BYTEA PRIMARY KEY,
  owner BYTEA NOT NULL,
  lease_end BIGINT NOT NULL
);
CREATE INDEX pending_blobs_by_owner ON pending_blobs (owner);
CREATE TABLE dropped_blobs (blob_id BYTEA PRIMARY KEY);
CREATE TABLE set_aside_blobs (blob_id BYTEA PRIMARY KEY);

-- A pack is a blob, and goes with its last chunk. Its running counts are of chunks that are referred to.
-- Numbers of packs, chunks and recipes are used once: whoever read one may come back with it.
CREATE TABLE packs (
  pack_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  blob_id BYTEA NOT NULL UNIQUE,
  size_bytes BIGINT NOT NULL,
  footer_bytes BIGINT NOT NULL,
  form BIGINT NOT NULL,
  live_bytes BIGINT NOT NULL DEFAULT 0,
  waiting_bytes BIGINT NOT NULL DEFAULT 0,
  damaged_bytes BIGINT NOT NULL DEFAULT 0,
  condemned_epoch BIGINT NOT NULL DEFAULT 0,
  wrapped_key BYTEA NOT NULL
);
CREATE INDEX packs_to_rewrite ON packs ((condemned_epoch = 0), (live_bytes > 0))
  WHERE damaged_bytes = 0 AND (condemned_epoch > 0 OR waiting_bytes > 0 OR live_bytes = 0
    OR (live_bytes * 3 < (size_bytes - footer_bytes) * 2 AND
      size_bytes - footer_bytes - live_bytes > 16384));
CREATE INDEX packs_by_size ON packs (size_bytes);

-- A chunk without a pack is in chunk_payloads. stored_size -1: it has no place yet; nobody but the transaction
-- that adds it sees it.
CREATE TABLE chunks (
  chunk_no BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  chunk_id BYTEA NOT NULL UNIQUE,
  size_bytes BIGINT NOT NULL DEFAULT 0,
  refs BIGINT NOT NULL DEFAULT 0,
  stored_size BIGINT NOT NULL DEFAULT -1,
  form BIGINT NOT NULL DEFAULT 0,
  coding BIGINT NOT NULL DEFAULT 0,
  waits BOOLEAN NOT NULL DEFAULT FALSE,
  is_damaged BOOLEAN NOT NULL DEFAULT FALSE,
  is_condemned BOOLEAN NOT NULL DEFAULT FALSE,
  pack_id BIGINT,
  place BIGINT,
  pack_offset BIGINT
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX chunks_by_place ON chunks (pack_id, place) WHERE pack_id IS NOT NULL;
CREATE INDEX chunks_damaged ON chunks (chunk_no) WHERE is_damaged AND refs > 0;
CREATE TABLE chunk_payloads (
  chunk_no BIGINT PRIMARY KEY,
  payload BYTEA NOT NULL
);
ALTER TABLE chunk_payloads ALTER COLUMN payload SET STORAGE EXTERNAL;

-- Recipes of more than one chunk: entries are numbers and sizes of chunks (storage/catalog/recipe_entries.h).
-- A recipe has a row in pending_recipes, then versions.recipe_id, then a row in dropped_recipes until
-- its references are released.
CREATE TABLE recipes (
  recipe_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  size_bytes BIGINT NOT NULL DEFAULT 0,
  kept_bytes BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE recipe_parts (
  recipe_id BIGINT NOT NULL,
  first_offset BIGINT NOT NULL,
  entries BYTEA NOT NULL,
  PRIMARY KEY (recipe_id, first_offset)
);
CREATE TABLE pending_recipes (
  recipe_id BIGINT PRIMARY KEY,
  owner BYTEA NOT NULL,
  lease_end BIGINT NOT NULL
);
CREATE TABLE dropped_recipes (recipe_id BIGINT PRIMARY KEY);

CREATE TABLE owner_epochs (
  owner BYTEA PRIMARY KEY,
  epoch BIGINT NOT NULL,
  lease_end BIGINT NOT NULL
);
-- One row. Changed when packs are condemned or damage is found, which is seldom.
CREATE TABLE epochs (
  epoch BIGINT NOT NULL,
  damage_epoch BIGINT NOT NULL
);
INSERT INTO epochs VALUES (0, 0);

CREATE TABLE store_values (name BYTEA PRIMARY KEY, value BYTEA NOT NULL);

CREATE TABLE jobs (
  name BYTEA PRIMARY KEY,
  cursor BYTEA NOT NULL,
  last_start_time BIGINT,
  last_success_time BIGINT,
  last_error BYTEA NOT NULL,
  last_count BIGINT NOT NULL,
  total_count BIGINT NOT NULL
);

-- The audit log (storage/catalog/audit.h). client_id NULL: of no client; it may be gone. version_id 0: of no version.
CREATE TABLE audit_entries (
  number BIGINT PRIMARY KEY,
  time BIGINT NOT NULL,
  actor BYTEA NOT NULL,
  role BYTEA NOT NULL,
  peer BYTEA NOT NULL,
  action BYTEA NOT NULL,
  client_id BYTEA,
  object BYTEA NOT NULL,
  version_id BIGINT NOT NULL,
  outcome BYTEA NOT NULL,
  detail BYTEA NOT NULL,
  chain BYTEA NOT NULL
);

-- client_id of 16 zero bytes: the store's. An empty pattern: for all files. 0: no such rule.
CREATE TABLE retention_policies (
  client_id BYTEA NOT NULL,
  pattern BYTEA NOT NULL,
  keep_last BIGINT NOT NULL,
  keep_within BIGINT NOT NULL,
  keep_hourly BIGINT NOT NULL,
  keep_daily BIGINT NOT NULL,
  keep_weekly BIGINT NOT NULL,
  keep_monthly BIGINT NOT NULL,
  keep_yearly BIGINT NOT NULL,
  PRIMARY KEY (client_id, pattern)
);

-- One row: storage/catalog/retention.h, ClockNote.
CREATE TABLE clock_notes (
  id BIGINT PRIMARY KEY CHECK (id = 1),
  base_time BIGINT NOT NULL,
  base_uptime BIGINT NOT NULL,
  boot_id BYTEA NOT NULL,
  newest_time BIGINT NOT NULL,
  distrusted_since BIGINT,
  distrust BYTEA NOT NULL
);

-- storage/catalog/types.h, SizeNote.
CREATE TABLE size_notes (
  time BIGINT PRIMARY KEY,
  disk_bytes BIGINT NOT NULL,
  stored_bytes BIGINT NOT NULL
);

-- storage/catalog/quota.h. client_id of 16 zero bytes: for all clients, or the store. 0: no such limit.
CREATE TABLE quotas (
  client_id BYTEA NOT NULL,
  kind BIGINT NOT NULL,
  soft_bytes BIGINT NOT NULL,
  hard_bytes BIGINT NOT NULL,
  soft_files BIGINT NOT NULL,
  hard_files BIGINT NOT NULL,
  PRIMARY KEY (client_id, kind)
);

-- Running totals, so that counting reads few rows: they are sums over all rows. Each writing session has a row
-- of its own, so that none waits for another.
CREATE TABLE totals (
  shard BIGINT PRIMARY KEY,
  clients BIGINT NOT NULL DEFAULT 0,
  files BIGINT NOT NULL DEFAULT 0,
  versions BIGINT NOT NULL DEFAULT 0,
  verified_versions BIGINT NOT NULL DEFAULT 0,
  abandoned_versions BIGINT NOT NULL DEFAULT 0,
  stored_bytes BIGINT NOT NULL DEFAULT 0,
  blob_bytes BIGINT NOT NULL DEFAULT 0,
  chunks BIGINT NOT NULL DEFAULT 0,
  unique_bytes BIGINT NOT NULL DEFAULT 0,
  compressed_bytes BIGINT NOT NULL DEFAULT 0,
  waiting_bytes BIGINT NOT NULL DEFAULT 0,
  packs BIGINT NOT NULL DEFAULT 0,
  pack_bytes BIGINT NOT NULL DEFAULT 0,
  pack_live_bytes BIGINT NOT NULL DEFAULT 0,
  unmoved_versions BIGINT NOT NULL DEFAULT 0,
  healed_chunks BIGINT NOT NULL DEFAULT 0,
  healed_versions BIGINT NOT NULL DEFAULT 0,
  trash_clients BIGINT NOT NULL DEFAULT 0,
  trash_versions BIGINT NOT NULL DEFAULT 0,
  trash_bytes BIGINT NOT NULL DEFAULT 0,
  trash_files BIGINT NOT NULL DEFAULT 0,
  probes BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 10);

-- The session's row: the first that no other session holds. It is held until the session ends.
CREATE FUNCTION take_shard() RETURNS BIGINT LANGUAGE plpgsql AS $$
BEGIN
  FOR n IN 1..100000 LOOP
    IF pg_try_advisory_lock('totals'::regclass::oid::int, n) THEN
      INSERT INTO totals (shard) VALUES (n) ON CONFLICT DO NOTHING;
      PERFORM set_config('backup.shard', n::text, false);
      RETURN n;
    END IF;
  END LOOP;
  RAISE EXCEPTION 'too many sessions write to the catalog';
END $$;
CREATE FUNCTION shard() RETURNS BIGINT LANGUAGE sql STABLE
  AS $$ SELECT current_setting('backup.shard')::bigint $$;

-- Numbers of versions. A sequence, which nobody waits for until a transaction ends.
CREATE SEQUENCE version_ids;
CREATE FUNCTION reserve_version_ids(wanted BIGINT) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
  first BIGINT;
BEGIN
  PERFORM pg_advisory_lock('version_ids'::regclass::oid::int, 0);
  first := nextval('version_ids');
  IF wanted > 1 THEN PERFORM setval('version_ids', first + wanted - 1); END IF;
  PERFORM pg_advisory_unlock('version_ids'::regclass::oid::int, 0);
  RETURN first;
END $$;

-- Ends a reference to one chunk.
CREATE FUNCTION end_chunk_reference(ended BIGINT) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
  c chunks;
BEGIN
  SELECT * INTO c FROM chunks WHERE chunk_no = ended FOR UPDATE;
  IF NOT FOUND THEN RETURN; END IF;
  IF c.refs = 1 THEN
    UPDATE totals SET
      chunks = chunks - 1,
      unique_bytes = unique_bytes - c.size_bytes,
      compressed_bytes = compressed_bytes - c.stored_size,
      waiting_bytes = waiting_bytes - CASE WHEN c.waits THEN c.stored_size ELSE 0 END,
      pack_live_bytes = pack_live_bytes - CASE WHEN c.pack_id IS NULL THEN 0 ELSE c.stored_size END
    WHERE shard = shard();
    UPDATE packs SET
      live_bytes = live_bytes - c.stored_size,
      waiting_bytes = waiting_bytes - CASE WHEN c.waits THEN c.stored_size ELSE 0 END,
      damaged_bytes = damaged_bytes - CASE WHEN c.is_damaged THEN c.stored_size ELSE 0 END
    WHERE pack_id = c.pack_id;
  END IF;
  IF c.refs <= 1 AND c.pack_id IS NULL THEN
    DELETE FROM chunk_payloads WHERE chunk_no = ended;
    DELETE FROM chunks WHERE chunk_no = ended;
  ELSE
    UPDATE chunks SET refs = refs - 1 WHERE chunk_no = ended;
  END IF;
END $$;

-- Every reference of a version to content that ends, in whatever way.
CREATE FUNCTION end_references(blob BYTEA, chunk BIGINT, recipe BIGINT) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
  IF blob IS NOT NULL THEN
    INSERT INTO dropped_blobs SELECT blob
      WHERE NOT EXISTS (SELECT 1 FROM set_aside_blobs WHERE blob_id = blob) ON CONFLICT DO NOTHING;
  END IF;
  IF chunk IS NOT NULL THEN PERFORM end_chunk_reference(chunk); END IF;
  IF recipe IS NOT NULL THEN INSERT INTO dropped_recipes VALUES (recipe) ON CONFLICT DO NOTHING; END IF;
END $$;

-- Counts of a version in its file, its client and the totals: from what it was to what it is, of which one
-- may not be there. Whether the file counts, and where, follows.
CREATE FUNCTION count_version(was versions, becomes versions) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
  file files;
  is_trashed BOOLEAN;
  old_there BIGINT := (was.version_id IS NOT NULL AND was.delete_time IS NULL)::int;
  new_there BIGINT := (becomes.version_id IS NOT NULL AND becomes.delete_time IS NULL)::int;
  old_trash BIGINT := (was.delete_time IS NOT NULL)::int;
  new_trash BIGINT := (becomes.delete_time IS NOT NULL)::int;
  old_bytes BIGINT := CASE WHEN was.state <> 3 THEN was.size_bytes ELSE 0 END;
  new_bytes BIGINT := CASE WHEN becomes.state <> 3 THEN becomes.size_bytes ELSE 0 END;
  verified BIGINT := new_there * coalesce((becomes.state = 2)::int, 0) - old_there * coalesce((was.state = 2)::int, 0);
  abandoned BIGINT := new_there * coalesce((becomes.state = 3)::int, 0) - old_there * coalesce((was.state = 3)::int, 0);
  bytes BIGINT := new_there * new_bytes - old_there * old_bytes;
  bytes_in_trash BIGINT := new_trash * new_bytes - old_trash * old_bytes;
  kept BIGINT := new_there * CASE WHEN becomes.state <> 3 THEN becomes.kept_bytes ELSE 0 END
    - old_there * CASE WHEN was.state <> 3 THEN was.kept_bytes ELSE 0 END;
  there BIGINT := new_there - old_there;
  in_trash BIGINT := new_trash - old_trash;
  shown BIGINT;
  hidden BIGINT;
BEGIN
  UPDATE files SET version_count = version_count + there
    WHERE file_id = coalesce(becomes.file_id, was.file_id) RETURNING * INTO file;
  -- A file without a version that is not in the trash is in the trash itself.
  shown := (file.version_count > 0)::int - (file.version_count - there > 0)::int;
  hidden := -shown;
  IF file.version_count = 0 AND becomes.version_id IS NULL AND
    NOT EXISTS (SELECT 1 FROM versions WHERE file_id = file.file_id) THEN
    DELETE FROM files WHERE file_id = file.file_id;
    hidden := hidden - 1;
  END IF;
  UPDATE clients SET
    file_count = file_count + shown,
    version_count = version_count + there,
    verified_versions = verified_versions + verified,
    abandoned_versions = abandoned_versions + abandoned,
    stored_bytes = stored_bytes + bytes,
    kept_bytes = kept_bytes + kept,
    trash_versions = trash_versions + in_trash,
    trash_bytes = trash_bytes + bytes_in_trash,
    trash_files = trash_files + hidden
  WHERE client_id = file.client_id RETURNING delete_time IS NOT NULL INTO is_trashed;
  IF is_trashed THEN
    UPDATE totals SET
      trash_versions = trash_versions + in_trash + there,
      trash_bytes = trash_bytes + bytes_in_trash + bytes,
      trash_files = trash_files + hidden + shown
    WHERE shard = shard();
  ELSE
    UPDATE totals SET
      files = files + shown,
      versions = versions + there,
      verified_versions = totals.verified_versions + verified,
      abandoned_versions = totals.abandoned_versions + abandoned,
      stored_bytes = stored_bytes + bytes,
      trash_versions = trash_versions + in_trash,
      trash_bytes = trash_bytes + bytes_in_trash,
      trash_files = trash_files + hidden
    WHERE shard = shard();
  END IF;
  -- What takes room counts wherever it is.
  UPDATE totals SET
    blob_bytes = blob_bytes + coalesce(becomes.blob_size, 0) - coalesce(was.blob_size, 0),
    unmoved_versions = unmoved_versions
      + coalesce((becomes.state <> 3 AND becomes.form < 3 AND becomes.chunk_no IS NULL
        AND becomes.recipe_id IS NULL)::int, 0)
      - coalesce((was.state <> 3 AND was.form < 3 AND was.chunk_no IS NULL AND was.recipe_id IS NULL)::int, 0)
  WHERE shard = shard();
END $$;

-- Versions that are added and verified are counted by whoever does that, since there are so many.
CREATE FUNCTION version_changed() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  PERFORM count_version(OLD, NEW);
  PERFORM end_references(
    CASE WHEN OLD.blob_id IS DISTINCT FROM NEW.blob_id THEN OLD.blob_id END,
    CASE WHEN OLD.chunk_no IS DISTINCT FROM NEW.chunk_no THEN OLD.chunk_no END,
    CASE WHEN OLD.recipe_id IS DISTINCT FROM NEW.recipe_id THEN OLD.recipe_id END);
  RETURN NULL;
END $$;
CREATE TRIGGER version_changed AFTER UPDATE OF kept_bytes, delete_time ON versions
  FOR EACH ROW EXECUTE FUNCTION version_changed();
CREATE FUNCTION version_removed() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  PERFORM count_version(OLD, NULL);
  PERFORM end_references(OLD.blob_id, OLD.chunk_no, OLD.recipe_id);
  DELETE FROM inline_contents WHERE version_id = OLD.version_id;
  DELETE FROM damaged_versions WHERE version_id = OLD.version_id;
  RETURN NULL;
END $$;
CREATE TRIGGER version_removed AFTER DELETE ON versions FOR EACH ROW EXECUTE FUNCTION version_removed();

-- What goes into the trash with its client, and comes back with it.
CREATE FUNCTION client_trashed() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
  there BIGINT := (NEW.delete_time IS NULL)::int - (OLD.delete_time IS NULL)::int;
BEGIN
  UPDATE totals SET
    clients = clients + there,
    files = files + there * NEW.file_count,
    versions = versions + there * NEW.version_count,
    verified_versions = verified_versions + there * NEW.verified_versions,
    abandoned_versions = abandoned_versions + there * NEW.abandoned_versions,
    stored_bytes = stored_bytes + there * NEW.stored_bytes,
    trash_clients = trash_clients - there,
    trash_versions = trash_versions - there * NEW.version_count,
    trash_bytes = trash_bytes - there * NEW.stored_bytes,
    trash_files = trash_files - there * NEW.file_count
  WHERE shard = shard();
  RETURN NULL;
END $$;
CREATE TRIGGER client_trashed AFTER UPDATE OF delete_time ON clients FOR EACH ROW
  WHEN ((OLD.delete_time IS NULL) <> (NEW.delete_time IS NULL)) EXECUTE FUNCTION client_trashed();
CREATE FUNCTION client_removed() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  UPDATE totals SET
    clients = clients - (OLD.delete_time IS NULL)::int,
    trash_clients = trash_clients - (OLD.delete_time IS NOT NULL)::int
  WHERE shard = shard();
  DELETE FROM retention_policies WHERE client_id = OLD.client_id;
  DELETE FROM quotas WHERE client_id = OLD.client_id;
  RETURN NULL;
END $$;
CREATE TRIGGER client_removed AFTER DELETE ON clients FOR EACH ROW EXECUTE FUNCTION client_removed();
)",
    R"(
-- Who may not connect (storage/catalog/ban.h). end_time of the largest number: until it is lifted.
CREATE TABLE bans (
  network BYTEA PRIMARY KEY,
  start_time BIGINT NOT NULL,
  end_time BIGINT NOT NULL,
  source BIGINT NOT NULL,
  author BYTEA NOT NULL,
  reason BYTEA NOT NULL,
  strikes BIGINT NOT NULL
);
)",
};

// Whether the catalog has a table of its migrations: not one that is to be made. Not asked of
// to_regclass(), which, without a lock on a table, answers from a cache: a table that another has
// made while this waited for the lock on migrations would not be there.
absl::StatusOr<bool> HasMigrations(Connection& connection) {
  Query query = connection.Prepare(
      "SELECT current_schema() IS NULL, EXISTS (SELECT FROM pg_class c JOIN pg_namespace n "
      "ON n.oid = c.relnamespace WHERE n.nspname = current_schema() "
      "AND c.relname = 'catalog_migrations')");
  RETURN_IF_ERROR(query.Step().status());
  if (query.Int(0) != 0) {
    return absl::FailedPreconditionError(
        "the catalog's database has no schema of the role's search_path: create it");
  }
  return query.Int(1) != 0;
}

absl::StatusOr<int64_t> SchemaVersion(Connection& connection) {
  ASSIGN_OR_RETURN(const bool has_migrations, HasMigrations(connection));
  if (!has_migrations) return 0;
  Query query = connection.Prepare("SELECT coalesce(max(version), 0) FROM catalog_migrations");
  RETURN_IF_ERROR(query.Step().status());
  return query.Int(0);
}

absl::Status CheckNotNewer(int64_t current, int64_t newest) {
  if (current <= newest) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat("the catalog has schema ", current,
                                               ", this program knows ", newest,
                                               ": run the newer program that wrote it"));
}

// Everything from the transaction's beginning on; the lock goes with it.
absl::Status MigrateInTransaction(Connection& connection, int64_t newest) {
  RETURN_IF_ERROR(connection.ExecuteScript(
      "BEGIN; SELECT pg_advisory_xact_lock(hashtext('backup catalog ' || current_schema()))"));
  // Others may have done it meanwhile.
  ASSIGN_OR_RETURN(const int64_t current, SchemaVersion(connection));
  RETURN_IF_ERROR(CheckNotNewer(current, newest));
  std::string script;
  if (current == 0) {
    script =
        "CREATE TABLE catalog_migrations (version BIGINT PRIMARY KEY, "
        "time TIMESTAMPTZ NOT NULL DEFAULT now());";
  }
  for (int64_t version = current; version < newest; ++version) {
    absl::StrAppend(&script, kMigrations[version],
                    ";INSERT INTO catalog_migrations (version) VALUES (", version + 1, ");");
  }
  LOG_IF(INFO, current > 0 && current < newest)
      << "the catalog is migrated from schema " << current << " to " << newest;
  return connection.ExecuteScript(absl::StrCat(script, "COMMIT"));
}

}  // namespace

absl::Status Migrate(Connection& connection) { return MigrateTo(connection, NewestSchema()); }

int64_t NewestSchema() { return std::ssize(kMigrations); }

absl::Status CheckIsNewest(Connection& connection) {
  ASSIGN_OR_RETURN(const int64_t current, SchemaVersion(connection));
  RETURN_IF_ERROR(CheckNotNewer(current, NewestSchema()));
  if (current == NewestSchema()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("the catalog has schema ", current,
                                                    ", this program's is ", NewestSchema(),
                                                    ": start the service of this release once"));
}

absl::Status MigrateTo(Connection& connection, int64_t newest) {
  ASSIGN_OR_RETURN(const int64_t current, SchemaVersion(connection));
  RETURN_IF_ERROR(CheckNotNewer(current, newest));
  if (current == newest) return absl::OkStatus();
  absl::Status migrated = MigrateInTransaction(connection, newest);
  if (migrated.ok()) return migrated;
  if (connection.remedy() == Remedy::kGrant)
    migrated = absl::FailedPreconditionError(migrated.message());
  connection.RollBack().IgnoreError();
  return migrated;
}

}  // namespace backup::storage::postgres
