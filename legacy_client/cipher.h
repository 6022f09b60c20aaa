#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/strings/string_view.h"

struct evp_cipher_ctx_st;  // OpenSSL's EVP_CIPHER_CTX.

namespace backup::legacy_client {

inline constexpr size_t kAes128KeySize = 16;
inline constexpr size_t kAes256KeySize = 32;
inline constexpr size_t kCipherBlockSize = 16;

// Size of what becomes of `plaintext_size` bytes: there is always padding.
constexpr int64_t EncryptedSize(int64_t plaintext_size) {
  return (plaintext_size / int64_t{kCipherBlockSize} + 1) * int64_t{kCipherBlockSize};
}

// AES-CBC with a zero initial vector and PKCS#7 padding, as bytes pass. Used by one thread at a
// time.
class CbcEncryptor {
 public:
  // `key` must have kAes128KeySize or kAes256KeySize bytes.
  explicit CbcEncryptor(absl::string_view key);

  // Encrypts the next bytes into `out`, which must have room for one block more than `plaintext`;
  // returns how many bytes that were.
  size_t Update(absl::string_view plaintext, std::span<char> out);
  // Writes the last block into `out` and returns its size. What follows is a ciphertext of its own,
  // under the same key.
  size_t Finish(std::span<char> out);

 private:
  struct Free {
    void operator()(evp_cipher_ctx_st* context) const;
  };

  std::unique_ptr<evp_cipher_ctx_st, Free> context_;
};

}  // namespace backup::legacy_client
