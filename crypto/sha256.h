#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "crypto/sha256_lanes.h"

struct evp_md_ctx_st;

namespace backup::crypto {

inline constexpr size_t kSha256Size = 32;

// SHA-256 as bytes pass. Used by one thread at a time.
class Sha256 {
 public:
  // Who compresses: the processor's instructions by our own code, which OpenSSL has as well but not
  // for two messages at once, or OpenSSL.
  enum class Engine { kLanes, kOpenSsl };
  static Engine BestEngine() { return HasSha256Lanes() ? Engine::kLanes : Engine::kOpenSsl; }

  Sha256() : Sha256(BestEngine()) {}
  // kLanes only where HasSha256Lanes().
  explicit Sha256(Engine engine);
  ~Sha256();
  Sha256(const Sha256& other);
  Sha256& operator=(const Sha256& other);

  void Update(absl::string_view piece);
  // The same bytes into both, which may have had different ones before. With kLanes in both it
  // takes hardly more time than one.
  static void UpdateBoth(Sha256& first, Sha256& second, absl::string_view piece) {
    UpdateBoth(first, piece, second, piece);
  }
  // The same with bytes of each one's own, which are best of one size.
  static void UpdateBoth(Sha256& first, absl::string_view first_piece, Sha256& second,
                         absl::string_view second_piece);
  // Call once, at the end: 32 bytes.
  std::string Finish();

 private:
  // Makes the pending block whole, if there is one, and returns what is left of `piece`.
  absl::string_view FillPending(absl::string_view piece);
  // Takes all of `piece`; nothing may be pending.
  void TakeRest(absl::string_view piece);

  evp_md_ctx_st* context_ = nullptr;  // kOpenSsl; else the following.
  Sha256State state_ = kSha256Begin;
  uint64_t size_ = 0;
  // The bytes of the last block that is not whole yet: size_ % kSha256BlockSize of them.
  std::array<char, kSha256BlockSize> pending_ = {};
};

}  // namespace backup::crypto
