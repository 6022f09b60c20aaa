#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "storage/postgres/postgres_transaction.h"

#define FIND_CLIENT \
  "SELECT " CLIENT_COLUMNS " FROM clients c WHERE c.client_id = $1 AND c.delete_time IS NULL"

namespace backup::storage::postgres {
namespace {

absl::StatusOr<Client> OnlyClient(Query& query, const ClientId& id) {
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(id.bytes()).Step());
  if (!found) return ClientNotFound(id);
  return ReadClient(query);
}

// From then on a time is in the future.
int64_t FutureFrom(absl::Time now) {
  return absl::ToUnixMicros(std::max(now, SystemClock().Now()) + kMaxClockStep);
}

}  // namespace

absl::StatusOr<Client> PostgresTransaction::SelectClient(const ClientId& id) {
  Query query = connection_.Prepare(FIND_CLIENT);
  return OnlyClient(query, id);
}

absl::StatusOr<Client> PostgresTransaction::LockClient(const ClientId& id) {
  Query query = connection_.Prepare(FIND_CLIENT " FOR NO KEY UPDATE OF c");
  return OnlyClient(query, id);
}

absl::Status PostgresTransaction::LockOwners(const std::vector<int64_t>& versions) {
  return connection_
      .Prepare(
          "SELECT 1 FROM clients WHERE client_id IN (SELECT f.client_id FROM versions v JOIN files "
          "f USING (file_id) WHERE v.version_id = ANY($1)) ORDER BY client_id FOR NO KEY UPDATE")
      .BindAll(versions)
      .Run();
}

absl::Status PostgresTransaction::LockName(const std::string& name) {
  return connection_
      .Prepare(
          "SELECT pg_advisory_xact_lock('clients'::regclass::oid::int, "
          "hashtext(encode($1, 'hex')))")
      .BindBlob(name)
      .Run();
}

absl::StatusOr<std::optional<Client>> PostgresTransaction::NewestNamed(const std::string& name) {
  Query query = connection_.Prepare("SELECT " CLIENT_COLUMNS
                                    " FROM clients c WHERE name = $1 AND delete_time IS NULL "
                                    "ORDER BY create_time DESC LIMIT 1");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(name).Step());
  if (!found) return std::nullopt;
  return ReadClient(query);
}

absl::StatusOr<absl::Time> PostgresTransaction::RegistrationTime(const std::string& name,
                                                                 absl::Time wanted) {
  Query query = connection_.Prepare("SELECT max(create_time) FROM clients WHERE name = $1");
  RETURN_IF_ERROR(query.BindBlob(name).Step().status());
  const std::optional<absl::Time> last = OptionalTimeColumn(query, 0);
  return last ? std::max(wanted, *last + absl::Microseconds(1)) : wanted;
}

absl::StatusOr<Client> PostgresTransaction::InsertClient(const std::string& name,
                                                         const ClientId& id,
                                                         absl::Time create_time) {
  Client client;
  client.id = id;
  client.name = name;
  client.create_time = client.last_seen_time = StoredTime(create_time);
  totals().Add(Total::kClients, 1);
  RETURN_IF_ERROR(connection_
                      .Prepare("INSERT INTO clients (client_id, name, create_time, "
                               "last_seen_time) VALUES ($1, $2, $3, $3)")
                      .BindBlob(id.bytes())
                      .BindBlob(name)
                      .Bind(absl::ToUnixMicros(create_time))
                      .Run());
  return client;
}

absl::Status PostgresTransaction::MendRegistration(const ClientId& id, absl::Time now) {
  return connection_
      .Prepare(
          "UPDATE clients SET create_time = $1 WHERE client_id = $2 AND create_time > $3 AND "
          "NOT EXISTS (SELECT 1 FROM clients other WHERE other.name = clients.name AND "
          "other.client_id <> clients.client_id)")
      .Bind(absl::ToUnixMicros(now))
      .BindBlob(id.bytes())
      .Bind(FutureFrom(now))
      .Passing()
      .Run();
}

absl::Status PostgresTransaction::NoteSeen(const ClientId& id, absl::Time now) {
  RETURN_IF_ERROR(connection_
                      .Prepare("UPDATE clients SET last_seen_time = $1 WHERE client_id = $2 AND "
                               "last_seen_time NOT BETWEEN $1 AND $3")
                      .Bind(absl::ToUnixMicros(now))
                      .BindBlob(id.bytes())
                      .Bind(FutureFrom(now))
                      .Passing()
                      .Run());
  return MendRegistration(id, now);
}

absl::Status PostgresTransaction::SetSeen(Client& client, absl::Time now) {
  client.last_seen_time = LaterContact(client.last_seen_time, StoredTime(now));
  if (client.create_time <= client.last_seen_time) return absl::OkStatus();
  return MendRegistration(client.id, now);
}

absl::Status PostgresTransaction::UpdateClient(const Client& client, const ClientChange& change) {
  const LegacyProfile& legacy = client.legacy;
  Query update = connection_.Prepare(
      "UPDATE clients SET last_seen_time = $1, public_key = $2, sealed_session_key = $3, "
      "session_key_bits = $4, resends = $5, family = $6, header_version = $7, framing = $8, "
      "file_style = $9, connection_style = $10, last_protocol_error = $11, "
      "last_protocol_error_time = $12::bigint, checksum_kind = $13, checksum_refusals = $14, "
      "last_verified_time = coalesce($15::bigint, last_verified_time), "
      "retain_until = greatest(retain_until, $16::bigint), file_count = file_count + $17, "
      "trash_files = trash_files + $18, version_count = version_count + $19, "
      "verified_versions = verified_versions + $20, stored_bytes = stored_bytes + $21, "
      "kept_bytes = kept_bytes + $22 WHERE client_id = $23");
  update.Bind(absl::ToUnixMicros(client.last_seen_time))
      .BindBlob(client.public_key)
      .BindBlob(client.sealed_session_key)
      .Bind(client.session_key_bits)
      .Bind(client.resends)
      .BindBlob(legacy.family)
      .Bind(legacy.header_version)
      .BindBlob(legacy.framing)
      .BindBlob(legacy.file_style)
      .BindBlob(legacy.connection_style)
      .BindBlob(legacy.last_protocol_error);
  BindTime(update, legacy.last_protocol_error_time);
  update.Bind(legacy.checksum_kind ? static_cast<int>(*legacy.checksum_kind) : 0)
      .Bind(legacy.checksum_refusals);
  BindTime(update, change.verified);
  BindTime(update, change.retain_until);
  update.Bind(change.files)
      .Bind(change.trash_files)
      .Bind(change.versions)
      .Bind(change.verified_versions)
      .Bind(change.stored_bytes)
      .Bind(change.kept_bytes);
  return update.BindBlob(client.id.bytes()).Run();
}

absl::StatusOr<Client> PostgresTransaction::FindClient(const ClientId& id) {
  return SelectClient(id);
}

absl::StatusOr<Client> PostgresTransaction::FindClientByName(const std::string& name) {
  ASSIGN_OR_RETURN(const std::optional<Client> client, NewestNamed(name));
  return client ? absl::StatusOr<Client>(*client) : ClientNotFoundByName(name);
}

absl::StatusOr<std::vector<Client>> PostgresTransaction::ListClients(const ClientId& after,
                                                                     int limit) {
  Query query = connection_.Prepare("SELECT " CLIENT_COLUMNS
                                    " FROM clients c WHERE client_id > $1 AND delete_time IS NULL "
                                    "ORDER BY client_id LIMIT $2");
  return ReadClients(query.BindBlob(after.bytes()).Bind(limit));
}

absl::StatusOr<Client> PostgresTransaction::RegisterClient(const std::string& name,
                                                           const ClientId& new_id,
                                                           DuplicateNames policy, absl::Time now) {
  RETURN_IF_ERROR(LockName(name));
  Query last = connection_.Prepare("SELECT max(create_time) FROM clients WHERE name = $1");
  last.BindBlob(name).Start();
  ASSIGN_OR_RETURN(const std::optional<Client> known, NewestNamed(name));
  if (known && known->public_key.empty()) {
    RETURN_IF_ERROR(NoteSeen(known->id, now));
    return SelectClient(known->id);
  }
  if (known && policy == DuplicateNames::kReject) {
    return MakeError(Reason::kNameTaken, "another client has this name", NameToText(name));
  }
  RETURN_IF_ERROR(last.Step().status());
  const std::optional<absl::Time> last_time = OptionalTimeColumn(last, 0);
  return InsertClient(name, new_id,
                      last_time ? std::max(now, *last_time + absl::Microseconds(1)) : now);
}

absl::Status PostgresTransaction::AddClient(const Client& client) {
  RETURN_IF_ERROR(LockName(client.name));
  ASSIGN_OR_RETURN(const absl::Time create_time, RegistrationTime(client.name, client.create_time));
  ASSIGN_OR_RETURN(const Client inserted, InsertClient(client.name, client.id, create_time));
  Client added = client;
  added.last_seen_time = std::max(inserted.last_seen_time, StoredTime(client.last_seen_time));
  return UpdateClient(added, {});
}

absl::StatusOr<Client> PostgresTransaction::SetClientKey(const ClientId& id, const KeyGrant& grant,
                                                         Rekey policy, absl::Time now) {
  ASSIGN_OR_RETURN(Client client, LockClient(id));
  const bool same_key = client.public_key == grant.public_key;
  if (!client.public_key.empty() && !same_key && policy == Rekey::kPin) {
    return MakeError(Reason::kRekeyRefused,
                     "the client has another public key; delete the client or allow the change "
                     "(--rekey=allow)");
  }
  RETURN_IF_ERROR(SetSeen(client, now));
  if (!same_key || client.session_key_bits != grant.session_key_bits || grant.rotate) {
    client.public_key = grant.public_key;
    client.sealed_session_key = grant.sealed_session_key;
    client.session_key_bits = grant.session_key_bits;
  }
  RETURN_IF_ERROR(UpdateClient(client, {}));
  return client;
}

absl::StatusOr<Client> PostgresTransaction::UpdateLegacyProfile(const ClientId& id,
                                                                const LegacyProfile& observed) {
  ASSIGN_OR_RETURN(Client client, LockClient(id));
  if (client.legacy.Merge(observed)) RETURN_IF_ERROR(UpdateClient(client, {}));
  return client;
}

absl::StatusOr<bool> PostgresTransaction::ResealSessionKey(const ClientId& id,
                                                           const std::string& before,
                                                           const std::string& sealed) {
  return connection_
      .Prepare(
          "UPDATE clients SET sealed_session_key = $1 WHERE client_id = $2 AND "
          "sealed_session_key = $3 RETURNING 1")
      .BindBlob(sealed)
      .BindBlob(id.bytes())
      .BindBlob(before)
      .Step();
}

absl::Status PostgresTransaction::TouchClient(const ClientId& id, absl::Time now) {
  RETURN_IF_ERROR(SelectClient(id).status());
  absl::Time& latest = seen_.try_emplace(id, now).first->second;
  latest = LaterContact(latest, now);
  return absl::OkStatus();
}

}  // namespace backup::storage::postgres
