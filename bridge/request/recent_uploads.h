#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/strings/string_view.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "bridge/net/connection.h"
#include "bridge/wire/message.h"

namespace backup::bridge {

// The uploads of all clients that were answered last, so that a verdict can name the one that it is
// about: on a connection of its own it may be handled after the next upload of the same file has
// begun, or even ended. Thread-safe.
class RecentUploads {
 public:
  // About 4 MiB. The oldest are forgotten: what their verdicts are about is then the service's
  // guess.
  static constexpr size_t kMaxUploads = 32'768;

  // An upload that is about to be answered on `connection`. To be called before the answer is
  // written: whoever has read it may send the verdict at once.
  void Remember(const ClientId& client, absl::string_view file_name, absl::string_view upload_id,
                const Connection& connection);

  // The upload that a verdict is about whose bytes are at the front of `connection`: the newest of
  // that name that was answered there; else the newest that had been answered when the verdict
  // came (Connection::arrival_time). A retry notice, which the next upload does not wait for, may
  // come after that, and counts from when its client began (Connection::begin_time). Empty if it is
  // not known.
  std::string Find(const ClientId& client, const wire::ChecksumVerdict& verdict,
                   const Connection& connection) const;

 private:
  // A hash of client and name, and a number that grows: each file's uploads in their order.
  using Key = std::pair<uint64_t, uint64_t>;
  struct Upload {
    UploadId id;
    MonotonicTime answered;
    uint64_t connection = 0;
  };

  mutable Mutex mutex_;
  absl::btree_map<Key, Upload> uploads_ ABSL_GUARDED_BY(mutex_);
  std::deque<uint64_t> hashes_ ABSL_GUARDED_BY(mutex_);  // Of uploads_, the oldest first.
  uint64_t last_number_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace backup::bridge
