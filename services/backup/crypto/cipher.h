#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"

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

// The plaintext of a ciphertext as above.
class CbcDecryptSource final : public ByteSource {
 public:
  CbcDecryptSource(ByteSource& ciphertext, absl::string_view key)
      : ciphertext_(ciphertext), decryptor_(key) {}
  absl::StatusOr<absl::string_view> Read() override;

 private:
  ByteSource& ciphertext_;
  CbcDecryptor decryptor_;
  bool ended_ = false;
};

}  // namespace backup::crypto
