#include "storage/catalog/retention.h"

#include <utility>

#include "base/status_macros.h"
#include "storage/sqlite/damaged_chunks.h"
#include "storage/sqlite/rows.h"
#include "storage/sqlite/sqlite_transaction.h"

#define POLICY_COLUMNS                                                                 \
  "client_id, pattern, keep_last, keep_within, keep_hourly, keep_daily, keep_weekly, " \
  "keep_monthly, keep_yearly"

#define AGE_COLUMNS                                                                            \
  "version_id, state, receive_time, retain_until, chunk_no, recipe_id, "                       \
  "EXISTS (SELECT 1 FROM damaged_versions d WHERE d.version_id = v.version_id), arrive_time, " \
  "form"

namespace backup::storage {
namespace {

RetentionPolicy ReadPolicy(const Query& row) {
  RetentionPolicy policy;
  policy.scope.client = ClientId::FromBytes(row.Blob(0)).value_or(ClientId());
  policy.scope.pattern = row.Blob(1);
  policy.rules = {
      row.Int(2), absl::Microseconds(row.Int(3)), row.Int(4), row.Int(5), row.Int(6), row.Int(7),
      row.Int(8)};
  return policy;
}

absl::StatusOr<std::vector<RetentionPolicy>> ReadPolicies(Query& query) {
  std::vector<RetentionPolicy> policies;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return policies;
    policies.push_back(ReadPolicy(query));
  }
}

absl::StatusOr<VersionAge> ReadAge(DamagedChunks& damaged, const Query& row) {
  VersionAge age;
  age.version_id = row.Int(0);
  age.state = static_cast<VersionState>(row.Int(1));
  age.receive_time = absl::FromUnixMicros(row.Int(2));
  age.retain_until = OptionalTimeColumn(row, 3);
  age.arrive_time = OptionalTimeColumn(row, 7);
  age.has_own_key =
      row.IsNull(4) && row.IsNull(5) && static_cast<StorageForm>(row.Int(8)) != StorageForm::kPlain;
  age.is_damaged = row.Int(6) != 0;
  if (age.is_damaged) return age;
  ASSIGN_OR_RETURN(age.is_damaged, damaged.Has({row.Int(4), row.Int(5)}));
  return age;
}

}  // namespace

absl::StatusOr<std::optional<RetentionPolicy>> SqliteTransaction::FindPolicy(
    const PolicyScope& scope) {
  Query query = database_.Prepare("SELECT " POLICY_COLUMNS
                                  " FROM retention_policies WHERE client_id = ? AND pattern = ?");
  ASSIGN_OR_RETURN(const bool found,
                   query.BindBlob(scope.client.bytes()).BindBlob(scope.pattern).Step());
  if (!found) return std::nullopt;
  return ReadPolicy(query);
}

absl::StatusOr<std::vector<RetentionPolicy>> SqliteTransaction::ListPolicies(
    const std::optional<PolicyScope>& after, int limit) {
  Query query =
      database_.Prepare(after ? "SELECT " POLICY_COLUMNS
                                " FROM retention_policies WHERE (client_id, pattern) > (?, ?) "
                                "ORDER BY client_id, pattern LIMIT ?"
                              : "SELECT " POLICY_COLUMNS
                                " FROM retention_policies ORDER BY client_id, pattern LIMIT ?");
  if (after) query.BindBlob(after->client.bytes()).BindBlob(after->pattern);
  return ReadPolicies(query.Bind(limit));
}

absl::StatusOr<std::vector<RetentionPolicy>> SqliteTransaction::ListPoliciesFor(
    const ClientId& client) {
  Query query = database_.Prepare("SELECT " POLICY_COLUMNS
                                  " FROM retention_policies WHERE client_id IN (zeroblob(16), ?) "
                                  "ORDER BY client_id, pattern");
  return ReadPolicies(query.BindBlob(client.bytes()));
}

absl::StatusOr<std::vector<VersionAge>> SqliteTransaction::AgesOf(DamagedChunks& damaged,
                                                                  int64_t file_id, int64_t before,
                                                                  int limit) {
  Query query = database_.Prepare("SELECT " AGE_COLUMNS
                                  " FROM versions v WHERE file_id = ? AND version_id < ? "
                                  "AND delete_time IS NULL ORDER BY version_id DESC LIMIT ?");
  query.Bind(file_id).Bind(before).Bind(limit);
  std::vector<VersionAge> ages;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return ages;
    ASSIGN_OR_RETURN(const VersionAge age, ReadAge(damaged, query));
    ages.push_back(age);
  }
}

absl::StatusOr<AgesPage> SqliteTransaction::ListAges(const AgesPlace& after, int limit) {
  // From the rest of the file on that the last page ended in.
  Query query = database_.Prepare(
      "SELECT file_id, client_id, name FROM files f WHERE (client_id, name) >= (?, ?) "
      "AND NOT EXISTS (SELECT 1 FROM clients c WHERE c.client_id = f.client_id AND "
      "c.delete_time IS NOT NULL) "
      "ORDER BY client_id, name");
  query.BindBlob(after.client.bytes()).BindBlob(after.file_name);
  DamagedChunks damaged(database_, recipes_);
  std::vector<FileAges> files;
  AgesPlace next = after;
  for (int left = limit; left > 0;) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return AgesPage{std::move(files), std::nullopt};
    FileAges file{ClientId::FromBytes(query.Blob(1)).value_or(ClientId()), query.Blob(2), {}};
    const bool is_first = file.client == after.client && file.file_name == after.file_name;
    if (is_first && after.version_id == 0) continue;
    ASSIGN_OR_RETURN(file.versions,
                     AgesOf(damaged, query.Int(0), is_first ? after.version_id : INT64_MAX, left));
    const bool is_cut = std::ssize(file.versions) == left;
    next = {file.client, file.file_name, is_cut ? file.versions.back().version_id : 0};
    left -= 1 + static_cast<int>(file.versions.size());
    if (!file.versions.empty()) files.push_back(std::move(file));
  }
  return AgesPage{std::move(files), std::move(next)};
}

absl::StatusOr<std::optional<absl::Time>> SqliteTransaction::FileRetainedUntil(
    const ClientId& client, const std::string& file_name) {
  ASSIGN_OR_RETURN(const int64_t file_id, SelectFileId(database_, client, file_name));
  Query query = database_.Prepare(
      "SELECT max(retain_until) FROM versions INDEXED BY versions_retained "
      "WHERE file_id = ? AND retain_until IS NOT NULL");
  RETURN_IF_ERROR(query.Bind(file_id).Step().status());
  return OptionalTimeColumn(query, 0);
}

absl::StatusOr<absl::Time> SqliteTransaction::RemovalTime(absl::Time now) {
  Query query = database_.Prepare("SELECT 1 FROM clock_notes WHERE distrusted_since IS NOT NULL");
  ASSIGN_OR_RETURN(const bool is_distrusted, query.Step());
  return is_distrusted ? absl::InfinitePast() : now;
}

absl::StatusOr<std::optional<ClockNote>> SqliteTransaction::FindClockNote() {
  Query query = database_.Prepare(
      "SELECT base_time, base_uptime, boot_id, newest_time, distrusted_since, distrust "
      "FROM clock_notes");
  ASSIGN_OR_RETURN(const bool found, query.Step());
  if (!found) return std::nullopt;
  return ClockNote{
      absl::FromUnixMicros(query.Int(0)), absl::Microseconds(query.Int(1)), query.Blob(2),
      absl::FromUnixMicros(query.Int(3)), OptionalTimeColumn(query, 4),     query.Blob(5)};
}

absl::Status SqliteTransaction::SetPolicy(const RetentionPolicy& policy) {
  if (policy.scope.client != ClientId())
    RETURN_IF_ERROR(SelectClient(database_, policy.scope.client).status());
  const RetentionRules& rules = policy.rules;
  return database_
      .Prepare("INSERT OR REPLACE INTO retention_policies (" POLICY_COLUMNS
               ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .BindBlob(policy.scope.client.bytes())
      .BindBlob(policy.scope.pattern)
      .Bind(rules.keep_last)
      .Bind(absl::ToInt64Microseconds(rules.keep_within))
      .Bind(rules.keep_hourly)
      .Bind(rules.keep_daily)
      .Bind(rules.keep_weekly)
      .Bind(rules.keep_monthly)
      .Bind(rules.keep_yearly)
      .Run();
}

absl::StatusOr<bool> SqliteTransaction::DeletePolicy(const PolicyScope& scope) {
  return database_
      .Prepare("DELETE FROM retention_policies WHERE client_id = ? AND pattern = ? RETURNING 1")
      .BindBlob(scope.client.bytes())
      .BindBlob(scope.pattern)
      .Step();
}

absl::StatusOr<bool> SqliteTransaction::IsReadable(int64_t version_id, int64_t file_id) {
  Query query = database_.Prepare("SELECT " AGE_COLUMNS
                                  " FROM versions v WHERE version_id = ? AND file_id = ? "
                                  "AND state = 2 AND delete_time IS NULL");
  ASSIGN_OR_RETURN(const bool is_there, query.Bind(version_id).Bind(file_id).Step());
  if (!is_there) return false;
  DamagedChunks damaged(database_, DamagedChunks::Recipes::kSkipped);
  ASSIGN_OR_RETURN(const VersionAge age, ReadAge(damaged, query));
  return !age.is_damaged;
}

absl::StatusOr<bool> SqliteTransaction::IsSpared(const Expiring& expiring,
                                                 const CountedVersion& version,
                                                 std::optional<KnownReadable>& known) {
  if (version.state != expiring.state) return true;
  if (version.state != VersionState::kVerified) return false;
  if (expiring.readable <= expiring.version_id) return true;
  const KnownReadable needed{expiring.readable, version.file_id};
  if (known == needed) return false;
  ASSIGN_OR_RETURN(const bool is_readable, IsReadable(needed.version_id, needed.file_id));
  if (is_readable) known = needed;
  return !is_readable;
}

absl::StatusOr<int64_t> SqliteTransaction::ExpireVersions(const std::vector<Expiring>& expiring,
                                                          const Deletion& deletion) {
  if (expiring.size() > static_cast<size_t>(kMaxDeletedVersions))
    return absl::InvalidArgumentError("too many versions at once");
  ASSIGN_OR_RETURN(const absl::Time now, RemovalTime(deletion.time));
  ASSIGN_OR_RETURN(TrashTally tally, OpenTally(deletion.time));
  int64_t expired = 0;
  std::optional<KnownReadable> known;
  for (const Expiring& each : expiring) {
    ASSIGN_OR_RETURN(const std::optional<CountedVersion> version,
                     FindRemovable(each.version_id, now));
    if (!version) continue;
    ASSIGN_OR_RETURN(const bool is_spared, IsSpared(each, *version, known));
    if (is_spared) continue;
    const bool was_given_up = each.state == VersionState::kAbandoned;
    RETURN_IF_ERROR(deletion.for_good || was_given_up ? Remove(each.version_id)
                                                      : tally.Trash(*version));
    if (known && known->version_id == each.version_id) known.reset();
    ++expired;
  }
  RETURN_IF_ERROR(tally.Count());
  return expired;
}

absl::Status SqliteTransaction::SaveClockNote(const ClockNote& note) {
  const Passing passing(*this);
  Query insert =
      database_.Prepare("INSERT OR REPLACE INTO clock_notes VALUES (1, ?, ?, ?, ?, ?, ?)");
  insert.Bind(absl::ToUnixMicros(note.base_time))
      .Bind(absl::ToInt64Microseconds(note.base_uptime))
      .BindBlob(note.boot_id)
      .Bind(absl::ToUnixMicros(note.newest_time));
  BindTime(insert, note.distrusted_since);
  return insert.BindBlob(note.distrust).Run();
}

}  // namespace backup::storage
