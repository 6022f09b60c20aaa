#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "crypto/aead.h"
#include "crypto/master_key.h"

namespace backup::crypto {

// The keys that seal session keys, the keys of sealed files and packs, and the store's secret: one
// for each generation. The newest seals, all open. What a generation above 0 seals says which it
// is: "BKG1" and its number, 4 bytes, little-endian, before what MasterKey::Seal() makes of it.
// Generation 0 is the master key that a store had before there were generations, whose format is
// that of MasterKey. Thread-safe.
class KeyRing {
 public:
  static constexpr size_t kHeaderSize = 8;
  // Bytes that sealing adds, at most.
  static constexpr size_t kMaxOverhead = kHeaderSize + kSealOverhead;

  // Without a generation nothing can be sealed.
  KeyRing() = default;
  // Of generation 0 alone. `key` has 32 bytes.
  explicit KeyRing(std::string key) { Add(0, std::move(key)); }
  KeyRing(const KeyRing&) = delete;
  KeyRing& operator=(const KeyRing&) = delete;

  // Dies if the generation is there. `key` has 32 bytes.
  void Add(uint32_t generation, std::string key);

  // By the newest generation; dies if there is none. `context` is authenticated, not stored: the
  // same must be given to Open().
  std::string Seal(absl::string_view secret, absl::string_view context) const;
  // Reasons BLOB_DAMAGED if it was not sealed by one of the generations in this context, or was
  // changed; KEY_MISSING if the generation that it says has sealed it is not there.
  absl::StatusOr<std::string> Open(absl::string_view sealed, absl::string_view context) const;

  // The generation that seals; nothing if there is none.
  std::optional<uint32_t> newest() const;
  // By which generation something was sealed, as it says.
  uint32_t GenerationOf(absl::string_view sealed) const;
  // The generation's key; empty if there is none.
  std::string KeyOf(uint32_t generation) const;

 private:
  // Shared, so that one may go while somebody uses it.
  using Key = std::shared_ptr<const MasterKey>;

  // Null if there is none.
  Key Find(uint32_t generation) const;

  mutable Mutex mutex_;
  std::map<uint32_t, Key> keys_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::crypto
