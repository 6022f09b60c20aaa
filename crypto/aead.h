#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

struct evp_cipher_ctx_st;

namespace backup::crypto {

// AES-256-GCM under one key: the one place that seals and opens. Used by one thread at a time.
class Aead {
 public:
  static constexpr size_t kKeySize = 32;
  static constexpr size_t kNonceSize = 12;
  static constexpr size_t kTagSize = 16;
  using Nonce = std::array<char, kNonceSize>;

  // Dies on a key of another size.
  explicit Aead(absl::string_view key);
  ~Aead();
  Aead(const Aead&) = delete;
  Aead& operator=(const Aead&) = delete;

  // Appends the ciphertext and its tag. `context` is authenticated, not stored. No two plaintexts
  // may ever have the same nonce under the same key.
  void Seal(const Nonce& nonce, absl::string_view context, absl::string_view plain,
            std::string& out);
  // What Seal() appended, at least a tag, into `plain`, which has room for all but the tag. False
  // if it was changed, or sealed otherwise: then `plain` holds nothing that may be used.
  [[nodiscard]] bool Open(const Nonce& nonce, absl::string_view context, absl::string_view sealed,
                          char* plain);

 private:
  evp_cipher_ctx_st* const context_;
};

// The nonce of a segment of a STREAM (Hoang, Reyhanitabar, Rogaway and Vizar 2015): its number, 8
// bytes, big-endian, one byte that is 1 for the last segment and 0 for others, and three zero
// bytes. So segments cannot be reordered, dropped or spliced.
Aead::Nonce SegmentNonce(uint64_t number, bool last);

// What is small or alone under its key: a nonce at random, then as above. Thread-safe.
inline constexpr size_t kSealOverhead = Aead::kNonceSize + Aead::kTagSize;
std::string SealAlone(absl::string_view key, absl::string_view context, absl::string_view plain);
// Nothing if it was changed, or sealed otherwise.
std::optional<std::string> OpenAlone(absl::string_view key, absl::string_view context,
                                     absl::string_view sealed);

}  // namespace backup::crypto
