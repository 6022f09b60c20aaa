#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "base/piece_buffers.h"
#include "crypto/aead.h"

namespace backup::crypto {

// A sealed payload is the plaintext cut into segments of kSegmentSize bytes (the last one shorter,
// and present even if empty when the plaintext is), each AES-256-GCM under the file's own random
// key, followed by its 16-byte tag. The nonce is SegmentNonce() of its number; so any range can be
// read.
inline constexpr size_t kFileKeySize = Aead::kKeySize;
inline constexpr int64_t kSegmentSize = 64 * 1024;
inline constexpr int64_t kTagSize = Aead::kTagSize;

// Bytes that a sealed payload of `plaintext_size` bytes has.
int64_t SealedSize(int64_t plaintext_size);

// The sealed form of a plaintext of any length.
class SealSource final : public ByteSource {
 public:
  SealSource(ByteSource& plaintext, absl::string_view file_key);
  absl::StatusOr<absl::string_view> Read() override;

 private:
  ByteSource& plaintext_;
  Aead aead_;
  std::string pending_;  // Plaintext not yet sealed; the last full segment waits until it is known
                         // not to be the last.
  std::string out_;
  uint64_t segment_ = 0;
  bool ended_ = false;     // The plaintext is.
  bool finished_ = false;  // The last segment is sealed.
};

// The plaintext bytes [offset, offset + size_bytes) of a sealed payload at the front of `payload`.
// The range must lie within `plaintext_size`, the whole plaintext's size. Reason BLOB_DAMAGED if a
// segment was changed. What is borrowed must outlive it. Used by one thread at a time.
class UnsealSource final : public LastingSource {
 public:
  UnsealSource(const RandomAccess& payload, PieceBudget& budget, absl::string_view file_key,
               int64_t plaintext_size, int64_t offset, int64_t size_bytes);
  void MakeLast(size_t pieces) override { plain_.set_count(pieces + 1); }
  absl::StatusOr<absl::string_view> Read() override;

 private:
  const RandomAccess& payload_;
  Aead aead_;
  const int64_t plaintext_size_;
  int64_t offset_;
  int64_t left_;
  std::string sealed_;
  PieceBuffers plain_;
};

}  // namespace backup::crypto
