#include "storage/memory/memory_catalog.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"

namespace backup::storage {
namespace {

std::vector<BlobId> BlobsOf(const Content& content) {
  if (const auto* blob = std::get_if<BlobId>(&content)) return {*blob};
  return {};
}

void NoteSeen(Client& client, absl::Time now) {
  client.last_seen_time = std::max(client.last_seen_time, now);
}

absl::Status VersionNotFound(const std::string& file_name) {
  return MakeError(Reason::kVersionNotFound, "the file has no such version", NameToText(file_name));
}

}  // namespace

absl::StatusOr<Client*> MemoryCatalog::Require(const ClientId& id) {
  const auto found = clients_.find(id);
  if (found == clients_.end())
    return MakeError(Reason::kClientNotFound, "there is no such client", ToUuid(id));
  return &found->second;
}

absl::StatusOr<const std::set<int64_t>*> MemoryCatalog::RequireFile(const ClientId& client,
                                                                    const std::string& file_name) {
  RETURN_IF_ERROR(Require(client).status());
  const auto found = files_.find({client, file_name});
  if (found == files_.end()) {
    return MakeError(Reason::kFileNotFound, "the client has no such file", NameToText(file_name));
  }
  return &found->second;
}

Client* MemoryCatalog::NewestNamed(const std::string& name) {
  for (auto id = registrations_.rbegin(); id != registrations_.rend(); ++id) {
    const auto found = clients_.find(*id);
    if (found != clients_.end() && found->second.name == name) return &found->second;
  }
  return nullptr;
}

StoredVersion* MemoryCatalog::NewestIn(const std::set<int64_t>& version_ids, VersionState state) {
  for (auto id = version_ids.rbegin(); id != version_ids.rend(); ++id) {
    StoredVersion& stored = versions_.at(*id);
    if (stored.version.state == state) return &stored;
  }
  return nullptr;
}

std::vector<BlobId> MemoryCatalog::Remove(int64_t version_id) {
  const auto node = versions_.extract(version_id);
  Forget(node.mapped().version);
  const auto file = files_.find({node.mapped().version.client_id, node.mapped().version.file_name});
  file->second.erase(version_id);
  if (file->second.empty()) files_.erase(file);
  return BlobsOf(node.mapped().content);
}

void MemoryCatalog::Forget(const Version& version) {
  if (version.state != VersionState::kAbandoned)
    clients_.at(version.client_id).stored_bytes -= version.size_bytes;
}

absl::StatusOr<Client> MemoryCatalog::RegisterClient(const std::string& name,
                                                     const ClientId& new_id, DuplicateNames policy,
                                                     absl::Time now) {
  MutexLock lock(mutex_);
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
  registrations_.push_back(new_id);
  return clients_[new_id] = client;
}

absl::StatusOr<Client> MemoryCatalog::FindClient(const ClientId& id) {
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const Client* client, Require(id));
  return *client;
}

absl::StatusOr<Client> MemoryCatalog::FindClientByName(const std::string& name) {
  MutexLock lock(mutex_);
  const Client* const client = NewestNamed(name);
  if (client == nullptr)
    return MakeError(Reason::kClientNotFound, "there is no such client", NameToText(name));
  return *client;
}

absl::StatusOr<std::vector<Client>> MemoryCatalog::ListClients(const ClientId& after, int limit) {
  MutexLock lock(mutex_);
  std::vector<Client> clients;
  for (auto it = clients_.upper_bound(after); it != clients_.end() && std::ssize(clients) < limit;
       ++it) {
    clients.push_back(it->second);
  }
  return clients;
}

absl::StatusOr<std::vector<BlobId>> MemoryCatalog::DeleteClient(const ClientId& id) {
  MutexLock lock(mutex_);
  RETURN_IF_ERROR(Require(id).status());
  std::vector<BlobId> released;
  for (auto it = versions_.begin(); it != versions_.end();) {
    const StoredVersion& stored = (it++)->second;
    if (stored.version.client_id != id) continue;
    for (const BlobId& blob : Remove(stored.version.version_id)) released.push_back(blob);
  }
  clients_.erase(id);
  return released;
}

absl::StatusOr<Client> MemoryCatalog::SetClientKey(const ClientId& id, const KeyGrant& grant,
                                                   Rekey policy, absl::Time now) {
  MutexLock lock(mutex_);
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

absl::StatusOr<Client> MemoryCatalog::UpdateLegacyProfile(const ClientId& id,
                                                          const LegacyProfile& observed) {
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(Client* const client, Require(id));
  client->legacy.Merge(observed);
  return *client;
}

absl::Status MemoryCatalog::TouchClient(const ClientId& id, absl::Time now) {
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(Client* const client, Require(id));
  NoteSeen(*client, now);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> MemoryCatalog::AllocateVersionId() {
  MutexLock lock(mutex_);
  return next_version_id_++;
}

absl::StatusOr<Version> MemoryCatalog::AddVersion(const Version& version, const Content& content,
                                                  const LegacyProfile& observed) {
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(Client* const client, Require(version.client_id));
  for (const auto& [id, stored] : versions_) {
    const Version& known = stored.version;
    if (version.upload_id && known.client_id == version.client_id &&
        known.upload_id == version.upload_id)
      return known;
  }
  client->legacy.Merge(observed);
  NoteSeen(*client, version.receive_time);
  client->stored_bytes += version.size_bytes;
  files_[{version.client_id, version.file_name}].insert(version.version_id);
  return (versions_[version.version_id] = {version, content}).version;
}

absl::StatusOr<std::optional<Version>> MemoryCatalog::FindUpload(const ClientId& client,
                                                                 const UploadId& upload) {
  MutexLock lock(mutex_);
  for (const auto& [id, stored] : versions_) {
    if (stored.version.client_id == client && stored.version.upload_id == upload)
      return stored.version;
  }
  return std::nullopt;
}

absl::StatusOr<Settlement> MemoryCatalog::SettleVersion(const ClientId& client,
                                                        const std::string& file_name,
                                                        Outcome outcome, Learning learning,
                                                        absl::Time now) {
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(Client* const owner, Require(client));
  const absl::StatusOr<const std::set<int64_t>*> file = RequireFile(client, file_name);
  if (!file.ok() && outcome == Outcome::kVerified) return file.status();
  NoteSeen(*owner, now);
  StoredVersion* const stored = file.ok() ? NewestIn(**file, VersionState::kReceived) : nullptr;
  if (stored == nullptr) return Settlement();
  if (learning == Learning::kOn) owner->legacy.Learn(outcome, stored->version.checksum_kind);
  switch (outcome) {
    case Outcome::kVerified:
      stored->version.state = VersionState::kVerified;
      stored->version.verify_time = owner->last_verified_time = now;
      return Settlement{true, {}};
    case Outcome::kRetrying:
      ++owner->resends;
      return Settlement{true, Remove(stored->version.version_id)};
    case Outcome::kAbandoned:
      Forget(stored->version);
      stored->version.state = VersionState::kAbandoned;
      return Settlement{true, BlobsOf(std::exchange(stored->content, Content()))};
  }
  return absl::InternalError("unknown outcome");
}

absl::StatusOr<StoredVersion> MemoryCatalog::FindVersion(const ClientId& client,
                                                         const std::string& file_name,
                                                         int64_t version_id, bool with_content) {
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const std::set<int64_t>* const ids, RequireFile(client, file_name));
  const StoredVersion* stored = nullptr;
  if (version_id == 0) {
    stored = NewestIn(*ids, VersionState::kVerified);
  } else if (ids->contains(version_id)) {
    stored = &versions_.at(version_id);
  }
  if (stored == nullptr) return VersionNotFound(file_name);
  return StoredVersion{stored->version, with_content ? stored->content : Content()};
}

absl::StatusOr<std::vector<File>> MemoryCatalog::ListFiles(const ClientId& client,
                                                           const std::string& after, int limit) {
  MutexLock lock(mutex_);
  RETURN_IF_ERROR(Require(client).status());
  std::vector<File> files;
  for (auto it = files_.upper_bound({client, after});
       it != files_.end() && std::ssize(files) < limit; ++it) {
    if (it->first.first != client) break;
    const StoredVersion* const newest = NewestIn(it->second, VersionState::kVerified);
    files.push_back({it->first.second,
                     newest == nullptr ? std::nullopt : std::optional(newest->version),
                     std::ssize(it->second)});
  }
  return files;
}

absl::StatusOr<std::vector<Version>> MemoryCatalog::ListVersions(const ClientId& client,
                                                                 const std::string& file_name,
                                                                 int64_t before, int limit) {
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const std::set<int64_t>* const ids, RequireFile(client, file_name));
  std::vector<Version> versions;
  for (auto id = ids->rbegin(); id != ids->rend() && std::ssize(versions) < limit; ++id) {
    if (before == 0 || *id < before) versions.push_back(versions_.at(*id).version);
  }
  return versions;
}

absl::StatusOr<std::vector<BlobId>> MemoryCatalog::DeleteVersion(const ClientId& client,
                                                                 const std::string& file_name,
                                                                 int64_t version_id) {
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const std::set<int64_t>* const ids, RequireFile(client, file_name));
  if (!ids->contains(version_id)) return VersionNotFound(file_name);
  return Remove(version_id);
}

absl::StatusOr<std::vector<StoredVersion>> MemoryCatalog::ScanVersions(int64_t after, int limit) {
  MutexLock lock(mutex_);
  std::vector<StoredVersion> versions;
  for (auto it = versions_.upper_bound(after);
       it != versions_.end() && std::ssize(versions) < limit; ++it) {
    versions.push_back(it->second);
  }
  return versions;
}

absl::StatusOr<bool> MemoryCatalog::HasBlob(const BlobId& id) {
  MutexLock lock(mutex_);
  for (const auto& [version_id, stored] : versions_) {
    if (stored.content == Content(id)) return true;
  }
  return false;
}

absl::StatusOr<Counts> MemoryCatalog::Count() {
  MutexLock lock(mutex_);
  Counts counts;
  counts.clients = std::ssize(clients_);
  counts.files = std::ssize(files_);
  counts.versions = std::ssize(versions_);
  for (const auto& [id, stored] : versions_) {
    if (stored.version.state == VersionState::kVerified) ++counts.verified_versions;
    if (stored.version.state == VersionState::kAbandoned) ++counts.abandoned_versions;
    if (stored.version.state != VersionState::kAbandoned)
      counts.stored_bytes += stored.version.size_bytes;
  }
  for (const auto& [id, client] : clients_) {
    counts.last_verified_time = std::max(counts.last_verified_time, client.last_verified_time);
  }
  return counts;
}

absl::StatusOr<int64_t> MemoryCatalog::CountStaleClients(absl::Time since) {
  ASSIGN_OR_RETURN(const std::vector<Client> clients,
                   ListStaleClients(since, ClientId(), std::numeric_limits<int>::max()));
  return std::ssize(clients);
}

absl::StatusOr<std::vector<Client>> MemoryCatalog::ListStaleClients(absl::Time since,
                                                                    const ClientId& after,
                                                                    int limit) {
  MutexLock lock(mutex_);
  std::vector<Client> clients;
  for (auto it = clients_.upper_bound(after); it != clients_.end() && std::ssize(clients) < limit;
       ++it) {
    const Client& client = it->second;
    if (client.last_verified_time.value_or(client.create_time) < since) clients.push_back(client);
  }
  return clients;
}

}  // namespace backup::storage
