#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_stream.h"
#include "base/mutex.h"
#include "storage/s3/memory_bound.h"
#include "storage/s3/ownership.h"
#include "storage/s3/s3_client.h"
#include "storage/s3/stretch.h"

namespace backup::storage::s3 {

// An object that is read by ranges, and ahead of whoever reads one stretch after the other, as far
// as there is memory for that. An object that is deleted is gone for its readers, too, but for what
// they have of it: small ones, of which nothing was noted before, they have whole. Thread-safe.
class ObjectReader final : public RandomAccess {
 public:
  // So much comes when an object is opened, of its beginning; and so much of its end, where footers
  // are, with the first read there.
  static constexpr int64_t kHeadSize = int64_t{256} << 10;
  static constexpr int64_t kTailSize = int64_t{256} << 10;
  // What is read ahead at once grows with what was read in a row (kGrowth times that), as many that
  // begin soon end; and so does how far ahead that is: kAhead times as much.
  static constexpr int64_t kMinWindowSize = int64_t{1} << 20;
  static constexpr int64_t kMaxWindowSize = int64_t{16} << 20;
  static constexpr int64_t kGrowth = 4;
  static constexpr int64_t kAhead = 4;
  static constexpr size_t kMaxWindows = 8;
  // Where memory is short, small ones, of which so many suffice to go on.
  static constexpr size_t kLeastWindows = 2;
  // Whoever leaves out no more than this reads on.
  static constexpr int64_t kMaxGap = int64_t{1} << 20;

  // NotFound if there is none; ToStatus(). `client` and `memory` are shared with a store that this
  // may outlive. `noted`, unless it is null, is a stretch of it that was asked for before. Unless
  // `ownership` is null, nothing is said to be deleted of blobs that are not ours any more.
  static absl::StatusOr<std::unique_ptr<ObjectReader>> Open(std::shared_ptr<S3Client> client,
                                                            std::shared_ptr<MemoryBound> memory,
                                                            std::string key,
                                                            std::shared_ptr<Stretch> noted,
                                                            std::shared_ptr<Ownership> ownership);

  int64_t size_bytes() const override { return size_bytes_; }
  // NotFound if the object was deleted since it was opened; Ownership::Check().
  absl::Status ReadAt(int64_t offset, std::span<char> out) const override;

 private:
  using StretchPtr = std::shared_ptr<Stretch>;
  using Stretches = std::deque<StretchPtr>;

  ObjectReader(std::shared_ptr<S3Client> client, std::shared_ptr<MemoryBound> memory,
               std::string key, int64_t size_bytes, std::shared_ptr<Ownership> ownership)
      : client_(std::move(client)),
        memory_(std::move(memory)),
        key_(std::move(key)),
        size_bytes_(size_bytes),
        ownership_(std::move(ownership)) {}

  // Begins what follows, if this read goes on where the last one ended. What is of no use any more
  // is for the caller to destroy without the lock, as that takes time.
  Stretches Plan(int64_t offset, int64_t size) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // False if there is no memory for it. Large windows leave the reserve to small ones: few readers,
  // who may be slow, could have all of it.
  bool TryBeginWindow(int64_t offset, int64_t size, MemoryBound::For purpose) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What has the byte at `offset`; null if it is to be read by itself.
  StretchPtr Find(int64_t offset) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  StretchPtr FindOrBegin(int64_t offset, std::span<char> out) const;
  absl::StatusOr<size_t> ReadSome(int64_t offset, std::span<char> out) const;
  // What was read to its end, or failed.
  void Drop(const Stretch& window, const absl::Status& why) const;

  const std::shared_ptr<S3Client> client_;
  const std::shared_ptr<MemoryBound> memory_;
  const std::string key_;
  const int64_t size_bytes_;
  const std::shared_ptr<Ownership> ownership_;
  mutable Mutex mutex_;
  mutable StretchPtr head_ ABSL_GUARDED_BY(mutex_);    // Null if a noted one came instead.
  mutable StretchPtr tail_ ABSL_GUARDED_BY(mutex_);    // Null until somebody reads there.
  mutable Stretches windows_ ABSL_GUARDED_BY(mutex_);  // In the order in which they were begun.
  mutable int64_t begun_until_ ABSL_GUARDED_BY(mutex_) = 0;  // Where the last of them ends.
  mutable int64_t next_ ABSL_GUARDED_BY(mutex_) = 0;         // Where the last read ended.
  mutable int64_t in_a_row_ ABSL_GUARDED_BY(mutex_) = 0;     // Bytes that were read up to there.
};

}  // namespace backup::storage::s3
