#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/checksum.h"
#include "crypto/cipher.h"

namespace backup::crypto {

// Decrypts content that was encrypted in segments: the size of a segment, 4 bytes little-endian,
// then so many bytes, which are as CbcDecryptor takes them, and so on. Pieces may be cut anywhere.
class SegmentDecryptor final : public Decryptor {
 public:
  // There must be exactly `segment_count` segments, or, if that is 0, as many as come, at least
  // one. `wanted`, of no bytes yet, says which checksums of the ciphertext are.
  SegmentDecryptor(absl::string_view key, int segment_count, const Checksums& wanted = {},
                   const CbcFormat& format = {})
      : segment_count_(segment_count), segment_(key, format), ciphertext_sums_(wanted) {}

  // Reason INVALID_FIELD if there are more segments than there should be.
  absl::StatusOr<size_t> Update(absl::string_view piece, char* out) override;
  // Yields nothing more. Reason INVALID_FIELD if a segment is not whole, or missing.
  absl::StatusOr<size_t> Finish(char* out) override;

  // The ciphertext so far, without the sizes.
  int64_t ciphertext_size() const { return ciphertext_size_; }
  const Checksums& ciphertext_sums() const { return ciphertext_sums_; }

 private:
  // Takes what of the next segment's size is at the front of `piece`.
  absl::Status TakeSize(absl::string_view& piece, char*& out);
  // Takes what of the present segment is at the front of `piece`; `out` moves with the plaintext.
  absl::Status TakeContent(absl::string_view& piece, char*& out);

  const int segment_count_;
  int segments_ = 0;
  std::string size_field_;
  bool in_segment_ = false;
  uint32_t left_ = 0;     // Of the present segment.
  CbcDecryptor segment_;  // One after the other: to make one costs more than to decrypt little.
  int64_t ciphertext_size_ = 0;
  Checksums ciphertext_sums_;
};

// Decrypts content that was encrypted in segments of one size, but for the last, with nothing
// between them. They may be as small as a block: the time goes with the bytes, and not with the
// segments. Pieces may be cut anywhere.
class EqualSegmentDecryptor final : public Decryptor {
 public:
  // The content has `size_bytes` bytes, and its segments format.segment_size.
  EqualSegmentDecryptor(absl::string_view key, const CbcFormat& format, int64_t size_bytes);

  absl::StatusOr<size_t> Update(absl::string_view piece, char* out) override;
  absl::StatusOr<size_t> Finish(char* out) override;

 private:
  // Decrypts whole blocks, which may be the end of a segment, others, and the begin of one.
  absl::StatusOr<size_t> DecryptBlocks(absl::string_view blocks, char* out);
  // What of `decrypted`, the next bytes of one segment, is plaintext.
  absl::StatusOr<absl::string_view> Plaintext(absl::string_view decrypted);
  // How many bytes of the present segment are to come.
  int64_t segment_left() const;

  const CbcFormat format_;
  const int64_t size_bytes_;
  CbcDecryptor chain_;           // Of all segments as if they were one ciphertext.
  int64_t done_ = 0;             // Bytes decrypted, whole blocks.
  int64_t done_of_segment_ = 0;  // Of those.
  std::string last_block_;       // Of the ciphertext so far; zeros before the first.
  std::string block_;            // What came of the next block, if not all of it.
};

}  // namespace backup::crypto
