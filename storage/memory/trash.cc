#include <algorithm>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "storage/memory/memory_transaction.h"

namespace backup::storage {
namespace {

absl::Status NotFound(Reason reason, const std::string& resource) {
  return MakeError(reason, "there is no such thing in the trash", resource);
}

// As in storage/sqlite/trash.cc.
absl::Time DeleteTime(const MemoryState& state, absl::Time time) {
  return state.clock_note ? std::max(time, state.clock_note->newest_time) : time;
}

absl::Status CheckCount(const std::vector<int64_t>& ids) {
  if (ids.size() <= static_cast<size_t>(Transaction::kMaxDeletedVersions)) return absl::OkStatus();
  return absl::InvalidArgumentError("too many versions at once");
}

}  // namespace

absl::StatusOr<Client> MemoryTransaction::FindTrashedClient(const ClientId& id) {
  const auto found = state_.clients.find(id);
  const bool is_whole = found != state_.clients.end() && found->second.delete_time &&
                        *found->second.delete_time > absl::UnixEpoch();
  if (!is_whole) return NotFound(Reason::kClientNotFound, ToUuid(id));
  return found->second;
}

absl::StatusOr<Client> MemoryTransaction::FindTrashedClientByName(const std::string& name) {
  const Client* last = nullptr;
  for (const auto& [id, client] : state_.clients) {
    if (client.name != name || !client.delete_time) continue;
    if (*client.delete_time == absl::UnixEpoch()) continue;
    if (last == nullptr || std::tie(*last->delete_time, last->create_time) <
                               std::tie(*client.delete_time, client.create_time)) {
      last = &client;
    }
  }
  if (last == nullptr) return NotFound(Reason::kClientNotFound, NameToText(name));
  return *last;
}

absl::StatusOr<std::vector<Client>> MemoryTransaction::ListTrashedClients(
    const TrashPosition<ClientId>& after, int limit) {
  std::vector<Client> clients;
  for (const auto& [id, client] : state_.clients) {
    if (client.delete_time &&
        std::tie(*client.delete_time, id) > std::tie(after.delete_time, after.id)) {
      clients.push_back(client);
    }
  }
  std::sort(clients.begin(), clients.end(), [](const Client& a, const Client& b) {
    return std::tie(*a.delete_time, a.id) < std::tie(*b.delete_time, b.id);
  });
  if (std::ssize(clients) > limit) clients.resize(static_cast<size_t>(limit));
  return clients;
}

absl::StatusOr<std::vector<Version>> MemoryTransaction::ListTrashedVersions(
    const TrashFilter& filter, const TrashPosition<int64_t>& after, int limit) {
  std::vector<Version> versions;
  for (const auto& [id, kept] : state_.versions) {
    const Version& version = kept.stored.version;
    const bool is_meant =
        version.delete_time && (!filter.client || *filter.client == version.client_id) &&
        (!filter.file_name || *filter.file_name == version.file_name) &&
        (filter.file_name
             ? after.id == 0 || id < after.id
             : std::tie(*version.delete_time, id) > std::tie(after.delete_time, after.id));
    if (is_meant) versions.push_back(Told(kept));
  }
  const auto by_time = [](const Version& a, const Version& b) {
    return std::tie(*a.delete_time, a.version_id) < std::tie(*b.delete_time, b.version_id);
  };
  if (filter.file_name) {
    std::reverse(versions.begin(), versions.end());
  } else {
    std::sort(versions.begin(), versions.end(), by_time);
  }
  if (std::ssize(versions) > limit) versions.resize(static_cast<size_t>(limit));
  return versions;
}

bool MemoryTransaction::Delete(int64_t version_id, const Deletion& deletion) {
  const auto found = state_.versions.find(version_id);
  if (found == state_.versions.end() || found->second.stored.version.delete_time) return false;
  Version& version = found->second.stored.version;
  if (deletion.for_good) {
    Remove(version_id);
    return true;
  }
  version.delete_time = DeleteTime(state_, deletion.time);
  Recount(version.client_id);
  return true;
}

absl::Status MemoryTransaction::DeleteVersion(const ClientId& client, const std::string& file_name,
                                              int64_t version_id, const Deletion& deletion) {
  ASSIGN_OR_RETURN(const StoredVersion stored,
                   FindVersion(client, file_name, version_id, /*with_content=*/false));
  RETURN_IF_ERROR(CheckRemovable(stored.version.retain_until, RemovalTime(deletion.time),
                                 NameToText(file_name)));
  if (Delete(version_id, deletion)) return absl::OkStatus();
  return NotFound(Reason::kVersionNotFound, NameToText(file_name));
}

absl::StatusOr<int64_t> MemoryTransaction::DeleteVersions(const std::vector<int64_t>& ids,
                                                          const Deletion& deletion) {
  RETURN_IF_ERROR(CheckCount(ids));
  return std::count_if(ids.begin(), ids.end(), [&](int64_t id) {
    const auto found = state_.versions.find(id);
    if (found == state_.versions.end()) return false;
    if (state_.clients.at(found->second.stored.version.client_id).delete_time) return false;
    const std::optional<absl::Time> retain_until = found->second.stored.version.retain_until;
    return CheckRemovable(retain_until, RemovalTime(deletion.time), "").ok() &&
           Delete(id, deletion);
  });
}

absl::Status MemoryTransaction::DeleteClient(const ClientId& id, absl::Time delete_time) {
  ASSIGN_OR_RETURN(Client* const client, Require(id));
  RETURN_IF_ERROR(
      CheckRemovable(client->retain_until, RemovalTime(delete_time), NameToText(client->name)));
  client->delete_time = DeleteTime(state_, delete_time);
  return absl::OkStatus();
}

absl::StatusOr<Version> MemoryTransaction::UndeleteVersion(const ClientId& client,
                                                           const std::string& file_name,
                                                           int64_t version_id) {
  RETURN_IF_ERROR(Require(client).status());
  const auto file = state_.files.find({client, file_name});
  if (file == state_.files.end()) return NotFound(Reason::kFileNotFound, NameToText(file_name));
  if (!file->second.versions.contains(version_id))
    return NotFound(Reason::kVersionNotFound, NameToText(file_name));
  RETURN_IF_ERROR(UndeleteVersions({version_id}).status());
  return Told(state_.versions.at(version_id));
}

absl::StatusOr<int64_t> MemoryTransaction::UndeleteVersions(const std::vector<int64_t>& ids) {
  RETURN_IF_ERROR(CheckCount(ids));
  int64_t undeleted = 0;
  for (const int64_t id : ids) {
    const auto found = state_.versions.find(id);
    if (found == state_.versions.end()) continue;
    Version& version = found->second.stored.version;
    if (state_.clients.at(version.client_id).delete_time) continue;
    if (!std::exchange(version.delete_time, std::nullopt)) continue;
    Recount(version.client_id);
    ++undeleted;
  }
  return undeleted;
}

absl::StatusOr<Client> MemoryTransaction::UndeleteClient(const ClientId& id,
                                                         DuplicateNames policy) {
  const auto found = state_.clients.find(id);
  if (found == state_.clients.end()) return NotFound(Reason::kClientNotFound, ToUuid(id));
  Client& client = found->second;
  if (!client.delete_time) return client;
  RETURN_IF_ERROR(FindTrashedClient(id).status());
  if (policy == DuplicateNames::kReject && NewestNamed(client.name) != nullptr)
    return MakeError(Reason::kNameTaken, "another client has this name", NameToText(client.name));
  client.delete_time.reset();
  return client;
}

absl::StatusOr<int64_t> MemoryTransaction::PurgeVersions(const std::vector<int64_t>& ids,
                                                         absl::Time deleted_by) {
  RETURN_IF_ERROR(CheckCount(ids));
  int64_t purged = 0;
  for (const int64_t id : ids) {
    const auto found = state_.versions.find(id);
    if (found == state_.versions.end()) continue;
    const Version& version = found->second.stored.version;
    if (!version.delete_time || *version.delete_time > deleted_by) continue;
    if (version.retain_until && *version.retain_until > deleted_by) continue;
    Remove(id);
    ++purged;
  }
  return purged;
}

absl::StatusOr<PurgedClient> MemoryTransaction::PurgeClient(const ClientId& id,
                                                            absl::Time deleted_by, int limit) {
  const auto client = state_.clients.find(id);
  PurgedClient purged;
  const bool is_due = client != state_.clients.end() && client->second.delete_time &&
                      *client->second.delete_time <= deleted_by;
  if (!is_due) return purged;
  for (auto it = state_.versions.begin(); it != state_.versions.end() && purged.versions < limit;) {
    const Version& version = (it++)->second.stored.version;
    if (version.client_id != id) continue;
    Remove(version.version_id);
    ++purged.versions;
  }
  purged.is_gone = purged.versions < limit;
  if (!purged.is_gone) client->second.delete_time = absl::UnixEpoch();
  if (!purged.is_gone) return purged;
  state_.clients.erase(client);
  std::erase_if(state_.policies, [&](const auto& policy) { return policy.first.client == id; });
  std::erase_if(state_.quotas, [&](const auto& quota) { return quota.first.client == id; });
  return purged;
}

}  // namespace backup::storage
