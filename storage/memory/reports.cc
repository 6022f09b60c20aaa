#include <algorithm>
#include <limits>

#include "base/status_macros.h"
#include "storage/memory/memory_transaction.h"

namespace backup::storage {

absl::StatusOr<Counts> MemoryTransaction::Count() {
  Counts counts;
  for (const auto& [id, client] : state_.clients) {
    ++(client.delete_time ? counts.trash_clients : counts.clients);
    if (!client.delete_time) counts.files += client.file_count;
  }
  for (const auto& [name, file] : state_.files) {
    if (state_.clients.at(name.first).delete_time || !HasVersions(file)) ++counts.trash_files;
  }
  counts.dropped_blobs = std::ssize(state_.dropped_blobs);
  for (const auto& [id, kept] : state_.versions) {
    const Version& version = kept.stored.version;
    const bool is_abandoned = version.state == VersionState::kAbandoned;
    const bool is_trashed = IsTrashed(version);
    ++(is_trashed ? counts.trash_versions : counts.versions);
    if (!is_abandoned)
      (is_trashed ? counts.trash_bytes : counts.stored_bytes) += version.size_bytes;
    if (!is_trashed && version.state == VersionState::kVerified) ++counts.verified_versions;
    if (!is_trashed && is_abandoned) ++counts.abandoned_versions;
    counts.blob_bytes += kept.blob_size;
    if (IsUnmoved(kept.stored)) ++counts.unmoved_versions;
    if (kept.is_marked) ++counts.marked_versions;
  }
  counts.dropped_recipes = std::ssize(state_.dropped_recipes);
  counts.policies = std::ssize(state_.policies);
  counts.set_aside_blobs = std::ssize(state_.set_aside_blobs);
  counts.healed_chunks = state_.healed_chunks;
  counts.healed_versions = state_.healed_versions;
  counts.packs = std::ssize(state_.packs);
  for (const auto& [number, pack] : state_.packs) counts.pack_bytes += pack.size_bytes;
  for (const auto& [number, chunk] : state_.chunks) {
    if (chunk.refs == 0) continue;
    ++counts.chunks;
    if (chunk.is_damaged) ++counts.damaged_chunks;
    counts.unique_bytes += chunk.ref.size_bytes;
    counts.compressed_bytes += chunk.stored_size;
    if (chunk.waits) counts.waiting_bytes += chunk.stored_size;
    if (chunk.pack != 0) counts.pack_live_bytes += chunk.stored_size;
  }
  return counts;
}

absl::StatusOr<std::optional<absl::Time>> MemoryTransaction::LastVerifiedTime(absl::Time now) {
  std::optional<absl::Time> last;
  for (const auto& [id, client] : state_.clients) {
    const std::optional<absl::Time> verified = client.last_verified_time;
    if (!client.delete_time && verified && !IsInFuture(*verified, now))
      last = std::max(last, verified);
  }
  return last;
}

absl::StatusOr<std::vector<Client>> MemoryTransaction::ListStaleClients(absl::Time since,
                                                                        absl::Time now,
                                                                        const ClientId& after,
                                                                        int limit) {
  std::vector<Client> clients;
  for (auto it = state_.clients.upper_bound(after);
       it != state_.clients.end() && std::ssize(clients) < limit; ++it) {
    const Client& client = it->second;
    if (client.delete_time) continue;
    const absl::Time last_success = client.last_verified_time.value_or(client.create_time);
    if (last_success < since || IsInFuture(last_success, now)) clients.push_back(client);
  }
  return clients;
}

absl::StatusOr<int64_t> MemoryTransaction::CountStaleClients(absl::Time since, absl::Time now) {
  ASSIGN_OR_RETURN(const std::vector<Client> clients,
                   ListStaleClients(since, now, ClientId(), std::numeric_limits<int>::max()));
  return std::ssize(clients);
}

absl::Status MemoryTransaction::AddSizeNote(const SizeNote& note) {
  std::vector<SizeNote>& notes = state_.size_notes;
  while (!notes.empty() && notes.back().time >= note.time) notes.pop_back();
  notes.push_back(note);
  if (std::ssize(notes) > kMaxSizeNotes) notes.erase(notes.begin());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<JobState>> MemoryTransaction::ListJobs() {
  std::vector<JobState> jobs;
  for (const auto& [name, job] : state_.jobs) jobs.push_back(job);
  return jobs;
}

absl::Status MemoryTransaction::SaveJob(const JobState& job) {
  state_.jobs[job.name] = job;
  return absl::OkStatus();
}

}  // namespace backup::storage
