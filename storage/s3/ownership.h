#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "storage/s3/s3_client.h"

namespace backup::storage::s3 {

// What is below a prefix is of one installation, that is of one catalog and its copies, and of
// those of one alone: its holder. An object PREFIX/installation/ID says so, whose content is the
// holder. A catalog that was copied, or that came back from a snapshot, has an older holder: what
// it knows of blobs is not true any more, and what it deletes the other one needs.
struct Marker {
  static constexpr size_t kHolderSize = 32;

  std::string installation;
  std::string holder;  // kHolderSize digits, hexadecimal and in lower case.
};

// All that are there: more than one if two installations claim it at once. Errors: ToStatus(),
// reason STORAGE_IO.
absl::StatusOr<std::vector<Marker>> FindMarkers(S3Client& client);
// That of one installation; nothing if it is not there.
absl::StatusOr<std::optional<Marker>> FindMarker(S3Client& client, const std::string& installation);
// Puts it there, or another holder into it.
absl::Status PutMarker(S3Client& client, const Marker& marker);
absl::Status RemoveMarker(S3Client& client, const std::string& installation);

// Watches whether blobs are their owner's still. Thread-safe.
class Ownership {
 public:
  // Whether the blobs are those of this process while they are held by `holder`.
  using IsOurs = std::function<absl::StatusOr<bool>(const std::string& holder)>;
  // For what goes on all the time.
  static constexpr std::chrono::seconds kLookInterval{30};
  // For what is said to be missing.
  static constexpr std::chrono::seconds kMissingLookInterval{5};

  Ownership(std::shared_ptr<S3Client> client, std::string installation, IsOurs is_ours)
      : client_(std::move(client)),
        installation_(std::move(installation)),
        is_ours_(std::move(is_ours)) {}

  // Before something is stored or deleted, or is said to be missing. Reason BACKEND_DOWN if they
  // are another's by now, for ever, or if their marker is gone; or if nobody can tell. The marker
  // is not looked at again if that was done within `interval`.
  absl::Status Check(std::chrono::steady_clock::duration interval);
  // Looks whether they are another's by now. False if nobody can tell.
  bool IsLost();

 private:
  absl::StatusOr<std::optional<Marker>> Find();
  absl::Status Look() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<S3Client> client_;
  const std::string installation_;
  const IsOurs is_ours_;
  Mutex mutex_;
  std::optional<std::chrono::steady_clock::time_point> last_look_ ABSL_GUARDED_BY(mutex_);
  absl::Status last_ ABSL_GUARDED_BY(mutex_);  // What came of it.
  bool is_lost_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace backup::storage::s3
