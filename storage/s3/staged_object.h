#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "base/byte_stream.h"
#include "base/mutex.h"
#include "storage/blob_store.h"
#include "storage/s3/memory_bound.h"
#include "storage/s3/ownership.h"
#include "storage/s3/part_buffer.h"
#include "storage/s3/s3_client.h"

namespace backup::storage::s3 {

// A blob on its way to be an object. One that fits into a part waits in memory, and one PUT commits
// it; a larger one goes out in parts as it comes, and completing them commits it. Each object says
// in its metadata which StagedObject made it: only the store's word that this object is there, of
// this size, commits a blob, and one whose answer was lost is known again.
// Used by one thread at a time.
class StagedObject final : public StagedBlob {
 public:
  // Parts of one blob that are under way at once, besides the one that is filled.
  static constexpr size_t kMaxPartsInFlight = 4;
  // How long one waits for memory for its next part, with none under way.
  static constexpr absl::Duration kMemoryPatience = absl::Seconds(30);

  struct Options {
    std::string key;
    // The store refuses to replace an object if it is told to (ProbeStore()).
    bool has_conditions = false;
    // Whose the blobs are, if that is watched.
    std::shared_ptr<Ownership> ownership = nullptr;
  };

  // `memory` must outlive this.
  StagedObject(std::shared_ptr<S3Client> client, MemoryBound& memory, Options options);
  // Gives up what was begun and is not stored, as far as the store answers soon. What is left is
  // found by listing unfinished uploads.
  ~StagedObject() override;

  // Everything that `source` yields. Errors: those of `source`; reason OVERLOADED if there is no
  // memory, SIZE_LIMIT for more than kMaxObjectSize, at once if so much is expected; ToStatus().
  absl::Status Fill(ByteSource& source, std::optional<int64_t> expected_size);

  int64_t size_bytes() const override { return size_bytes_; }
  absl::Status Commit() override;

 private:
  struct PartInFlight {
    size_t index = 0;
    std::unique_ptr<PartBuffer> part;
    std::unique_ptr<S3Call> call;  // Last: ends before what it sends.
  };

  // Room in part_ for at least one byte.
  absl::Status MakeRoom();
  // Whether all that is expected fits into as many parts as are allowed though the next is short.
  bool MayBeShort() const;
  absl::Status WaitForRoom(int64_t bytes);
  absl::Status Begin();
  absl::Status SendPart();
  // Waits for one of the parts that are under way, whichever is first.
  absl::Status FinishOne();
  // It may have taken hours to come here.
  absl::Status CheckIsOurs() const;
  absl::Status CommitWhole();
  absl::Status CommitParts();
  // Whether an answer tells all: not a good one, which whoever stands before the store may give,
  // nor one that a try may have met which was carried out, of which libcurl makes more by itself.
  static bool IsSettled(const absl::Status& stored, const S3Call& call);
  // What came of storing it, told by what is there now: OK if that is ours. `stored` is what the
  // store answered.
  absl::Status Settle(const absl::Status& stored);
  std::vector<std::string> NewObjectHeaders() const;

  const std::shared_ptr<S3Client> client_;  // Readers and staged blobs may outlive their store.
  MemoryBound& memory_;
  const Options options_;
  const std::string maker_;    // Random: which StagedObject this is.
  int64_t expected_size_ = 0;  // 0: not known.
  int64_t size_bytes_ = 0;
  std::unique_ptr<PartBuffer> part_;  // That is being filled.
  std::string upload_id_;             // Empty as long as nothing went out.
  std::vector<std::string> etags_;  // Of each part that was sent; empty as long as it is not there.
  Mutex mutex_;
  CondVar part_ended_;
  std::vector<size_t> ended_ ABSL_GUARDED_BY(mutex_);  // Parts that came to an end, good or bad.
  std::vector<PartInFlight> in_flight_;                // After what their ends are told to.
};

}  // namespace backup::storage::s3
