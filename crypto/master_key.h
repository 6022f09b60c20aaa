#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/secret_bytes.h"
#include "crypto/aead.h"

namespace backup::crypto {

// The key that wraps the generations of keys (crypto/key_generations.h): AES-256-GCM, a random
// 12-byte nonce before the ciphertext and the 16-byte tag behind it. Never logged. Thread-safe.
class MasterKey {
 public:
  // Bytes that sealing adds.
  static constexpr size_t kOverhead = kSealOverhead;

  // Reads the key (32 bytes in hex and a newline) from `path`; if there is no file, makes one with
  // mode 0600, durable before it is used. FailedPrecondition, saying what to do, if the file is
  // readable for group or others, or malformed.
  static absl::StatusOr<std::unique_ptr<MasterKey>> LoadOrCreate(const std::string& path);
  // As above, but NotFound if there is no file.
  static absl::StatusOr<std::unique_ptr<MasterKey>> Load(const std::string& path);
  // What systemd gives a unit with LoadCredential= under this name: $CREDENTIALS_DIRECTORY/NAME, as
  // a key file, which systemd may let the unit's group read. FailedPrecondition if there is none.
  static absl::StatusOr<std::unique_ptr<MasterKey>> LoadCredential(const std::string& name);
  // Of what a key file has in it; it is wiped. FailedPrecondition if that is malformed, naming
  // `origin`.
  static absl::StatusOr<std::unique_ptr<MasterKey>> Parse(std::string text,
                                                          absl::string_view origin);
  // `key` has 32 bytes.
  explicit MasterKey(SecretBytes key);
  MasterKey(const MasterKey&) = delete;
  MasterKey& operator=(const MasterKey&) = delete;

  // `context` is authenticated, not stored: the same must be given to Open().
  std::string Seal(absl::string_view secret, absl::string_view context) const;
  // Reason BLOB_DAMAGED if it was not sealed by this key in this context, or was changed.
  absl::StatusOr<SecretBytes> Open(absl::string_view sealed, absl::string_view context) const;

  // First 8 bytes of SHA-256 over the key, in hex: tells keys apart in logs without giving anything
  // away.
  std::string Fingerprint() const;

  // The key itself, for what is to be wrapped.
  absl::string_view bytes() const { return key_; }

 private:
  const SecretBytes key_;
};

}  // namespace backup::crypto
