#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "base/secret_bytes.h"
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
  explicit KeyRing(SecretBytes key) { Add(0, std::move(key)); }
  KeyRing(const KeyRing&) = delete;
  KeyRing& operator=(const KeyRing&) = delete;

  // Dies if the generation is there. `key` has 32 bytes.
  void Add(uint32_t generation, SecretBytes key);
  // Whoever uses it now goes on.
  void Remove(uint32_t generation);

  // By the newest generation; dies if there is none. `context` is authenticated, not stored: the
  // same must be given to Open().
  std::string Seal(absl::string_view secret, absl::string_view context) const;
  // Reasons BLOB_DAMAGED if it was not sealed by one of the generations in this context, or was
  // changed; KEY_MISSING if the generation that it says has sealed it is not there.
  absl::StatusOr<SecretBytes> Open(absl::string_view sealed, absl::string_view context) const;

  // The generation that seals; nothing if there is none.
  std::optional<uint32_t> newest() const;
  // By which generation something was sealed in this context: that which opens it, or, if none
  // does, that which it says. What generation 0 has sealed may look as if it said another.
  uint32_t GenerationOf(absl::string_view sealed, absl::string_view context) const;
  bool Has(uint32_t generation) const { return Find(generation) != nullptr; }
  // The generation's key; empty if there is none.
  SecretBytes KeyOf(uint32_t generation) const;

  // Somebody that keeps for a while what was sealed, or is to be opened: a call, or a step of a
  // job. Before a generation goes, those must have ended that may have something of it.
  class Use {
   public:
    explicit Use(const KeyRing& ring) : ring_(ring), number_(ring.AddUse()) {}
    ~Use() { ring_.EndUse(number_); }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    const KeyRing& ring_;
    const uint64_t number_;
  };
  // Those that begin from now on have this number or a larger one.
  uint64_t NextUse() const;
  // Whether all with a smaller number have ended.
  bool HaveEnded(uint64_t next_use) const;
  // For how long the oldest one that has not ended goes on by now; zero if there is none.
  absl::Duration LongestUse() const;

 private:
  // Shared, so that one may go while somebody uses it.
  using Key = std::shared_ptr<const MasterKey>;

  // Null if there is none.
  Key Find(uint32_t generation) const;
  uint64_t AddUse() const;
  void EndUse(uint64_t number) const;

  mutable Mutex mutex_;
  std::map<uint32_t, Key> keys_ ABSL_GUARDED_BY(mutex_);
  mutable Mutex uses_mutex_;
  // By their numbers, when they began.
  mutable std::map<uint64_t, std::chrono::steady_clock::time_point> uses_
      ABSL_GUARDED_BY(uses_mutex_);
  mutable uint64_t next_use_ ABSL_GUARDED_BY(uses_mutex_) = 0;
};

}  // namespace backup::crypto
