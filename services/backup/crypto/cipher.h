#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "base/status_macros.h"

struct evp_cipher_ctx_st;

namespace backup::crypto {

// Decrypts AES-CBC with a zero IV and PKCS#7 padding, piece by piece. Used by one thread at a time.
class CbcDecryptor {
 public:
  // `key` has 16 or 32 bytes.
  explicit CbcDecryptor(absl::string_view key);
  ~CbcDecryptor();
  CbcDecryptor(const CbcDecryptor&) = delete;
  CbcDecryptor& operator=(const CbcDecryptor&) = delete;

  // Plaintext that is certain so far; valid until the next call. `piece` has at most kMaxPieceSize
  // bytes.
  absl::StatusOr<absl::string_view> Update(absl::string_view piece);
  // The last plaintext. Reason CONTENT_REJECTED, always with the same message, if the ciphertext
  // was empty, no multiple of 16 bytes, or badly padded.
  absl::StatusOr<absl::string_view> Finish();

 private:
  evp_cipher_ctx_st* const context_;
  std::string buffer_;
};

// The plaintext of what `ciphertext` yields. `Decryptor` is CbcDecryptor or SegmentDecryptor.
template <typename Decryptor>
class DecryptSource final : public ByteSource {
 public:
  // The arguments after the first are the decryptor's.
  template <typename... Args>
  explicit DecryptSource(ByteSource& ciphertext, const Args&... args)
      : ciphertext_(ciphertext), decryptor_(args...) {}

  absl::StatusOr<absl::string_view> Read() override {
    while (!ended_) {
      ASSIGN_OR_RETURN(const absl::string_view piece, ciphertext_.Read());
      ended_ = piece.empty();
      ASSIGN_OR_RETURN(const absl::string_view plain,
                       ended_ ? decryptor_.Finish() : decryptor_.Update(piece));
      if (!plain.empty()) return plain;
    }
    return absl::string_view();
  }

  const Decryptor& decryptor() const { return decryptor_; }

 private:
  ByteSource& ciphertext_;
  Decryptor decryptor_;
  bool ended_ = false;
};
using CbcDecryptSource = DecryptSource<CbcDecryptor>;

}  // namespace backup::crypto
