#include "crypto/hmac_sha256.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>

namespace backup::crypto {
namespace {

using Block = std::array<char, kSha256BlockSize>;

Block BlockOf(absl::string_view key) {
  Block block = {};
  if (key.size() <= block.size()) {
    std::copy(key.begin(), key.end(), block.begin());
    return block;
  }
  Sha256 hash;
  hash.Update(key);
  const std::string digest = hash.Finish();
  std::copy(digest.begin(), digest.end(), block.begin());
  return block;
}

// Of the key, padded with zeros, with each byte changed as RFC 2104 says.
Sha256 Begin(absl::string_view key, char pad, Sha256::Engine engine) {
  Block block = BlockOf(key);
  for (char& byte : block) byte ^= pad;
  Sha256 hash(engine);
  hash.Update({block.data(), block.size()});
  OPENSSL_cleanse(block.data(), block.size());
  return hash;
}

}  // namespace

HmacSha256::HmacSha256(absl::string_view key, Sha256::Engine engine)
    : inner_begin_(Begin(key, 0x36, engine)),
      outer_begin_(Begin(key, 0x5c, engine)),
      inner_(inner_begin_) {}

std::string HmacSha256::Finish() {
  Sha256 outer = outer_begin_;
  outer.Update(inner_.Finish());
  inner_ = inner_begin_;
  return outer.Finish();
}

}  // namespace backup::crypto
