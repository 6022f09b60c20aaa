#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "base/ids.h"
#include "base/piece_buffers.h"
#include "content/chunk_reader.h"
#include "content/compression.h"
#include "content/pack_builder.h"
#include "content/store_keys.h"
#include "crypto/key_ring.h"
#include "services/backup/handlers/chunk_id_keys.h"
#include "services/backup/jobs/carried_parts.h"
#include "services/backup/jobs/pace.h"
#include "storage/blob_store.h"
#include "storage/catalog/chunk.h"

namespace backup::jobs {

// What rewriting reads with; all of it outlives its use.
struct RewriteResources {
  const storage::BlobStore& blobs;
  const content::StoreKeys& keys;
  const crypto::KeyRing& master_key;
  PieceBudget& pieces;
  handlers::ChunkIdKeys& id_keys;
  Pace& pace;
};

// A new pack of chunks that are in other packs, as a source: each is read, compared with its id,
// compressed where it waits for that and it pays, and sealed anew if it was. Else it is what was
// read, not copied. One that is damaged is left out. In memory are those that are read ahead
// (content::ChunkReader), kDigestedAtOnce that are compared, and those whose pieces last. Used by
// one thread at a time.
class RewrittenPack final : public LastingSource {
 public:
  // Enough that two digests go on beside each other nearly all the time.
  static constexpr size_t kDigestedAtOnce = 4;

  // All `chunks` have this form. `token` as for Job::Step(). `all_is_read` is called once nothing
  // but handing out is left: what was borrowed, but the budget, is not used any more.
  RewrittenPack(const RewriteResources& resources, const BlobId& pack_id,
                std::vector<storage::StoredChunk> chunks, CarriedParts parts,
                storage::StorageForm form, const content::CompressionPolicy& compression,
                std::stop_token token, std::function<void()> all_is_read);

  void MakeLast(size_t pieces) override { lasting_pieces_ = pieces; }
  size_t lasting_pieces() const override { return lasting_pieces_; }
  // Beside the errors of the catalog: Cancelled if it was told to stop, and reason STORAGE_IO.
  absl::StatusOr<absl::string_view> Read() override;

  // Valid once all was read.
  storage::NewPack TakePack() { return builder_.TakePack(); }
  const std::vector<storage::StoredChunk>& damaged() const { return damaged_; }

 private:
  // A chunk that was read.
  struct Taken {
    storage::StoredChunk chunk;
    absl::Status status;                         // Of the following:
    std::shared_ptr<content::PlainChunk> bytes;  // As they are to be kept, before they are sealed,
    std::string decompressed;                    // if they are compressed.

    absl::string_view plain() const {
      return chunk.coding == storage::ChunkCoding::kZstd ? decompressed : bytes->bytes();
    }
  };

  // Has as many chunks read ahead as can be; false if all were taken.
  bool BeginReading();
  absl::StatusOr<Taken> Take();
  // Adds the next chunks, unless they are damaged, or the footer.
  absl::Status AddNext();
  absl::Status Add(Taken taken, absl::string_view digest);
  // Whether it is to be kept: what is not right may be what nothing refers to any more.
  absl::StatusOr<bool> Check(const Taken& taken, absl::string_view digest);
  void Keep(Taken taken);

  const RewriteResources resources_;
  const std::vector<storage::StoredChunk> chunks_;
  CarriedParts carried_;  // Until it is finished.
  const content::CompressionPolicy compression_;
  const std::stop_token token_;
  const std::function<void()> all_is_read_;
  content::ChunkReader reader_;
  content::PackBuilder builder_;
  size_t lasting_pieces_ = 0;
  size_t next_ = 0;  // Of chunks_, to be read.
  bool is_finished_ = false;
  std::deque<content::PackBuilder::Part> parts_;  // That last; the last one is handed out.
  absl::string_view rest_;                        // Of the last one.
  std::vector<storage::StoredChunk> damaged_;
};

}  // namespace backup::jobs
