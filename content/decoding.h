#pragma once

#include <memory>

#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "base/checksum.h"
#include "base/piece_buffers.h"
#include "content/encoding.h"
#include "content/measures.h"
#include "crypto/cipher.h"
#include "crypto/segments.h"

namespace backup::content {

// What decrypts content. `segments` is a part of `decryptor` and tells of the ciphertext; null if
// it does not come in sized segments.
struct Decryption {
  std::unique_ptr<crypto::Decryptor> decryptor;
  const crypto::SegmentDecryptor* segments = nullptr;
};

// Of content that is encrypted. `segment_sums`, of no bytes yet, says which checksums of sized
// segments are wanted.
Decryption Decrypt(const Encoding& encoding, absl::string_view session_key,
                   const Checksums& segment_sums = {});

// What decodes content. `segments` as in Decryption; it is a part of `source`.
template <typename Source>
struct Decoding {
  std::unique_ptr<Source> source;
  const crypto::SegmentDecryptor* segments = nullptr;
};

// The plaintext of what `encoded` yields, in aligned pieces, full ones but for the last. `observer`
// gets all that was read, and perhaps what comes next. `segment_sums` as for Decrypt(). What is
// borrowed must outlive the result.
Decoding<LastingSource> Decode(const Encoding& encoding, absl::string_view session_key,
                               const Checksums& segment_sums, ByteSource& encoded,
                               PieceBudget& budget, Observer observer);

// Passes on what `encoded` yields as it is, and measures the plaintext that is in it. Only for what
// is encrypted.
Decoding<ByteSource> DecodeBeside(const Encoding& encoding, absl::string_view session_key,
                                  const Checksums& segment_sums, ByteSource& encoded,
                                  PlaintextMeasures& measures);

}  // namespace backup::content
