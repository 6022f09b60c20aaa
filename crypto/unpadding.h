#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "crypto/cipher.h"

namespace backup::crypto {

// Cuts off what is behind a plaintext of known size: the zero bytes with which it was filled up
// before its encryption (CbcFormat::Padding::kZeros), or a surplus of any bytes (kPkcs7AndSurplus).
// Used by one thread at a time.
class UnpaddingDecryptor final : public Decryptor {
 public:
  // The plaintext has `plain_size` bytes; that it has fewer is for the caller to find. How it was
  // filled up is kZeros or kPkcs7AndSurplus.
  UnpaddingDecryptor(std::unique_ptr<Decryptor> padded, int64_t plain_size,
                     CbcFormat::Padding padding)
      : padded_(std::move(padded)),
        only_zeros_(padding == CbcFormat::Padding::kZeros),
        left_(plain_size) {}

  // Reason CONTENT_REJECTED also if more than 15 bytes follow the plaintext, or others than zeros
  // where these are meant.
  absl::StatusOr<size_t> Update(absl::string_view piece, char* out) override;
  absl::StatusOr<size_t> Finish(char* out) override;

 private:
  // Of `size` bytes that follow the ones before, how many are plaintext.
  absl::StatusOr<size_t> Cut(absl::string_view decrypted);

  const std::unique_ptr<Decryptor> padded_;
  const bool only_zeros_;
  int64_t left_;  // Of the plaintext.
  size_t padding_size_ = 0;
};

}  // namespace backup::crypto
