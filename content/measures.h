#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "base/checksum.h"
#include "content/chunk_digest.h"
#include "crypto/sha256.h"
#include "storage/catalog/version.h"

namespace backup::content {

// What is to be known of a plaintext, gathered as it passes. Used by one thread at a time.
struct PlaintextMeasures {
  int64_t size_bytes = 0;
  Checksums sums;
  crypto::Sha256 sha256;

  void Update(absl::string_view piece) {
    size_bytes += static_cast<int64_t>(piece.size());
    sums.Update(piece);
    sha256.Update(piece);
  }
  // Takes the same bytes into `chunk`, too, cheaper than one after the other.
  void UpdateWith(ChunkDigest& chunk, absl::string_view piece) {
    size_bytes += static_cast<int64_t>(piece.size());
    sums.Update(piece);
    chunk.UpdateWith(sha256, piece);
  }
};

// Whether it sums up the plaintext, rather than what was sent.
bool IsOfPlaintext(storage::ChecksumKind kind);

// The one sum that this kind is, of no bytes yet.
Checksums SumOf(storage::ChecksumKind kind);

}  // namespace backup::content
