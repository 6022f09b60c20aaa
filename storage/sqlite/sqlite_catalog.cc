#include "storage/sqlite/sqlite_catalog.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "storage/sqlite/rows.h"
#include "storage/sqlite/schema.h"
#include "storage/sqlite/statements.h"

namespace backup::storage {
namespace {

// Version ids are reserved in blocks of so many; a restart skips what is left of one.
constexpr int64_t kVersionIdBlock = 1024;
// Readers kept open when idle; more are opened when more are needed at once.
constexpr size_t kMaxIdleReaders = 8;

constexpr char kWriterSettings[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; "
    "PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; "
    // A checkpoint copies every page once, however often it was written: at 32 MiB of log instead
    // of 4 that is far less work, and opening a log of that size takes milliseconds.
    "PRAGMA wal_autocheckpoint = 8192; PRAGMA cache_size = -32768;";
constexpr char kReaderSettings[] =
    "PRAGMA wal_autocheckpoint = 0; PRAGMA query_only = ON; PRAGMA mmap_size = 0;";

// Returns the first of kVersionIdBlock numbers that nobody else gets.
absl::StatusOr<int64_t> ReserveVersionIds(Database& database) {
  Query query = database.Prepare(
      "UPDATE totals SET next_version_id = next_version_id + ? RETURNING next_version_id");
  ASSIGN_OR_RETURN(const bool found, query.Bind(kVersionIdBlock).Step());
  if (!found)
    return MakeError(Reason::kStateCorrupt, "the catalog's totals are missing", "catalog");
  return query.Int(0) - kVersionIdBlock;
}

// Numbers of a block whose reservation was undone are given out all the same: reserves this one
// anew if need be.
absl::Status KeepReserved(Database& database, int64_t version_id) {
  return database.Prepare("UPDATE totals SET next_version_id = ?1 + 1 WHERE next_version_id <= ?1")
      .Bind(version_id)
      .Run();
}

void SetSeen(Client& client, absl::Time now) {
  client.last_seen_time = std::max(client.last_seen_time, StoredTime(now));
}

// Settles the newest version of the owner's file that is still kReceived, if there is one. What
// that changes of the owner, beside last_verified_time, is still to be stored.
absl::StatusOr<Settlement> SettleNewest(Database& database, Client& owner, int64_t file_id,
                                        Outcome outcome, Learning learning, absl::Time now) {
  Settlement settlement;
  Query query = database.Prepare(
      "SELECT version_id, blob_id, checksum_kind FROM versions WHERE file_id = ? AND state = 1 "
      "ORDER BY version_id DESC LIMIT 1");
  ASSIGN_OR_RETURN(const bool found, query.Bind(file_id).Step());
  if (!found) return settlement;
  settlement.changed = true;
  const std::optional<BlobId> blob = BlobId::FromBytes(query.Blob(1));
  const auto checksum_kind = static_cast<ChecksumKind>(query.Int(2));
  RETURN_IF_ERROR(ApplyOutcome(database, query.Int(0), outcome, now));
  if (learning == Learning::kOn) owner.legacy.Learn(outcome, checksum_kind);
  if (outcome == Outcome::kRetrying) ++owner.resends;
  if (outcome == Outcome::kVerified) {
    RETURN_IF_ERROR(
        database.Prepare("UPDATE clients SET last_verified_time = ? WHERE client_id = ?")
            .Bind(absl::ToUnixMicros(now))
            .BindBlob(owner.id.bytes())
            .Run());
  } else if (blob) {
    settlement.released.push_back(*blob);
  }
  return settlement;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteCatalog>> SqliteCatalog::Open(const std::string& path,
                                                                   const StorageMetrics& metrics) {
  ASSIGN_OR_RETURN(std::unique_ptr<Database> writer,
                   Database::Open(path, Database::Mode::kReadWrite, metrics.busy));
  RETURN_IF_ERROR(writer->Execute(kWriterSettings));
  RETURN_IF_ERROR(Migrate(*writer));
  return std::unique_ptr<SqliteCatalog>(new SqliteCatalog(path, std::move(writer), metrics));
}

void SqliteCatalog::Start(std::function<void()> work,
                          std::function<void(const absl::Status&)> done) {
  StartNotingSeen();
  writes_.Start(std::move(work), std::move(done));
}

template <typename Work>
auto SqliteCatalog::Write(const Work& work) {
  StartNotingSeen();
  std::invoke_result_t<Work, Database&> result = absl::UnknownError("not run");
  const absl::Status committed = writes_.Run([&](Database& database) -> absl::Status {
    result = work(database);
    return result.status();
  });
  if (!committed.ok()) result = committed;
  return result;
}

SqliteCatalog::~SqliteCatalog() {
  // What was only remembered is written now; that it may be lost is part of the contract.
  Write([](Database&) -> absl::StatusOr<bool> { return true; }).status().IgnoreError();
}

void SqliteCatalog::RememberSeen(const ClientId& id, absl::Time time) {
  MutexLock lock(mutex_);
  absl::Time& latest = seen_.try_emplace(id, time).first->second;
  latest = std::max(latest, time);
}

void SqliteCatalog::StartNotingSeen() {
  SeenTimes taken;
  {
    MutexLock lock(mutex_);
    taken.swap(seen_);
  }
  if (taken.empty()) return;
  const auto seen = std::make_shared<const SeenTimes>(std::move(taken));
  const auto remember = [this, seen] {
    for (const auto& [id, time] : *seen) RememberSeen(id, time);
  };
  writes_.Start(
      [this, seen, remember] {
        const absl::Status noted = writes_.Run([&](Database& database) -> absl::Status {
          for (const auto& [id, time] : *seen) RETURN_IF_ERROR(NoteSeen(database, id, time));
          return absl::OkStatus();
        });
        if (!noted.ok()) remember();
      },
      [remember](const absl::Status& committed) {
        if (!committed.ok()) remember();
      });
}

template <typename Work>
auto SqliteCatalog::Read(const Work& work) {
  using Result = std::invoke_result_t<Work, Database&>;
  if (Database* const writer = writes_.OwnDatabase()) return Result(work(*writer));
  absl::StatusOr<std::unique_ptr<Database>> reader = TakeReader();
  if (!reader.ok()) return Result(reader.status());
  // One transaction, so that several statements see one state.
  if (absl::Status begun = (*reader)->Prepare("BEGIN").Run(); !begun.ok()) return Result(begun);
  Result result = work(**reader);
  if ((*reader)->Prepare("COMMIT").Run().ok()) GiveBack(*std::move(reader));
  return result;
}

absl::StatusOr<std::unique_ptr<Database>> SqliteCatalog::TakeReader() {
  {
    MutexLock lock(mutex_);
    if (!idle_readers_.empty()) {
      std::unique_ptr<Database> reader = std::move(idle_readers_.back());
      idle_readers_.pop_back();
      return reader;
    }
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Database> reader,
                   Database::Open(path_, Database::Mode::kReadOnly, metrics_.busy));
  RETURN_IF_ERROR(reader->Execute(kReaderSettings));
  return reader;
}

void SqliteCatalog::GiveBack(std::unique_ptr<Database> reader) {
  MutexLock lock(mutex_);
  if (idle_readers_.size() < kMaxIdleReaders) idle_readers_.push_back(std::move(reader));
}

absl::StatusOr<Client> SqliteCatalog::RegisterClient(const std::string& name,
                                                     const ClientId& new_id, DuplicateNames policy,
                                                     absl::Time now) {
  return Write([&](Database& database) -> absl::StatusOr<Client> {
    ASSIGN_OR_RETURN(const std::optional<Client> known, SelectClientByName(database, name));
    if (known && known->public_key.empty()) {
      RETURN_IF_ERROR(NoteSeen(database, known->id, now));
      return SelectClient(database, known->id);
    }
    if (known && policy == DuplicateNames::kReject) {
      return MakeError(Reason::kNameTaken, "another client has this name", NameToText(name));
    }
    // The clock may have been set back since the name's last registration.
    const absl::Time create_time =
        known ? std::max(now, known->create_time + absl::Microseconds(1)) : now;
    return InsertClient(database, name, new_id, create_time);
  });
}

absl::StatusOr<Client> SqliteCatalog::FindClient(const ClientId& id) {
  return Read([&](Database& database) { return SelectClient(database, id); });
}

absl::StatusOr<Client> SqliteCatalog::FindClientByName(const std::string& name) {
  return Read([&](Database& database) -> absl::StatusOr<Client> {
    ASSIGN_OR_RETURN(const std::optional<Client> client, SelectClientByName(database, name));
    if (client) return *client;
    const std::string text = NameToText(name);
    return MakeError(Reason::kClientNotFound, absl::StrCat("there is no client named ", text),
                     text);
  });
}

absl::StatusOr<std::vector<Client>> SqliteCatalog::ListClients(const ClientId& after, int limit) {
  return Read([&](Database& database) -> absl::StatusOr<std::vector<Client>> {
    Query query = database.Prepare("SELECT " CLIENT_COLUMNS
                                   " FROM clients WHERE client_id > ? ORDER BY client_id LIMIT ?");
    query.BindBlob(after.bytes()).Bind(limit);
    std::vector<Client> clients;
    while (true) {
      ASSIGN_OR_RETURN(const bool more, query.Step());
      if (!more) return clients;
      clients.push_back(ReadClient(query));
    }
  });
}

absl::StatusOr<std::vector<BlobId>> SqliteCatalog::DeleteClient(const ClientId& id) {
  return Write([&](Database& database) -> absl::StatusOr<std::vector<BlobId>> {
    RETURN_IF_ERROR(SelectClient(database, id).status());
    Query query = database.Prepare(
        "SELECT v.blob_id FROM files f JOIN versions v USING (file_id) WHERE f.client_id = ? AND "
        "v.blob_id IS NOT NULL");
    query.BindBlob(id.bytes());
    ASSIGN_OR_RETURN(std::vector<BlobId> released, ReadBlobIds(query));
    // Versions first: the triggers that count need the rows of their files.
    RETURN_IF_ERROR(database
                        .Prepare("DELETE FROM versions WHERE file_id IN (SELECT file_id FROM files "
                                 "WHERE client_id = ?)")
                        .BindBlob(id.bytes())
                        .Run());
    RETURN_IF_ERROR(
        database.Prepare("DELETE FROM clients WHERE client_id = ?").BindBlob(id.bytes()).Run());
    return released;
  });
}

absl::StatusOr<Client> SqliteCatalog::SetClientKey(const ClientId& id, const KeyGrant& grant,
                                                   Rekey policy, absl::Time now) {
  return Write([&](Database& database) -> absl::StatusOr<Client> {
    ASSIGN_OR_RETURN(Client client, SelectClient(database, id));
    const bool same_key = client.public_key == grant.public_key;
    if (!client.public_key.empty() && !same_key && policy == Rekey::kPin) {
      return MakeError(Reason::kRekeyRefused,
                       "the client has another public key; delete the client or allow the change "
                       "(--rekey=allow)");
    }
    SetSeen(client, now);
    if (!same_key || client.session_key_bits != grant.session_key_bits || grant.rotate) {
      client.public_key = grant.public_key;
      client.sealed_session_key = grant.sealed_session_key;
      client.session_key_bits = grant.session_key_bits;
    }
    RETURN_IF_ERROR(UpdateClient(database, client));
    return client;
  });
}

absl::StatusOr<Client> SqliteCatalog::UpdateLegacyProfile(const ClientId& id,
                                                          const LegacyProfile& observed) {
  return Write([&](Database& database) -> absl::StatusOr<Client> {
    ASSIGN_OR_RETURN(Client client, SelectClient(database, id));
    if (client.legacy.Merge(observed)) RETURN_IF_ERROR(UpdateClient(database, client));
    return client;
  });
}

absl::Status SqliteCatalog::TouchClient(const ClientId& id, absl::Time now) {
  RETURN_IF_ERROR(FindClient(id).status());
  RememberSeen(id, now);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> SqliteCatalog::AllocateVersionId() {
  while (true) {
    {
      MutexLock lock(mutex_);
      if (next_version_id_ < version_ids_end_) return next_version_id_++;
    }
    ASSIGN_OR_RETURN(const int64_t begin, Write(ReserveVersionIds));
    MutexLock lock(mutex_);
    // Of two blocks that are reserved at once only the later is used, so that the numbers never
    // shrink.
    if (begin < version_ids_end_) continue;
    next_version_id_ = begin;
    version_ids_end_ = begin + kVersionIdBlock;
  }
}

absl::StatusOr<Version> SqliteCatalog::AddVersion(const Version& version, const Content& content,
                                                  const LegacyProfile& observed) {
  return Write([&](Database& database) -> absl::StatusOr<Version> {
    ASSIGN_OR_RETURN(Client client, SelectClient(database, version.client_id));
    if (version.upload_id) {
      ASSIGN_OR_RETURN(const std::optional<Version> known,
                       SelectUpload(database, version.client_id, *version.upload_id));
      if (known) return *known;
    }
    ASSIGN_OR_RETURN(const int64_t file_id,
                     SelectOrInsertFile(database, version.client_id, version.file_name));
    RETURN_IF_ERROR(InsertVersion(database, file_id, version, content));
    RETURN_IF_ERROR(KeepReserved(database, version.version_id));
    client.legacy.Merge(observed);
    SetSeen(client, version.receive_time);
    RETURN_IF_ERROR(UpdateClient(database, client));
    return version;
  });
}

absl::StatusOr<std::optional<Version>> SqliteCatalog::FindUpload(const ClientId& client,
                                                                 const UploadId& upload) {
  return Read([&](Database& database) { return SelectUpload(database, client, upload); });
}

absl::StatusOr<Settlement> SqliteCatalog::SettleVersion(const ClientId& client,
                                                        const std::string& file_name,
                                                        Outcome outcome, Learning learning,
                                                        absl::Time now) {
  return Write([&](Database& database) -> absl::StatusOr<Settlement> {
    ASSIGN_OR_RETURN(Client owner, SelectClient(database, client));
    SetSeen(owner, now);
    const absl::StatusOr<int64_t> file_id = SelectFileId(database, client, file_name);
    Settlement settlement;
    if (file_id.ok()) {
      ASSIGN_OR_RETURN(settlement, SettleNewest(database, owner, *file_id, outcome, learning, now));
    } else if (ReasonOf(file_id.status()) != Reason::kFileNotFound ||
               outcome == Outcome::kVerified) {
      return file_id.status();
    }
    RETURN_IF_ERROR(UpdateClient(database, owner));
    return settlement;
  });
}

absl::StatusOr<StoredVersion> SqliteCatalog::FindVersion(const ClientId& client,
                                                         const std::string& file_name,
                                                         int64_t version_id, bool with_content) {
  return Read([&](Database& database) -> absl::StatusOr<StoredVersion> {
    ASSIGN_OR_RETURN(const int64_t file_id, SelectFileId(database, client, file_name));
    Query query = database.Prepare(
        version_id == 0 ? "SELECT " VERSION_COLUMNS
                          " FROM versions v JOIN files f USING (file_id) "
                          "WHERE v.file_id = ? AND v.state = 2 ORDER BY v.version_id DESC LIMIT 1"
                        : "SELECT " VERSION_COLUMNS
                          " FROM versions v JOIN files f USING (file_id) "
                          "WHERE v.file_id = ? AND v.version_id = ?");
    query.Bind(file_id);
    if (version_id != 0) query.Bind(version_id);
    ASSIGN_OR_RETURN(const bool found, query.Step());
    if (!found) return VersionNotFound(file_name, version_id);
    StoredVersion stored{ReadVersion(query), {}};
    if (with_content) {
      ASSIGN_OR_RETURN(stored.content, ReadContent(database, query));
    }
    return stored;
  });
}

absl::StatusOr<std::vector<File>> SqliteCatalog::ListFiles(const ClientId& client,
                                                           const std::string& after, int limit) {
  return Read([&](Database& database) -> absl::StatusOr<std::vector<File>> {
    RETURN_IF_ERROR(SelectClient(database, client).status());
    Query query = database.Prepare(
        "SELECT file_id, name, version_count FROM files "
        "WHERE client_id = ? AND name > ? ORDER BY name LIMIT ?");
    query.BindBlob(client.bytes()).BindBlob(after).Bind(limit);
    std::vector<File> files;
    while (true) {
      ASSIGN_OR_RETURN(const bool more, query.Step());
      if (!more) return files;
      File file{query.Blob(1), std::nullopt, query.Int(2)};
      Query newest = database.Prepare(
          "SELECT " VERSION_COLUMNS
          " FROM versions v JOIN files f USING (file_id) "
          "WHERE v.file_id = ? AND v.state = 2 ORDER BY v.version_id DESC LIMIT 1");
      ASSIGN_OR_RETURN(const bool verified, newest.Bind(query.Int(0)).Step());
      if (verified) file.newest_verified = ReadVersion(newest);
      files.push_back(std::move(file));
    }
  });
}

absl::StatusOr<std::vector<Version>> SqliteCatalog::ListVersions(const ClientId& client,
                                                                 const std::string& file_name,
                                                                 int64_t before, int limit) {
  return Read([&](Database& database) -> absl::StatusOr<std::vector<Version>> {
    ASSIGN_OR_RETURN(const int64_t file_id, SelectFileId(database, client, file_name));
    Query query = database.Prepare(
        "SELECT " VERSION_COLUMNS
        " FROM versions v JOIN files f USING (file_id) "
        "WHERE v.file_id = ? AND v.version_id < ? ORDER BY v.version_id DESC LIMIT ?");
    query.Bind(file_id).Bind(before == 0 ? INT64_MAX : before).Bind(limit);
    std::vector<Version> versions;
    while (true) {
      ASSIGN_OR_RETURN(const bool more, query.Step());
      if (!more) return versions;
      versions.push_back(ReadVersion(query));
    }
  });
}

absl::StatusOr<std::vector<BlobId>> SqliteCatalog::DeleteVersion(const ClientId& client,
                                                                 const std::string& file_name,
                                                                 int64_t version_id) {
  return Write([&](Database& database) -> absl::StatusOr<std::vector<BlobId>> {
    ASSIGN_OR_RETURN(const int64_t file_id, SelectFileId(database, client, file_name));
    Query query = database.Prepare(
        "DELETE FROM versions WHERE file_id = ? AND version_id = ? RETURNING coalesce(blob_id, "
        "x'')");
    query.Bind(file_id).Bind(version_id);
    ASSIGN_OR_RETURN(const bool found, query.Step());
    if (!found) return VersionNotFound(file_name, version_id);
    std::vector<BlobId> released;
    if (const std::optional<BlobId> blob = BlobId::FromBytes(query.Blob(0)))
      released.push_back(*blob);
    return released;
  });
}

absl::StatusOr<std::vector<StoredVersion>> SqliteCatalog::ScanVersions(int64_t after, int limit) {
  return Read([&](Database& database) -> absl::StatusOr<std::vector<StoredVersion>> {
    Query query = database.Prepare("SELECT " VERSION_COLUMNS
                                   " FROM versions v JOIN files f USING (file_id) "
                                   "WHERE v.version_id > ? ORDER BY v.version_id LIMIT ?");
    query.Bind(after).Bind(limit);
    std::vector<StoredVersion> versions;
    while (true) {
      ASSIGN_OR_RETURN(const bool more, query.Step());
      if (!more) return versions;
      ASSIGN_OR_RETURN(Content content, ReadContent(database, query));
      versions.push_back({ReadVersion(query), std::move(content)});
    }
  });
}

absl::StatusOr<bool> SqliteCatalog::HasBlob(const BlobId& id) {
  return Read([&](Database& database) -> absl::StatusOr<bool> {
    return database.Prepare("SELECT 1 FROM versions WHERE blob_id = ?").BindBlob(id.bytes()).Step();
  });
}

absl::StatusOr<Counts> SqliteCatalog::Count() {
  return Read([&](Database& database) -> absl::StatusOr<Counts> {
    Query totals = database.Prepare(
        "SELECT clients, files, versions, verified_versions, abandoned_versions, stored_bytes, "
        "(SELECT max(last_verified_time) FROM clients WHERE last_verified_time IS NOT NULL) FROM "
        "totals");
    RETURN_IF_ERROR(totals.Step().status());
    Counts counts{totals.Int(0), totals.Int(1), totals.Int(2), totals.Int(3),
                  totals.Int(4), totals.Int(5), std::nullopt};
    if (!totals.IsNull(6)) counts.last_verified_time = absl::FromUnixMicros(totals.Int(6));
    return counts;
  });
}

absl::StatusOr<std::vector<Client>> SqliteCatalog::ListStaleClients(absl::Time since,
                                                                    const ClientId& after,
                                                                    int limit) {
  return Read([&](Database& database) -> absl::StatusOr<std::vector<Client>> {
    Query query = database.Prepare(
        "SELECT " CLIENT_COLUMNS
        " FROM clients WHERE client_id > ? AND coalesce(last_verified_time, create_time) < ? "
        "ORDER BY client_id LIMIT ?");
    query.BindBlob(after.bytes()).Bind(absl::ToUnixMicros(since)).Bind(limit);
    std::vector<Client> clients;
    while (true) {
      ASSIGN_OR_RETURN(const bool more, query.Step());
      if (!more) return clients;
      clients.push_back(ReadClient(query));
    }
  });
}

absl::StatusOr<int64_t> SqliteCatalog::CountStaleClients(absl::Time since) {
  return Read([&](Database& database) -> absl::StatusOr<int64_t> {
    Query query = database.Prepare(
        "SELECT count(*) FROM clients WHERE coalesce(last_verified_time, create_time) < ?");
    RETURN_IF_ERROR(query.Bind(absl::ToUnixMicros(since)).Step().status());
    return query.Int(0);
  });
}

absl::Status SqliteCatalog::ProbeWrite() {
  return Write([](Database& database) -> absl::StatusOr<bool> {
           RETURN_IF_ERROR(
               database.Prepare("UPDATE totals SET clients = clients WHERE id = 1").Run());
           return true;
         })
      .status();
}

}  // namespace backup::storage
