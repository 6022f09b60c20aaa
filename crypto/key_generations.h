#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/secret_bytes.h"
#include "crypto/key_ring.h"
#include "crypto/master_key.h"

namespace backup::crypto {

// More of them are not made: each takes a moment at every start.
inline constexpr size_t kMaxKeyGenerations = 1000;

// A generation as it is kept: its key, sealed under a master key that the fingerprint names.
struct KeyGeneration {
  uint32_t number = 0;
  absl::Time create_time;              // Whole seconds.
  std::string master_key_fingerprint;  // MasterKey::Fingerprint().
  std::string wrapped_key;

  bool operator==(const KeyGeneration&) const = default;
};

// The master key that wraps, and those that only open while it takes their place.
struct MasterKeys {
  std::unique_ptr<MasterKey> current;
  std::string origin;  // Where it comes from, for messages.
  std::vector<std::unique_ptr<MasterKey>> old;

  // Null if none has it.
  const MasterKey* Find(absl::string_view fingerprint) const;
  MasterKeys Copy() const;
};

KeyGeneration WrapGeneration(uint32_t number, absl::Time create_time, absl::string_view key,
                             const MasterKey& master_key);
// The key. Reason BLOB_DAMAGED if it was changed, or wrapped by another master key.
absl::StatusOr<SecretBytes> UnwrapGeneration(const KeyGeneration& generation,
                                             const MasterKey& master_key);

// As they are kept in the catalog, under this name (Transaction::SetStoreValue), and in a file:
// lines of text. The first names the format, the last has the sum of all before; between them one
// for each generation, in order: number, seconds since 1970, fingerprint, wrapped key in hex.
inline constexpr absl::string_view kKeyGenerationsName = "key_generations";
std::string EncodeGenerations(const std::vector<KeyGeneration>& generations);
// Reason STATE_CORRUPT if it is no such text.
absl::StatusOr<std::vector<KeyGeneration>> ParseGenerations(absl::string_view text);

// Replaces the file, which only its owner may read, or changes nothing; durable.
absl::Status WriteGenerationsFile(const std::string& path, absl::string_view text);
// NotFound if there is none, or no folder for it; another error if it cannot be read. It may hold
// anything.
absl::StatusOr<std::string> ReadGenerationsFile(const std::string& path);

// Adds those keys to a ring that has none of them. FailedPrecondition, saying what to do, if one
// opens with none of the master keys.
absl::Status AddGenerations(const std::vector<KeyGeneration>& generations,
                            const MasterKeys& master_keys, KeyRing& ring);

}  // namespace backup::crypto
