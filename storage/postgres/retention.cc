#include "storage/catalog/retention.h"

#include <utility>

#include "base/status_macros.h"
#include "storage/postgres/damaged_chunks.h"
#include "storage/postgres/postgres_transaction.h"

#define POLICY_COLUMNS                                                                 \
  "client_id, pattern, keep_last, keep_within, keep_hourly, keep_daily, keep_weekly, " \
  "keep_monthly, keep_yearly"

namespace backup::storage::postgres {
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

// Of a row of ListAges().
absl::StatusOr<VersionAge> ReadAge(DamagedChunks& damaged, const Query& row) {
  VersionAge age;
  age.version_id = row.Int(2);
  age.state = static_cast<VersionState>(row.Int(3));
  age.receive_time = absl::FromUnixMicros(row.Int(4));
  age.retain_until = OptionalTimeColumn(row, 5);
  age.arrive_time = OptionalTimeColumn(row, 6);
  const bool is_whole = row.IsNull(7) && row.IsNull(8);
  age.has_own_key = is_whole && static_cast<StorageForm>(row.Int(9)) != StorageForm::kPlain;
  age.is_damaged = row.Int(10) != 0;
  if (age.is_damaged || row.Int(11) == 0) return age;
  ASSIGN_OR_RETURN(age.is_damaged, damaged.HasOfRecipe(row.Int(8)));
  return age;
}

}  // namespace

absl::StatusOr<std::optional<RetentionPolicy>> PostgresTransaction::FindPolicy(
    const PolicyScope& scope) {
  Query query = connection_.Prepare(
      "SELECT " POLICY_COLUMNS " FROM retention_policies WHERE client_id = $1 AND pattern = $2");
  ASSIGN_OR_RETURN(const bool found,
                   query.BindBlob(scope.client.bytes()).BindBlob(scope.pattern).Step());
  if (!found) return std::nullopt;
  return ReadPolicy(query);
}

absl::StatusOr<std::vector<RetentionPolicy>> PostgresTransaction::ListPolicies(
    const std::optional<PolicyScope>& after, int limit) {
  Query query =
      connection_.Prepare(after ? "SELECT " POLICY_COLUMNS
                                  " FROM retention_policies WHERE (client_id, pattern) > ($1, $2) "
                                  "ORDER BY client_id, pattern LIMIT $3"
                                : "SELECT " POLICY_COLUMNS
                                  " FROM retention_policies ORDER BY client_id, pattern LIMIT $1");
  if (after) query.BindBlob(after->client.bytes()).BindBlob(after->pattern);
  return ReadPolicies(query.Bind(limit));
}

absl::StatusOr<std::vector<RetentionPolicy>> PostgresTransaction::ListPoliciesFor(
    const ClientId& client) {
  Query query = connection_.Prepare("SELECT " POLICY_COLUMNS
                                    " FROM retention_policies WHERE client_id IN ($1, $2) "
                                    "ORDER BY client_id, pattern");
  return ReadPolicies(query.BindBlob(ClientId().bytes()).BindBlob(client.bytes()));
}

absl::StatusOr<AgesPage> PostgresTransaction::ListAges(const AgesPlace& after, int limit) {
  // From the rest of the file on that the last page ended in. Each file is at least one row; what
  // is beyond the limit is not looked at.
  Query query = connection_.Prepare(
      "SELECT f.client_id, f.name, v.version_id, v.state, v.receive_time, v.retain_until, "
      "v.arrive_time, v.chunk_no, v.recipe_id, v.form, " IS_MARKED ", " MAY_HAVE_DAMAGED
      " FROM (SELECT * FROM files n WHERE (n.client_id, n.name) >= ($1, $2) AND "
      "($3 > 0 OR (n.client_id, n.name) <> ($1, $2)) AND NOT EXISTS (SELECT 1 FROM clients c "
      "WHERE c.client_id = n.client_id AND c.delete_time IS NOT NULL) "
      "ORDER BY n.client_id, n.name LIMIT $4) f LEFT JOIN LATERAL (SELECT * FROM versions n WHERE "
      "n.file_id = f.file_id AND n.delete_time IS NULL AND (n.version_id < $3 OR "
      "(f.client_id, f.name) <> ($1, $2)) ORDER BY n.version_id DESC LIMIT $4) v ON TRUE "
      "ORDER BY f.client_id, f.name, v.version_id DESC LIMIT $4");
  query.BindBlob(after.client.bytes()).BindBlob(after.file_name).Bind(after.version_id).Bind(limit);
  DamagedChunks damaged(connection_, recipes_);
  AgesPage page;
  AgesPlace next = after;
  std::optional<FileAges> file;
  int left = limit;
  const auto end_file = [&] {
    if (!file) return;
    left -= 1 + static_cast<int>(file->versions.size());
    if (!file->versions.empty()) page.files.push_back(*std::move(file));
    file.reset();
  };
  while (left > 0) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    const ClientId client =
        more ? ClientId::FromBytes(query.Blob(0)).value_or(ClientId()) : ClientId();
    const std::string name = more ? query.Blob(1) : "";
    if (!more || !file || file->client != client || file->file_name != name) {
      end_file();
      if (!more && left > 0) return page;
      if (left <= 0) break;
      file = FileAges{client, name, {}};
      next = {client, name, 0};
    }
    if (query.IsNull(2)) continue;
    ASSIGN_OR_RETURN(const VersionAge age, ReadAge(damaged, query));
    file->versions.push_back(age);
    if (std::ssize(file->versions) < left) continue;
    next.version_id = age.version_id;  // There may be more of them.
    end_file();
  }
  page.next = std::move(next);
  return page;
}

absl::StatusOr<std::optional<absl::Time>> PostgresTransaction::FileRetainedUntil(
    const ClientId& client, const std::string& file_name) {
  ASSIGN_OR_RETURN(const int64_t file_id, SelectFileId(client, file_name));
  Query query = connection_.Prepare(
      "SELECT max(retain_until) FROM versions WHERE file_id = $1 AND retain_until IS NOT NULL");
  RETURN_IF_ERROR(query.Bind(file_id).Step().status());
  return OptionalTimeColumn(query, 0);
}

absl::StatusOr<PostgresTransaction::ClockState> PostgresTransaction::ReadClock() {
  ASSIGN_OR_RETURN(const std::optional<ClockNote> note, FindClockNote());
  if (!note) return ClockState();
  return ClockState{note->newest_time, note->distrusted_since.has_value()};
}

absl::StatusOr<std::optional<ClockNote>> PostgresTransaction::FindClockNote() {
  Query query = connection_.Prepare(
      "SELECT base_time, base_uptime, boot_id, newest_time, distrusted_since, distrust "
      "FROM clock_notes");
  ASSIGN_OR_RETURN(const bool found, query.Step());
  if (!found) return std::nullopt;
  return ClockNote{
      absl::FromUnixMicros(query.Int(0)), absl::Microseconds(query.Int(1)), query.Blob(2),
      absl::FromUnixMicros(query.Int(3)), OptionalTimeColumn(query, 4),     query.Blob(5)};
}

absl::Status PostgresTransaction::SetPolicy(const RetentionPolicy& policy) {
  if (policy.scope.client != ClientId()) RETURN_IF_ERROR(LockClient(policy.scope.client).status());
  const RetentionRules& rules = policy.rules;
  return connection_
      .Prepare("INSERT INTO retention_policies (" POLICY_COLUMNS
               ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "
               "ON CONFLICT (client_id, pattern) DO UPDATE SET keep_last = EXCLUDED.keep_last, "
               "keep_within = EXCLUDED.keep_within, keep_hourly = EXCLUDED.keep_hourly, "
               "keep_daily = EXCLUDED.keep_daily, keep_weekly = EXCLUDED.keep_weekly, "
               "keep_monthly = EXCLUDED.keep_monthly, keep_yearly = EXCLUDED.keep_yearly")
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

absl::StatusOr<bool> PostgresTransaction::DeletePolicy(const PolicyScope& scope) {
  return connection_
      .Prepare("DELETE FROM retention_policies WHERE client_id = $1 AND pattern = $2 RETURNING 1")
      .BindBlob(scope.client.bytes())
      .BindBlob(scope.pattern)
      .Step();
}

absl::StatusOr<int64_t> PostgresTransaction::ExpireVersions(const std::vector<Expiring>& expiring,
                                                            const Deletion& deletion) {
  if (expiring.size() > static_cast<size_t>(kMaxDeletedVersions))
    return absl::InvalidArgumentError("too many versions at once");
  std::vector<int64_t> ids;
  std::vector<int64_t> states;
  std::vector<int64_t> readable;
  for (const Expiring& each : expiring) {
    ids.push_back(each.version_id);
    states.push_back(static_cast<int64_t>(each.state));
    readable.push_back(each.readable);
  }
  RETURN_IF_ERROR(LockOwners(ids));
  ASSIGN_OR_RETURN(const ClockState clock, ReadClock());
  const absl::Time now = clock.is_distrusted ? absl::InfinitePast() : deletion.time;
  // All as they are now: of those that go, the last one has a readable one that stays.
  Query query = connection_.Prepare(
      "SELECT e.id, e.state FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) "
      "AS e (id, state, readable) JOIN versions e_v ON e_v.version_id = e.id JOIN files f USING "
      "(file_id) JOIN clients c USING (client_id) WHERE e_v.state = e.state AND e_v.delete_time IS "
      "NULL AND c.delete_time IS NULL AND coalesce(e_v.retain_until <= $4, TRUE) AND "
      "(e.state <> 2 OR (e.readable > e.id AND EXISTS (SELECT 1 FROM versions v WHERE "
      "v.version_id = e.readable AND v.file_id = e_v.file_id AND v.state = 2 AND "
      "v.delete_time IS NULL AND NOT " IS_MARKED ")))");
  query.BindAll(ids).BindAll(states).BindAll(readable).Bind(absl::ToUnixMicros(now));
  std::vector<int64_t> given_up;
  std::vector<int64_t> others;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) break;
    const bool was_given_up = static_cast<VersionState>(query.Int(1)) == VersionState::kAbandoned;
    (was_given_up ? given_up : others).push_back(query.Int(0));
  }
  int64_t expired = 0;
  if (!given_up.empty()) {
    ASSIGN_OR_RETURN(expired, Delete(given_up, {deletion.time, /*for_good=*/true}, clock));
  }
  if (!others.empty()) {
    ASSIGN_OR_RETURN(const int64_t deleted, Delete(others, deletion, clock));
    expired += deleted;
  }
  return expired;
}

absl::Status PostgresTransaction::SaveClockNote(const ClockNote& note) {
  Query insert = connection_.Prepare(
      "INSERT INTO clock_notes VALUES (1, $1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO UPDATE SET "
      "base_time = EXCLUDED.base_time, base_uptime = EXCLUDED.base_uptime, "
      "boot_id = EXCLUDED.boot_id, newest_time = EXCLUDED.newest_time, "
      "distrusted_since = EXCLUDED.distrusted_since, distrust = EXCLUDED.distrust");
  insert.Bind(absl::ToUnixMicros(note.base_time))
      .Bind(absl::ToInt64Microseconds(note.base_uptime))
      .BindBlob(note.boot_id)
      .Bind(absl::ToUnixMicros(note.newest_time));
  BindTime(insert, note.distrusted_since);
  return insert.BindBlob(note.distrust).Passing().Run();
}

}  // namespace backup::storage::postgres
