#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/ids.h"
#include "base/secret_bytes.h"
#include "content/store_keys.h"
#include "crypto/hmac_sha256.h"
#include "crypto/sha256.h"

namespace backup::content {

// The id of the chunk with this digest, in this scope (ChunkIdKey).
inline ChunkId IdInScope(absl::string_view scope_key, absl::string_view digest) {
  crypto::HmacSha256 hmac(scope_key);
  hmac.Update(digest);
  return *ChunkId::FromBytes(hmac.Finish());
}

// A chunk's id, gathered as its bytes pass: a keyed cryptographic digest. Used by one thread at a
// time.
class ChunkDigest {
 public:
  explicit ChunkDigest(const ChunkIdKey& key) : hmac_(key.digest_key), scope_key_(key.scope_key) {}

  void Update(absl::string_view bytes) { hmac_.Update(bytes); }
  // Takes the same bytes into `other`, too: cheaper than one after the other.
  void UpdateWith(crypto::Sha256& other, absl::string_view bytes) {
    hmac_.UpdateWith(other, bytes);
  }
  // The id of all bytes since the last call; the next chunk begins.
  ChunkId Finish() { return IdInScope(scope_key_, FinishDigest()); }
  // The digest that ids in all scopes are made of.
  std::string FinishDigest() { return hmac_.Finish(); }

 private:
  crypto::HmacSha256 hmac_;
  const SecretBytes scope_key_;
};

inline ChunkId ChunkIdOf(const ChunkIdKey& key, absl::string_view bytes) {
  ChunkDigest digest(key);
  digest.Update(bytes);
  return digest.Finish();
}

// What ChunkDigest::FinishDigest() says of each of these chunks. Two are digested at once, which
// takes little more time than one (docs/adr/0031): so several are better than one after the other.
std::vector<std::string> DigestsOf(const ChunkIdKey& key,
                                   std::span<const absl::string_view> chunks);

}  // namespace backup::content
