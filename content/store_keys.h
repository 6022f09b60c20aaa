#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "base/secret_bytes.h"
#include "crypto/key_ring.h"
#include "storage/catalog/version.h"

namespace backup::content {

// One number for each value of a byte, for the rolling hash that says where chunks end.
using GearTable = std::array<uint64_t, 256>;

// What makes a chunk's id of its bytes: their digest under the store's key, which costs a pass over
// them, and of that the digest under the key of its scope, those who share the chunk. So whose
// chunk it is can be found out without another pass.
struct ChunkIdKey {
  SecretBytes digest_key;
  SecretBytes scope_key;
};

// What is derived (HKDF-SHA256) of the secret that a store has: 32 bytes at random, sealed under
// the master key. Whoever does not know it learns nothing from the lengths and ids of chunks.
// Thread-safe.
class StoreKeys {
 public:
  // A new secret, sealed, to be kept in the catalog under this name (Transaction::AddStoreValue).
  static constexpr absl::string_view kName = "store_secret";
  static std::string NewSealedSecret(const crypto::KeyRing& master_key);
  // Reason BLOB_DAMAGED if it was not sealed by this master key.
  static absl::StatusOr<std::unique_ptr<StoreKeys>> Open(absl::string_view sealed_secret,
                                                         const crypto::KeyRing& master_key);

  // By which generation of keys a secret is sealed (KeyRing::GenerationOf).
  static uint32_t GenerationOf(absl::string_view sealed_secret, const crypto::KeyRing& master_key);

  // As it was given: it is in the footer of each pack, too.
  std::string sealed_secret() const {
    MutexLock lock(mutex_);
    return sealed_secret_;
  }
  // The same secret, sealed by the newest generation of keys.
  std::string Reseal(const crypto::KeyRing& master_key) const;
  // From now on it is this one, which the catalog keeps. Reason BLOB_DAMAGED if it is not the same
  // secret; errors of Open().
  absl::Status SetSealedSecret(const std::string& sealed_secret, const crypto::KeyRing& master_key);
  const GearTable& gear() const { return gear_; }
  // The key of the ids of chunks that all share, or one client alone. Those that are kept sealed
  // are others than those that are kept plain: what is to be sealed never refers to what is not.
  ChunkIdKey IdKey(storage::StorageForm form,
                   const std::optional<ClientId>& client = std::nullopt) const;
  // All keys that ids in this client's content are made with.
  std::vector<ChunkIdKey> IdKeysOf(const ClientId& client) const;
  // The key that seals this chunk where it is kept in the catalog.
  SecretBytes InlineKey(const ChunkId& id) const;
  // The key that seals dictionaries (content/dictionary.h) where they are kept in the catalog.
  SecretBytes DictionaryKey() const;
  // The key of the audit log (services/backup/audit/chain.h): it stays whatever becomes of
  // generations of keys.
  SecretBytes AuditKey() const;

 private:
  StoreKeys(std::string sealed_secret, SecretBytes secret);

  mutable Mutex mutex_;
  std::string sealed_secret_ ABSL_GUARDED_BY(mutex_);
  const SecretBytes secret_;
  const SecretBytes digest_key_;
  const GearTable gear_;
};

}  // namespace backup::content
