#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "base/byte_stream.h"
#include "base/checksum.h"

// What becomes of a file's content between its sender and the store, and back: one file a stage.
//
//   upload (StoredForm):       encoding -> decoding, measures -> sealing -> footer
//   download (StoredContent):  footer -> unsealing or decryption -> SHA-256 compared
namespace backup::content {

// How content comes.
struct Encoding {
  enum class Cipher {
    kNone,         // It is the plaintext.
    kCbc,          // AES-CBC under the client's session key.
    kCbcSegments,  // The same in segments, each with its size before it.
  };
  Cipher cipher = Cipher::kNone;
  int64_t size_bytes = 0;      // Exactly; not known with segments.
  int64_t max_size_bytes = 0;  // With segments: at most.
  int segment_count = 0;       // With segments: exactly; 0: as many as come.

  bool encrypted() const { return cipher != Cipher::kNone; }
  bool segmented() const { return cipher == Cipher::kCbcSegments; }
};

// Content of known size as it comes: exactly `size_bytes` bytes of `chunks`, summed as they pass.
// Reason INVALID_FIELD if there are fewer or more. Used by one thread at a time.
class WholeEncoded final : public ByteSource {
 public:
  // `wanted`, of no bytes yet, says which checksums are.
  WholeEncoded(ByteSource& chunks, int64_t size_bytes, const Checksums& wanted)
      : exact_(chunks, size_bytes), sums_(wanted) {}
  absl::StatusOr<absl::string_view> Read() override;
  // Of what has passed.
  const Checksums& sums() const { return sums_; }

 private:
  ExactSource exact_;
  Checksums sums_;
};

// Content of unknown size as it comes: at most `max_size_bytes`, else reason SIZE_LIMIT. Used by
// one thread at a time.
class BoundedEncoded final : public ByteSource {
 public:
  BoundedEncoded(ByteSource& chunks, int64_t max_size_bytes)
      : chunks_(chunks), max_size_bytes_(max_size_bytes), left_(max_size_bytes) {}
  absl::StatusOr<absl::string_view> Read() override;

 private:
  ByteSource& chunks_;
  const int64_t max_size_bytes_;
  int64_t left_;
};

// The error of content with more than `max_size_bytes` bytes.
absl::Status TooLarge(int64_t max_size_bytes);

}  // namespace backup::content
