#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/ids.h"
#include "base/secret_bytes.h"
#include "content/chunk_seal.h"
#include "content/pack_footer.h"
#include "crypto/key_ring.h"
#include "storage/catalog/chunk.h"
#include "storage/catalog/version.h"

namespace backup::content {

// A pack in the making: chunks go in, and its bytes come out, part by part. Raw chunks of a plain
// pack are not copied: their place in the pack is aligned as their address is, and each part waits
// for what follows it in memory, so that a file can be written past the page cache
// (base/direct_file.h), as much at once as lies there together. Used by one thread at a time.
class PackBuilder {
 public:
  // Bytes that are somebody's: in a piece of the content, by the piece's number; or with an owner;
  // or they stay as long as this.
  struct Part {
    static constexpr int64_t kNoPiece = -1;

    absl::string_view bytes;
    int64_t piece = kNoPiece;
    std::shared_ptr<const void> owner;
  };

  // `form` is kPlain or kSealed. `sealed_secret`: StoreKeys::sealed_secret().
  PackBuilder(const BlobId& id, storage::StorageForm form, absl::string_view sealed_secret,
              const crypto::KeyRing& master_key);

  // What a pack can come to of so many bytes of content, with a footer of at least `steps` steps.
  static int64_t LargestSize(int64_t content_bytes, size_t steps);

  // Whether a chunk of at most so many bytes fits in, with a footer of `steps` steps.
  bool HasRoom(int64_t size_bytes, size_t steps) const;

  // What a footer of so many chunks and steps of one part can come to.
  static int64_t LargestFooterSize(size_t chunks, size_t steps);

  // A whole chunk, as it is or compressed. The parts of a raw one must stay as they are until
  // Next() has yielded them; after Flush() or Finish() all are there.
  void AddRaw(const storage::ChunkRef& ref, std::span<const Part> parts, bool waits);
  void AddCompressed(const storage::ChunkRef& ref, std::string frame) {
    AddOwned(ref, storage::ChunkCoding::kZstd, std::move(frame));
  }
  // In either coding, wherever it is in memory; does not wait. `part` has an owner.
  void AddOwned(const storage::ChunkRef& ref, storage::ChunkCoding coding, Part part);
  void AddOwned(const storage::ChunkRef& ref, storage::ChunkCoding coding, std::string bytes) {
    AddOwned(ref, coding, Own(std::move(bytes)));
  }

  // A raw chunk whose bytes come before it is known, and whether it is to be one of the pack's:
  // else they are garbage.
  void Begin(const char* address);
  void Append(const Part& part);
  void End(const storage::ChunkRef& ref, bool waits);
  void EndAsGarbage() { ++index_; }

  // Those that it has so far.
  const std::vector<storage::PackedChunk>& chunks() const { return pack_.chunks; }

  // Nothing follows soon.
  void Flush();
  // Nothing follows at all but the footer, with these parts.
  void Finish(std::vector<PackFooter::Part> parts);

  // The next bytes of the pack; nothing as long as there are none.
  std::optional<Part> Next();

  // Once it is finished: without its size.
  storage::NewPack TakePack() { return std::move(pack_); }

 private:
  void Align(const char* address);
  void Emit(const Part& part);
  void Push(Part part);
  static Part Own(std::string bytes);
  void PushOwn(std::string bytes) { Push(Own(std::move(bytes))); }
  void SealInto(const Part& part);
  void Enter(const storage::ChunkRef& ref, storage::ChunkCoding coding, bool waits);

  const std::string sealed_secret_;
  SecretBytes pack_key_;  // kSealed, as is:
  std::optional<ChunkSealer> sealer_;
  storage::NewPack pack_;
  int index_ = 0;
  int64_t begin_ = 0;  // Of the last chunk.
  int64_t offset_ = 0;
  Part held_;  // What waits for what follows.
  std::deque<Part> parts_;
};

}  // namespace backup::content
