#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/checksum.h"
#include "crypto/cipher.h"

namespace backup::crypto {

// Decrypts content that was encrypted in segments: the size of a segment, 4 bytes little-endian,
// then so many bytes, which are as CbcDecryptor takes them, and so on. Pieces may be cut anywhere.
// Used by one thread at a time.
class SegmentDecryptor {
 public:
  // There must be exactly `segment_count` segments, or, if that is 0, as many as come, at least
  // one. `wanted`, of no bytes yet, says which checksums of the ciphertext are.
  SegmentDecryptor(absl::string_view key, int segment_count, const Checksums& wanted = {})
      : key_(key), segment_count_(segment_count), ciphertext_sums_(wanted) {}

  // Writes the plaintext that is certain so far to `out`, which has room for `piece` and a block
  // more; returns its size. Reason CONTENT_REJECTED as CbcDecryptor; INVALID_FIELD if there are
  // more segments than there should be.
  absl::StatusOr<size_t> Update(absl::string_view piece, char* out);
  // The end of the content, which yields nothing more. Reason INVALID_FIELD if a segment is not
  // whole, or missing.
  absl::StatusOr<size_t> Finish(char* out);

  // The ciphertext so far, without the sizes.
  int64_t ciphertext_size() const { return ciphertext_size_; }
  const Checksums& ciphertext_sums() const { return ciphertext_sums_; }

 private:
  // Takes what of the next segment's size is at the front of `piece`.
  absl::Status TakeSize(absl::string_view& piece, char*& out);
  // Takes what of the present segment is at the front of `piece`; `out` moves with the plaintext.
  absl::Status TakeContent(absl::string_view& piece, char*& out);

  const std::string key_;
  const int segment_count_;
  int segments_ = 0;
  std::string size_field_;
  uint32_t left_ = 0;  // Of the present segment.
  std::optional<CbcDecryptor> decryptor_;
  int64_t ciphertext_size_ = 0;
  Checksums ciphertext_sums_;
};

}  // namespace backup::crypto
