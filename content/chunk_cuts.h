#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "content/chunk_digest.h"
#include "content/chunker.h"
#include "content/measures.h"
#include "storage/catalog/chunk.h"

namespace backup::content {

// A chunk that has ended: the `ref.size_bytes` bytes of the content before `end`.
struct EndedChunk {
  int64_t end = 0;
  storage::ChunkRef ref;
};

// Cuts a plaintext into chunks and measures it, in the one pass over its bytes. Whoever makes the
// plaintext calls Update(), maybe on another thread and some pieces ahead of whoever reads it and
// takes the chunks with Next(). What waits between them is one entry for each kMinChunkSize that
// was made and not taken.
class ChunkCuts {
 public:
  // `gear` and `measures` must outlive this.
  ChunkCuts(const GearTable& gear, const ChunkIdKey& id_key, PlaintextMeasures& measures)
      : measures_(measures), chunker_(gear), digest_(id_key) {}
  ChunkCuts(const ChunkCuts&) = delete;
  ChunkCuts& operator=(const ChunkCuts&) = delete;

  // The next bytes of the plaintext; they are added to the measures, too. Called by one thread at a
  // time: an Observer of content::Decode().
  void Update(absl::string_view part);
  // The plaintext has ended and its reader has read to the end: so does the last chunk. Once.
  void Finish();

  // The next chunk that ends within the first `read_bytes` bytes of the plaintext, each once and in
  // their order. After all that ended within a piece were taken, the rest of the piece belongs to a
  // chunk that ends later. Nothing waits: a byte that was read has been through Update(). Used by
  // one thread at a time.
  std::optional<EndedChunk> Next(int64_t read_bytes);

 private:
  void EndChunk();

  PlaintextMeasures& measures_;
  Chunker chunker_;
  ChunkDigest digest_;
  int64_t begin_ = 0;  // Of the chunk that goes on.
  Mutex mutex_;
  std::deque<EndedChunk> ended_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::content
