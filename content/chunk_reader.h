#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/aligned_buffer.h"
#include "base/byte_stream.h"
#include "base/io_queue.h"
#include "base/piece_buffers.h"
#include "base/secret_bytes.h"
#include "content/dictionary.h"
#include "content/store_keys.h"
#include "crypto/key_ring.h"
#include "storage/catalog/chunk.h"

namespace backup::content {

// What chunks are opened with. Null: it is not there, and what needs it cannot be read. What is
// borrowed must outlive who gets it.
struct ChunkKeys {
  const crypto::KeyRing* master_key = nullptr;  // Opens the keys of packs.
  const StoreKeys* store_keys = nullptr;        // Opens what is kept in the catalog.
  Dictionaries* dictionaries = nullptr;         // What small chunks were compressed with.
};

// The plaintext of a chunk, with the memory that it is in.
class PlainChunk {
 public:
  // Takes its share of the budget back, if it has one.
  ~PlainChunk();
  PlainChunk(const PlainChunk&) = delete;
  PlainChunk& operator=(const PlainChunk&) = delete;

  // Of what ChunkReader::NextUnsealed() gave: compressed still, if the chunk is.
  absl::string_view bytes() const { return bytes_; }

 private:
  friend class ChunkReader;
  PlainChunk() = default;

  AlignedBuffer stored_;  // What the pack holds,
  std::string payload_;   // or the catalog.
  std::string scratch_;
  absl::string_view bytes_;  // In one of those.
  PieceBudget* budget_ = nullptr;
  int64_t reserved_bytes_ = 0;
};

// Reads chunks as they are kept, several ahead while the budget has room for that, and opens them.
// To compare them with their ids is left to the caller. Used by one thread at a time.
class ChunkReader {
 public:
  // Opens a pack: NotFound, or reason STORAGE_IO.
  using OpenPack = std::function<absl::StatusOr<std::unique_ptr<RandomAccess>>(const BlobId&)>;
  // What has become of a chunk: reason BLOB_DAMAGED if it, or its pack, is not there as it was
  // stored. Others are read all the same.
  struct Result {
    storage::StoredChunk chunk;
    absl::StatusOr<std::unique_ptr<PlainChunk>> plain;
  };

  // `budget` must outlive this and what it returns. `engine` as for IoQueue.
  ChunkReader(ChunkKeys keys, OpenPack open_pack, PieceBudget& budget, IoEngine* engine = nullptr);

  // Begins to read a chunk. False, and nothing has happened, if enough is read ahead: then Next()
  // comes first. Never false if nothing is begun.
  bool TryBegin(const storage::StoredChunk& chunk);
  bool has_begun() const { return !begun_.empty(); }
  // The oldest one that was begun, of which there must be one.
  Result Next() { return Take(Decompressed::kYes); }
  // The same, but not decompressed: for who copies chunks as they are kept.
  Result NextUnsealed() { return Take(Decompressed::kNo); }
  // Reads one chunk now, from a pack that is opened anew.
  absl::StatusOr<std::unique_ptr<PlainChunk>> ReadNow(const storage::StoredChunk& chunk);
  // Opens the chunk's pack, if it has one, which stays open until others were read.
  absl::Status Open(const storage::StoredChunk& chunk);

 private:
  // A pack that is open.
  struct Pack {
    BlobId id;
    std::unique_ptr<RandomAccess> access;
    SecretBytes key;  // kSealed.
  };
  // A part of what the pack holds.
  struct Part {
    int64_t offset = 0;
    std::span<char> bytes;
    enum class State { kWaits, kStarted, kCannotStart } state = State::kWaits;
  };
  struct Begun {
    storage::StoredChunk chunk;
    std::shared_ptr<Pack> pack;
    std::unique_ptr<PlainChunk> plain;
    absl::string_view stored;  // Once all parts are read.
    std::vector<Part> parts;
    absl::Status status;
  };

  // Makes room for it.
  absl::Status Lay(Begun& begun);
  // Starts as many of the parts that wait as can be in flight.
  void Start();
  absl::StatusOr<std::shared_ptr<Pack>> PackOf(const storage::StoredChunk& chunk);
  absl::StatusOr<std::shared_ptr<Pack>> OpenNew(const storage::StoredChunk& chunk);
  absl::Status Finish(Begun& begun);
  static absl::Status ReadAt(const Pack& pack, const Part& part);
  enum class Decompressed { kYes, kNo };
  Result Take(Decompressed decompressed);
  absl::Status OpenStored(Begun& begun, Decompressed decompressed);

  const ChunkKeys keys_;
  const OpenPack open_pack_;
  PieceBudget& budget_;
  std::deque<std::shared_ptr<Pack>> packs_;  // The last ones used, newest first.
  std::deque<Begun> begun_;
  IoQueue queue_;  // Last: what is in flight ends first.
};

// Whether `status`, of reading a chunk, says that its pack is not there at all.
bool SaysPackMissing(const absl::Status& status);

}  // namespace backup::content
