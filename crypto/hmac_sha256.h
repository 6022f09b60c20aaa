#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "crypto/sha256.h"

namespace backup::crypto {

// HMAC-SHA-256 (RFC 2104) of one message after the other under one key, as bytes pass. Used by one
// thread at a time.
class HmacSha256 {
 public:
  explicit HmacSha256(absl::string_view key, Sha256::Engine engine = Sha256::BestEngine());

  void Update(absl::string_view bytes) { inner_.Update(bytes); }
  // Takes the same bytes into `other`, too, as Sha256::UpdateBoth().
  void UpdateWith(Sha256& other, absl::string_view bytes) {
    Sha256::UpdateBoth(other, inner_, bytes);
  }
  // Messages of two keys, or of one, as Sha256::UpdateBoth().
  static void UpdateBoth(HmacSha256& first, absl::string_view first_bytes, HmacSha256& second,
                         absl::string_view second_bytes) {
    Sha256::UpdateBoth(first.inner_, first_bytes, second.inner_, second_bytes);
  }
  // Of all bytes since the last call: kSha256Size bytes. The next message begins.
  std::string Finish();

 private:
  Sha256 inner_begin_;
  Sha256 outer_begin_;
  Sha256 inner_;
};

}  // namespace backup::crypto
