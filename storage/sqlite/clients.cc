#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "storage/sqlite/rows.h"
#include "storage/sqlite/sqlite_transaction.h"

namespace backup::storage {
namespace {

// Behind the name's last registration, also of one in the trash, since which the clock may have
// been set back.
absl::StatusOr<absl::Time> RegistrationTime(Database& database, const std::string& name,
                                            absl::Time wanted) {
  Query query = database.Prepare("SELECT max(create_time) FROM clients WHERE name = ?");
  RETURN_IF_ERROR(query.BindBlob(name).Step().status());
  const std::optional<absl::Time> last = OptionalTimeColumn(query, 0);
  return last ? std::max(wanted, *last + absl::Microseconds(1)) : wanted;
}

}  // namespace

absl::StatusOr<std::optional<Client>> SqliteTransaction::NewestNamed(const std::string& name) {
  Query query = database_.Prepare("SELECT " CLIENT_COLUMNS
                                  " FROM clients WHERE name = ? AND delete_time IS NULL "
                                  "ORDER BY create_time DESC LIMIT 1");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(name).Step());
  if (!found) return std::nullopt;
  return ReadClient(query);
}

absl::StatusOr<Client> SqliteTransaction::InsertClient(const std::string& name, const ClientId& id,
                                                       absl::Time create_time) {
  RETURN_IF_ERROR(CheckGrowth());
  Client client;
  client.id = id;
  client.name = name;
  client.create_time = client.last_seen_time = StoredTime(create_time);
  RETURN_IF_ERROR(database_
                      .Prepare("INSERT INTO clients (client_id, name, create_time, "
                               "last_seen_time, public_key, sealed_session_key, session_key_bits) "
                               "VALUES (?, ?, ?, ?, x'', x'', 0)")
                      .BindBlob(id.bytes())
                      .BindBlob(name)
                      .Bind(absl::ToUnixMicros(create_time))
                      .Bind(absl::ToUnixMicros(create_time))
                      .Run());
  return client;
}

absl::StatusOr<Client> SqliteTransaction::FindClient(const ClientId& id) {
  return SelectClient(database_, id);
}

absl::StatusOr<Client> SqliteTransaction::FindClientByName(const std::string& name) {
  ASSIGN_OR_RETURN(const std::optional<Client> client, NewestNamed(name));
  return client ? absl::StatusOr<Client>(*client) : ClientNotFoundByName(name);
}

absl::StatusOr<std::vector<Client>> SqliteTransaction::ListClients(const ClientId& after,
                                                                   int limit) {
  Query query = database_.Prepare("SELECT " CLIENT_COLUMNS
                                  " FROM clients WHERE client_id > ? AND delete_time IS NULL "
                                  "ORDER BY client_id LIMIT ?");
  return ReadClients(query.BindBlob(after.bytes()).Bind(limit));
}

absl::StatusOr<Client> SqliteTransaction::RegisterClient(const std::string& name,
                                                         const ClientId& new_id,
                                                         DuplicateNames policy, absl::Time now) {
  ASSIGN_OR_RETURN(const std::optional<Client> known, NewestNamed(name));
  if (known && known->public_key.empty()) {
    RETURN_IF_ERROR(NoteSeen(database_, known->id, now));
    return SelectClient(database_, known->id);
  }
  if (known && policy == DuplicateNames::kReject) {
    return MakeError(Reason::kNameTaken, "another client has this name", NameToText(name));
  }
  ASSIGN_OR_RETURN(const absl::Time create_time, RegistrationTime(database_, name, now));
  return InsertClient(name, new_id, create_time);
}

absl::Status SqliteTransaction::AddClient(const Client& client) {
  ASSIGN_OR_RETURN(const absl::Time create_time,
                   RegistrationTime(database_, client.name, client.create_time));
  ASSIGN_OR_RETURN(const Client inserted, InsertClient(client.name, client.id, create_time));
  Client added = client;
  added.last_seen_time = std::max(inserted.last_seen_time, StoredTime(client.last_seen_time));
  return UpdateClient(database_, added);
}

absl::StatusOr<Client> SqliteTransaction::SetClientKey(const ClientId& id, const KeyGrant& grant,
                                                       Rekey policy, absl::Time now) {
  ASSIGN_OR_RETURN(Client client, SelectClient(database_, id));
  const bool same_key = client.public_key == grant.public_key;
  if (!client.public_key.empty() && !same_key && policy == Rekey::kPin) {
    return MakeError(Reason::kRekeyRefused,
                     "the client has another public key; delete the client or allow the change "
                     "(--rekey=allow)");
  }
  if (client.public_key.empty()) RETURN_IF_ERROR(CheckGrowth());
  RETURN_IF_ERROR(SetSeen(database_, client, now));
  if (!same_key || client.session_key_bits != grant.session_key_bits || grant.rotate) {
    client.public_key = grant.public_key;
    client.sealed_session_key = grant.sealed_session_key;
    client.session_key_bits = grant.session_key_bits;
  }
  RETURN_IF_ERROR(UpdateClient(database_, client));
  return client;
}

absl::StatusOr<Client> SqliteTransaction::UpdateLegacyProfile(const ClientId& id,
                                                              const LegacyProfile& observed) {
  ASSIGN_OR_RETURN(Client client, SelectClient(database_, id));
  if (client.legacy.Merge(observed)) RETURN_IF_ERROR(UpdateClient(database_, client));
  return client;
}

absl::StatusOr<bool> SqliteTransaction::ResealSessionKey(const ClientId& id,
                                                         const std::string& before,
                                                         const std::string& sealed) {
  Query query =
      database_.Prepare("SELECT 1 FROM clients WHERE client_id = ? AND sealed_session_key = ?");
  ASSIGN_OR_RETURN(const bool is_there, query.BindBlob(id.bytes()).BindBlob(before).Step());
  if (!is_there) return false;
  RETURN_IF_ERROR(database_.Prepare("UPDATE clients SET sealed_session_key = ? WHERE client_id = ?")
                      .BindBlob(sealed)
                      .BindBlob(id.bytes())
                      .Run());
  return true;
}

absl::Status SqliteTransaction::TouchClient(const ClientId& id, absl::Time now) {
  RETURN_IF_ERROR(SelectClient(database_, id).status());
  absl::Time& latest = seen_.try_emplace(id, now).first->second;
  latest = LaterContact(latest, now);
  return absl::OkStatus();
}

}  // namespace backup::storage
