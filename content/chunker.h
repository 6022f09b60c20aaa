#pragma once

#include <cstddef>

#include "absl/strings/string_view.h"
#include "content/rolling_hash.h"
#include "content/store_keys.h"

namespace backup::content {

// Sizes of chunks in bytes. Of data that changes in places, larger chunks store more anew, and
// smaller ones are more rows; another minimum changes next to nothing. These are as large as still
// keep less of ten generations of backups than restic does: docs/performance.md has the
// measurements.
inline constexpr size_t kMinChunkSize = size_t{256} << 10;
inline constexpr size_t kMaxChunkSize = size_t{4} << 20;
// From here on a chunk ends at the next good place, and before it only at a very good one: the
// average is some 100 KiB more.
inline constexpr size_t kNormalChunkSize = size_t{448} << 10;

// Says where chunks end, by their content alone: so the same bytes make the same chunks wherever
// they are in a file. FastCDC with normalised chunking (Xia et al., 2016, "FastCDC: a Fast and
// Efficient Content-Defined Chunking Approach for Data Deduplication"): what says whether a chunk
// ends is a rolling hash of its last 32 bytes, so the first ones of a chunk need no hash at all.
// However the content is split into calls, the chunks are the same. Used by one thread at a time.
class Chunker {
 public:
  explicit Chunker(const GearTable& gear, RollingHash::Engine engine = RollingHash::BestEngine())
      : hash_(gear, engine) {}

  // How many bytes of `bytes`, the next of the content, belong to the chunk that goes on: fewer
  // than all, or all with ended(), if it ends there. The next call begins behind them.
  size_t Take(absl::string_view bytes);
  // Whether the chunk has ended with what was taken last; the next one has begun then.
  bool ended() const { return size_ == 0; }

 private:
  RollingHash hash_;
  size_t size_ = 0;  // Of the chunk so far.
};

}  // namespace backup::content
