#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "base/byte_stream.h"
#include "base/checksum.h"
#include "crypto/cipher.h"

// What becomes of a file's content between its sender and the store, and back: one file a stage.
//
//   upload (ArrivingContent):  encoding -> decoding, measures, ends of chunks -> read ahead
//                              (ChunkedForm) -> chunks: known or new -> compressed, sealed ->
//                              packs, (StoredForm) in a client's form -> footer
//   download (StoredContent):  footer -> unsealing or decryption -> SHA-256 compared
namespace backup::content {

// How content comes.
struct Encoding {
  // How it is encrypted under the client's session key; nothing if it is the plaintext.
  std::optional<crypto::CbcFormat> cbc = std::nullopt;
  // Exactly; not known with sized segments, for which there are the two below.
  int64_t size_bytes = 0;
  int64_t max_size_bytes = 0;  // At most.
  int segment_count = 0;       // Exactly; 0: as many as come.
  // Padded with zeros, or with a surplus: the plaintext has so many bytes, and what follows is none
  // of it; else there is no telling, and all of it counts.
  std::optional<int64_t> plain_size = std::nullopt;

  bool encrypted() const { return cbc.has_value(); }
  bool in_sized_segments() const {
    return cbc && cbc->cut == crypto::CbcFormat::Cut::kSizedSegments;
  }
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
