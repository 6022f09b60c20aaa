#include "bridge/request/recent_uploads.h"

#include <iterator>
#include <optional>

#include "absl/hash/hash.h"

namespace backup::bridge {
namespace {

uint64_t HashOf(const ClientId& client, absl::string_view file_name) {
  return absl::HashOf(client, file_name);
}

}  // namespace

void RecentUploads::Remember(const ClientId& client, absl::string_view file_name,
                             absl::string_view upload_id, const Connection& connection) {
  const std::optional<UploadId> id = FromUuid<UploadId>(upload_id);
  if (!id) return;  // There is nothing to name it by.
  const uint64_t hash = HashOf(client, file_name);
  MutexLock lock(mutex_);
  if (uploads_.size() == kMaxUploads) {
    uploads_.erase(uploads_.lower_bound({hashes_.front(), 0}));
    hashes_.pop_front();
  }
  uploads_.emplace(Key(hash, ++last_number_),
                   Upload{*id, MonotonicClock::now(), connection.number()});
  hashes_.push_back(hash);
}

std::string RecentUploads::Find(const ClientId& client, const wire::ChecksumVerdict& verdict,
                                const Connection& connection) const {
  const uint64_t hash = HashOf(client, verdict.name);
  const bool is_retry = verdict.kind == wire::ChecksumVerdict::Kind::kRetry;
  const MonotonicTime came = is_retry ? connection.begin_time() : connection.arrival_time();
  MutexLock lock(mutex_);
  const auto first = std::make_reverse_iterator(uploads_.lower_bound({hash, 0}));
  const Upload* found = nullptr;
  for (auto upload = std::make_reverse_iterator(uploads_.upper_bound({hash, last_number_}));
       upload != first; ++upload) {
    if (upload->second.connection == connection.number()) return ToUuid(upload->second.id);
    if (found == nullptr && upload->second.answered < came) found = &upload->second;
  }
  return found == nullptr ? "" : ToUuid(found->id);
}

}  // namespace backup::bridge
