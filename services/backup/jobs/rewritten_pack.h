#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "base/ids.h"
#include "base/piece_buffers.h"
#include "content/compression.h"
#include "content/pack_builder.h"
#include "content/store_keys.h"
#include "crypto/master_key.h"
#include "services/backup/handlers/chunk_id_keys.h"
#include "services/backup/jobs/pace.h"
#include "storage/blob_store.h"
#include "storage/catalog/chunk.h"

namespace backup::jobs {

// What rewriting reads with; all of it outlives its use.
struct RewriteResources {
  const storage::BlobStore& blobs;
  const content::StoreKeys& keys;
  const crypto::MasterKey& master_key;
  PieceBudget& pieces;
  handlers::ChunkIdKeys& id_keys;
  Pace& pace;
};

// The bytes of chunks of packs, each in its turn. Used by one thread at a time.
class PackedChunkReader {
 public:
  // `chunks` are all that will be read, in order; they and what is borrowed must outlive this.
  PackedChunkReader(const storage::BlobStore& blobs, PieceBudget& pieces,
                    const std::vector<storage::StoredChunk>& chunks)
      : blobs_(blobs), pieces_(pieces), chunks_(chunks) {}

  // Fills `stored` with what is in the pack of chunk `number`, above all before. Reasons
  // BLOB_DAMAGED, STORAGE_IO: of this chunk alone, another may be read.
  absl::Status Read(size_t number, std::string& stored);

 private:
  absl::Status Open(const storage::StoredChunk& chunk);
  absl::Status ReadAhead(size_t number, std::string& stored);
  void BeginRange(size_t number);

  const storage::BlobStore& blobs_;
  PieceBudget& pieces_;
  const std::vector<storage::StoredChunk>& chunks_;
  std::optional<BlobId> pack_id_;
  std::unique_ptr<RandomAccess> pack_;
  // Chunks near one another are read as one range of their pack.
  std::unique_ptr<RangeSource> range_;
  int64_t range_offset_ = 0;  // Of rest_.
  int64_t range_end_ = 0;
  absl::string_view rest_;  // Of the last piece.
};

// A new pack of chunks that are in other packs, as a source: each is read, compared with its id,
// compressed where that is wanted and pays, and sealed anew if it was. One that is damaged is left
// out. Used by one thread at a time.
class RewrittenPack final : public LastingSource {
 public:
  // All `chunks` have this form. `token` as for Job::Step().
  RewrittenPack(const RewriteResources& resources, const BlobId& pack_id,
                std::vector<storage::StoredChunk> chunks, storage::StorageForm form,
                const content::CompressionPolicy& compression, std::stop_token token);

  void MakeLast(size_t pieces) override { lasting_pieces_ = pieces; }
  size_t lasting_pieces() const override { return lasting_pieces_; }
  // Beside the errors of the catalog: Cancelled if it was told to stop, and reason STORAGE_IO.
  absl::StatusOr<absl::string_view> Read() override;

  // Valid once all was read.
  storage::NewPack TakePack() { return builder_.TakePack(); }
  const std::vector<storage::StoredChunk>& damaged() const { return damaged_; }

 private:
  // Adds the next chunk, unless it is damaged, or the footer.
  absl::Status AddNext();
  // Makes of what is stored of a chunk what is to be kept of it, before it is sealed; false if
  // nothing refers to it any more.
  absl::StatusOr<bool> Convert(const storage::StoredChunk& chunk, std::string& stored,
                               storage::ChunkCoding& coding);

  const RewriteResources resources_;
  const std::vector<storage::StoredChunk> chunks_;
  const storage::StorageForm form_;
  const content::CompressionPolicy compression_;
  const std::stop_token token_;
  PackedChunkReader reader_;
  content::PackBuilder builder_;
  size_t lasting_pieces_ = 0;
  size_t next_ = 0;  // Of chunks_.
  bool is_finished_ = false;
  std::string stored_;
  std::optional<int64_t> key_pack_;  // The pack whose key that is:
  std::string key_;
  std::deque<content::PackBuilder::Part> parts_;  // That last; the last one is handed out.
  absl::string_view rest_;                        // Of the last one.
  std::vector<storage::StoredChunk> damaged_;
};

}  // namespace backup::jobs
