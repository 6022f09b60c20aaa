#include <algorithm>

#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "storage/memory/memory_transaction.h"

namespace backup::storage {

void MemoryTransaction::NoteSeen(Client& client, absl::Time now) {
  client.last_seen_time = LaterContact(client.last_seen_time, now);
  if (!IsInFuture(client.create_time, std::max(now, SystemClock().Now()))) return;
  const auto has_its_name = [&](const auto& entry) { return entry.second.name == client.name; };
  if (std::count_if(state_.clients.begin(), state_.clients.end(), has_its_name) == 1)
    client.create_time = now;
}

absl::StatusOr<Client*> MemoryTransaction::Require(const ClientId& id) {
  const auto found = state_.clients.find(id);
  if (found == state_.clients.end() || found->second.delete_time)
    return MakeError(Reason::kClientNotFound, "there is no such client", ToUuid(id));
  return &found->second;
}

Client* MemoryTransaction::NewestNamed(const std::string& name) {
  for (auto id = state_.registrations.rbegin(); id != state_.registrations.rend(); ++id) {
    const auto found = state_.clients.find(*id);
    if (found == state_.clients.end() || found->second.delete_time) continue;
    if (found->second.name == name) return &found->second;
  }
  return nullptr;
}

absl::StatusOr<Client> MemoryTransaction::FindClient(const ClientId& id) {
  ASSIGN_OR_RETURN(const Client* client, Require(id));
  return *client;
}

absl::StatusOr<Client> MemoryTransaction::FindClientByName(const std::string& name) {
  const Client* const client = NewestNamed(name);
  if (client == nullptr)
    return MakeError(Reason::kClientNotFound, "there is no such client", NameToText(name));
  return *client;
}

absl::StatusOr<std::vector<Client>> MemoryTransaction::ListClients(const ClientId& after,
                                                                   int limit) {
  std::vector<Client> clients;
  for (auto it = state_.clients.upper_bound(after);
       it != state_.clients.end() && std::ssize(clients) < limit; ++it) {
    if (!it->second.delete_time) clients.push_back(it->second);
  }
  return clients;
}

absl::StatusOr<Client> MemoryTransaction::RegisterClient(const std::string& name,
                                                         const ClientId& new_id,
                                                         DuplicateNames policy, absl::Time now) {
  Client* const known = NewestNamed(name);
  if (known != nullptr && known->public_key.empty()) {
    NoteSeen(*known, now);
    return *known;
  }
  if (known != nullptr && policy == DuplicateNames::kReject) {
    return MakeError(Reason::kNameTaken, "another client has this name", NameToText(name));
  }
  Client client;
  client.id = new_id;
  client.name = name;
  client.create_time = client.last_seen_time = now;
  state_.registrations.push_back(new_id);
  return state_.clients[new_id] = client;
}

absl::Status MemoryTransaction::AddClient(const Client& client) {
  state_.registrations.push_back(client.id);
  state_.clients[client.id] = client;
  return absl::OkStatus();
}

absl::StatusOr<Client> MemoryTransaction::SetClientKey(const ClientId& id, const KeyGrant& grant,
                                                       Rekey policy, absl::Time now) {
  ASSIGN_OR_RETURN(Client* const client, Require(id));
  const bool same_key = client->public_key == grant.public_key;
  if (!client->public_key.empty() && !same_key && policy == Rekey::kPin) {
    return MakeError(Reason::kRekeyRefused, "the client has another public key", ToUuid(id));
  }
  NoteSeen(*client, now);
  if (!same_key || client->session_key_bits != grant.session_key_bits || grant.rotate) {
    client->public_key = grant.public_key;
    client->sealed_session_key = grant.sealed_session_key;
    client->session_key_bits = grant.session_key_bits;
  }
  return *client;
}

absl::StatusOr<Client> MemoryTransaction::UpdateLegacyProfile(const ClientId& id,
                                                              const LegacyProfile& observed) {
  ASSIGN_OR_RETURN(Client* const client, Require(id));
  client->legacy.Merge(observed);
  return *client;
}

absl::StatusOr<bool> MemoryTransaction::ResealSessionKey(const ClientId& id,
                                                         const std::string& before,
                                                         const std::string& sealed) {
  const auto found = state_.clients.find(id);
  if (found == state_.clients.end() || found->second.sealed_session_key != before) return false;
  found->second.sealed_session_key = sealed;
  return true;
}

absl::Status MemoryTransaction::TouchClient(const ClientId& id, absl::Time now) {
  ASSIGN_OR_RETURN(Client* const client, Require(id));
  NoteSeen(*client, now);
  return absl::OkStatus();
}

}  // namespace backup::storage
