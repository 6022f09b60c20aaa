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

// What fills up the last block.
enum class CipherPadding {
  kPkcs7,  // Always something.
  kZeros,  // Zero bytes, or nothing behind whole blocks.
};

// Size of what becomes of `plaintext_size` bytes.
constexpr int64_t EncryptedSize(int64_t plaintext_size,
                                CipherPadding padding = CipherPadding::kPkcs7) {
  const int64_t block = kCipherBlockSize;
  return padding == CipherPadding::kPkcs7 ? (plaintext_size / block + 1) * block
                                          : (plaintext_size + block - 1) / block * block;
}

// AES-CBC as bytes pass, with a zero initial vector unless another is set. Used by one thread at a
// time.
class CbcEncryptor {
 public:
  // `key` must have kAes128KeySize or kAes256KeySize bytes.
  explicit CbcEncryptor(absl::string_view key, CipherPadding padding = CipherPadding::kPkcs7);

  // For the ciphertext that begins now: kCipherBlockSize bytes.
  void SetInitialVector(absl::string_view vector);
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

  const CipherPadding padding_;
  std::unique_ptr<evp_cipher_ctx_st, Free> context_;
  size_t last_block_size_ = 0;  // What the last block has.
};

}  // namespace backup::legacy_client
