#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "storage/memory/memory_transaction.h"

namespace backup::storage {
namespace {

absl::Status VersionNotFound(const std::string& file_name) {
  return MakeError(Reason::kVersionNotFound, "the file has no such version", NameToText(file_name));
}

}  // namespace

absl::StatusOr<const MemoryState::StoredFile*> MemoryTransaction::RequireFile(
    const ClientId& client, const std::string& file_name) {
  RETURN_IF_ERROR(Require(client).status());
  const auto found = state_.files.find({client, file_name});
  if (found == state_.files.end() || !HasVersions(found->second)) {
    return MakeError(Reason::kFileNotFound, "the client has no such file", NameToText(file_name));
  }
  return &found->second;
}

const MemoryState::KeptVersion* MemoryTransaction::NewestVerified(
    const MemoryState::StoredFile& file) const {
  for (auto id = file.versions.rbegin(); id != file.versions.rend(); ++id) {
    const MemoryState::KeptVersion& kept = state_.versions.at(*id);
    const Version& version = kept.stored.version;
    if (version.state == VersionState::kVerified && !version.delete_time) return &kept;
  }
  return nullptr;
}

bool MemoryTransaction::IsDamaged(const MemoryState::KeptVersion& kept) const {
  const auto* chunks = std::get_if<ChunkList>(&kept.stored.content);
  if (kept.is_marked || chunks == nullptr) return kept.is_marked;
  const auto is_damaged = [&](int64_t number) {
    const auto found = state_.chunks.find(number);
    return found != state_.chunks.end() && found->second.is_damaged;
  };
  if (chunks->recipe == 0) return is_damaged(chunks->chunk);
  const std::vector<int64_t>& steps = state_.recipes.at(chunks->recipe).chunks;
  return std::any_of(steps.begin(), steps.end(), is_damaged);
}

Version MemoryTransaction::Told(const MemoryState::KeptVersion& kept) const {
  Version version = kept.stored.version;
  version.is_damaged = IsDamaged(kept);
  if (!version.delete_time) version.delete_time = state_.clients.at(version.client_id).delete_time;
  return version;
}

const Version* MemoryTransaction::VersionOfUpload(const ClientId& client,
                                                  const UploadId& upload) const {
  for (auto it = state_.versions.rbegin(); it != state_.versions.rend(); ++it) {
    const Version& version = it->second.stored.version;
    if (version.client_id == client && version.upload_id == upload && !IsTrashed(version))
      return &version;
  }
  return nullptr;
}

absl::StatusOr<std::optional<Version>> MemoryTransaction::FindUpload(const ClientId& client,
                                                                     const UploadId& upload) {
  const Version* const version = VersionOfUpload(client, upload);
  if (version == nullptr) return std::nullopt;
  return Told(state_.versions.at(version->version_id));
}

absl::StatusOr<StoredVersion> MemoryTransaction::FindVersion(const ClientId& client,
                                                             const std::string& file_name,
                                                             int64_t version_id,
                                                             bool with_content) {
  ASSIGN_OR_RETURN(const MemoryState::StoredFile* const file, RequireFile(client, file_name));
  const MemoryState::KeptVersion* kept = nullptr;
  if (version_id == 0) {
    kept = NewestVerified(*file);
  } else if (file->versions.contains(version_id)) {
    kept = &state_.versions.at(version_id);
  }
  if (kept == nullptr || kept->stored.version.delete_time) return VersionNotFound(file_name);
  return StoredVersion{Told(*kept), with_content ? kept->stored.content : Content()};
}

absl::StatusOr<std::vector<File>> MemoryTransaction::ListFiles(const ClientId& client,
                                                               const std::string& after,
                                                               int limit) {
  RETURN_IF_ERROR(Require(client).status());
  std::vector<File> files;
  for (auto it = state_.files.upper_bound({client, after});
       it != state_.files.end() && std::ssize(files) < limit; ++it) {
    if (it->first.first != client) break;
    if (!HasVersions(it->second)) continue;
    const MemoryState::KeptVersion* const newest = NewestVerified(it->second);
    const auto& ids = it->second.versions;
    files.push_back({it->first.second,
                     newest == nullptr ? std::nullopt : std::optional(Told(*newest)),
                     std::count_if(ids.begin(), ids.end(), [this](int64_t id) {
                       return !state_.versions.at(id).stored.version.delete_time;
                     })});
  }
  return files;
}

absl::StatusOr<std::vector<Version>> MemoryTransaction::ListVersions(const ClientId& client,
                                                                     const std::string& file_name,
                                                                     int64_t before, int limit) {
  ASSIGN_OR_RETURN(const MemoryState::StoredFile* const file, RequireFile(client, file_name));
  std::vector<Version> versions;
  for (auto id = file->versions.rbegin();
       id != file->versions.rend() && std::ssize(versions) < limit; ++id) {
    const MemoryState::KeptVersion& kept = state_.versions.at(*id);
    if (!kept.stored.version.delete_time && (before == 0 || *id < before))
      versions.push_back(Told(kept));
  }
  return versions;
}

absl::StatusOr<std::vector<StoredVersion>> MemoryTransaction::ScanVersions(int64_t after,
                                                                           int limit) {
  std::vector<StoredVersion> versions;
  for (auto it = state_.versions.upper_bound(after);
       it != state_.versions.end() && std::ssize(versions) < limit; ++it) {
    versions.push_back({Told(it->second), it->second.stored.content});
  }
  return versions;
}

absl::StatusOr<int64_t> MemoryTransaction::ReserveVersionIds(int64_t count) {
  return std::exchange(state_.next_version_id, state_.next_version_id + count);
}

absl::StatusOr<int64_t> MemoryTransaction::NextVersionId() { return state_.next_version_id; }

absl::StatusOr<Version> MemoryTransaction::AddVersion(const Version& version,
                                                      const NewContent& content,
                                                      const LegacyProfile& observed) {
  ASSIGN_OR_RETURN(Client* const client, Require(version.client_id));
  const Version* const known =
      version.upload_id ? VersionOfUpload(version.client_id, *version.upload_id) : nullptr;
  if (known != nullptr) {
    RETURN_IF_ERROR(DropBrought(content));
    return *known;
  }
  if (!IsWhole(content))
    return MakeError(Reason::kBackendDown, "the file took too long to store; send it again");
  MemoryState::KeptVersion kept = TakeContent(content);
  client->legacy.Merge(observed);
  NoteSeen(*client, version.receive_time);
  client->retain_until = std::max(client->retain_until, version.retain_until);
  MemoryState::StoredFile& file = state_.files[{version.client_id, version.file_name}];
  file.versions.insert(version.version_id);
  file.last_version_id = version.version_id;
  kept.stored.version = version;
  kept.stored.version.state = VersionState::kReceived;
  state_.versions[version.version_id] = kept;
  Recount(version.client_id);
  return kept.stored.version;
}

absl::StatusOr<bool> MemoryTransaction::ReplaceContent(int64_t version_id, const Content& old,
                                                       const NewContent& content) {
  MemoryState::KeptVersion* const version = VersionWith(version_id, old);
  const bool may_go =
      version != nullptr && !version->is_marked && !std::holds_alternative<ChunkList>(old);
  if (!may_go) {
    RETURN_IF_ERROR(DropBrought(content));
    return false;
  }
  if (!PutInPlace(*version, version->stored.version.form, content))
    return MakeError(Reason::kBackendDown, "it took too long to store");
  return true;
}

bool MemoryTransaction::PutInPlace(MemoryState::KeptVersion& version, StorageForm form,
                                   const NewContent& content) {
  if (!IsWhole(content)) return false;
  MemoryState::KeptVersion kept = TakeContent(content);
  kept.stored.version = version.stored.version;
  kept.stored.version.form = form;
  Drop(version.stored.content);
  version = std::move(kept);
  Recount(version.stored.version.client_id);
  return true;
}

bool MemoryTransaction::IsUnmoved(const StoredVersion& stored) const {
  return !IsClientsForm(stored.version.form) &&
         (std::holds_alternative<std::string>(stored.content) ||
          std::holds_alternative<BlobId>(stored.content));
}

absl::StatusOr<std::vector<StoredVersion>> MemoryTransaction::ListUnmovedVersions(int64_t after,
                                                                                  int limit) {
  std::vector<StoredVersion> versions;
  for (auto it = state_.versions.upper_bound(after);
       it != state_.versions.end() && std::ssize(versions) < limit; ++it) {
    if (IsUnmoved(it->second.stored))
      versions.push_back({Told(it->second), it->second.stored.content});
  }
  return versions;
}

absl::StatusOr<MemoryState::KeptVersion*> MemoryTransaction::VersionOfVerdict(
    const Verdict& verdict) {
  if (verdict.upload) {
    const Version* const version = VersionOfUpload(verdict.client, *verdict.upload);
    const bool is_left = version != nullptr && version->file_name == verdict.file_name &&
                         version->state != VersionState::kAbandoned;
    if (is_left) return &state_.versions.at(version->version_id);
    if (verdict.outcome == Outcome::kVerified) return VersionNotFound(verdict.file_name);
    return nullptr;
  }
  const absl::StatusOr<const MemoryState::StoredFile*> file =
      RequireFile(verdict.client, verdict.file_name);
  if (!file.ok() && verdict.outcome == Outcome::kVerified) return file.status();
  if (!file.ok()) return nullptr;
  const auto last = state_.versions.find((*file)->last_version_id);
  const bool is_there = last != state_.versions.end() && !last->second.stored.version.delete_time;
  return is_there ? &last->second : nullptr;
}

absl::StatusOr<bool> MemoryTransaction::SettleVersion(const Verdict& verdict, absl::Time now) {
  ASSIGN_OR_RETURN(Client* const owner, Require(verdict.client));
  ASSIGN_OR_RETURN(MemoryState::KeptVersion* const kept, VersionOfVerdict(verdict));
  Version* const version = kept == nullptr ? nullptr : &kept->stored.version;
  NoteSeen(*owner, now);
  if (version == nullptr || version->state != VersionState::kReceived) return false;
  if (verdict.learning == Learning::kOn)
    owner->legacy.Learn(verdict.outcome, version->checksum_kind);
  switch (verdict.outcome) {
    case Outcome::kVerified:
      version->state = VersionState::kVerified;
      version->verify_time = now;
      owner->last_verified_time = LaterContact(owner->last_verified_time.value_or(now), now);
      break;
    case Outcome::kRetrying:
      ++owner->resends;
      Remove(version->version_id);
      break;
    case Outcome::kAbandoned:
      DropContent(*kept);
      version->state = VersionState::kAbandoned;
      break;
  }
  Recount(verdict.client);
  return true;
}

void MemoryTransaction::DropContent(MemoryState::KeptVersion& kept) {
  Drop(kept.stored.content);
  kept.stored.content = Content();
  kept.blob_size = kept.kept_bytes = 0;
  kept.is_marked = false;
}

void MemoryTransaction::Drop(const Content& content) {
  const auto* blob = std::get_if<BlobId>(&content);
  if (blob != nullptr && !state_.set_aside_blobs.contains(*blob))
    state_.dropped_blobs.insert(*blob);
  if (const auto* chunks = std::get_if<ChunkList>(&content)) {
    if (chunks->chunk != 0) Release(chunks->chunk);
    if (chunks->recipe != 0) state_.dropped_recipes.insert(chunks->recipe);
  }
}

void MemoryTransaction::Remove(int64_t version_id) {
  auto node = state_.versions.extract(version_id);
  DropContent(node.mapped());
  const Version& version = node.mapped().stored.version;
  const auto file = state_.files.find({version.client_id, version.file_name});
  file->second.versions.erase(version_id);
  if (file->second.versions.empty()) state_.files.erase(file);
  Recount(version.client_id);
}

bool MemoryTransaction::HasVersions(const MemoryState::StoredFile& file) const {
  return std::any_of(file.versions.begin(), file.versions.end(), [this](int64_t id) {
    return !state_.versions.at(id).stored.version.delete_time;
  });
}

void MemoryTransaction::Recount(const ClientId& id) {
  Client& client = state_.clients.at(id);
  client.stored_bytes = client.kept_bytes = client.file_count = client.version_count = 0;
  for (const auto& [name, file] : state_.files) {
    if (name.first == id && HasVersions(file)) ++client.file_count;
  }
  for (const auto& [version_id, kept] : state_.versions) {
    const Version& version = kept.stored.version;
    if (version.client_id != id || version.delete_time) continue;
    ++client.version_count;
    if (version.state == VersionState::kAbandoned) continue;
    client.stored_bytes += version.size_bytes;
    client.kept_bytes += kept.kept_bytes;
  }
}

}  // namespace backup::storage
