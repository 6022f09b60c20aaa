#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "storage/s3/memory_bound.h"
#include "storage/s3/s3_client.h"
#include "storage/s3/stretch.h"

namespace backup::storage::s3 {

// The beginnings of reads that will come soon (BlobStore::NoteRead()), on their way as far as there
// is memory for them. Thread-safe.
class NotedReads {
 public:
  // Of all that are noted; beyond that nothing more is.
  static constexpr size_t kMaxNoted = 32;
  // So much of each is brought before somebody comes.
  static constexpr int64_t kMaxSize = int64_t{4} << 20;
  // If nobody comes.
  static constexpr std::chrono::seconds kMaxAge{30};
  // They begin and end at a multiple of this: readers read whole blocks.
  static constexpr int64_t kBlock = int64_t{64} << 10;

  NotedReads(std::shared_ptr<S3Client> client, std::shared_ptr<MemoryBound> memory)
      : client_(std::move(client)), memory_(std::move(memory)) {}

  void Note(const BlobId& id, const std::string& key, int64_t offset, int64_t size_bytes);
  // What was noted of a blob, which is the caller's from now on; null if nothing was.
  std::shared_ptr<Stretch> Take(const BlobId& id);

 private:
  struct Noted {
    BlobId id;
    std::chrono::steady_clock::time_point time;
    std::shared_ptr<Stretch> stretch;
  };
  // What nobody came for; to be destroyed without the lock.
  std::list<Noted> TakeOld() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<S3Client> client_;
  const std::shared_ptr<MemoryBound> memory_;
  Mutex mutex_;
  std::list<Noted> noted_ ABSL_GUARDED_BY(mutex_);  // Oldest first.
};

}  // namespace backup::storage::s3
