#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/metrics.h"
#include "base/secret_bytes.h"
#include "crypto/key_ring.h"
#include "crypto/public_key.h"
#include "storage/catalog/catalog.h"

// The session keys of clients: made here, kept under the master key, told to a client under its own
// public key. Thread-safe as far as what they are given is.
namespace backup::handlers {

// What becomes of a public key that comes under an id and a name that are both unknown.
enum class UnknownKey { kRefuse, kAdopt };

struct KeyPolicy {
  storage::Rekey rekey = storage::Rekey::kPin;
  UnknownKey unknown_key = UnknownKey::kRefuse;
  bool rotate_session_keys = false;  // A new session key at every ResumeClient.
  // Whether a client comes back from the trash although another has its name by now.
  storage::DuplicateNames duplicate_names = storage::DuplicateNames::kReject;
  Counter replaced_keys = {};     // Counts public keys that took another one's place.
  Counter adopted_clients = {};   // Counts clients that were made by kAdopt.
  Counter returned_clients = {};  // Counts clients that came back from the trash.
};

// A session key as it is kept and as its client is told.
struct WrappedSessionKey {
  std::string sealed;     // Under the master key.
  std::string encrypted;  // Under the client's public key.
  bool is_new = false;    // In the place of one that a missing generation of keys has sealed.
};

// `session_key` as it is kept for the client.
std::string SealSessionKey(const crypto::KeyRing& master_key, const ClientId& client,
                           absl::string_view session_key);

// By which generation of keys the client's session key is sealed (KeyRing::GenerationOf), if it has
// one.
std::optional<uint32_t> GenerationOfSessionKey(const crypto::KeyRing& master_key,
                                               const storage::Client& client);

// The public key that the client has; reason KEY_NOT_SET if none.
absl::StatusOr<crypto::PublicKey> StoredPublicKey(const storage::Client& client);

// A new one, for a client with that public key.
absl::StatusOr<WrappedSessionKey> NewSessionKey(const crypto::KeyRing& master_key,
                                                const ClientId& client,
                                                const crypto::PublicKey& public_key, int bits,
                                                crypto::SessionKeyEncryption encryption);
// The one that the client has; reason KEY_NOT_SET if none. A new one of `bits` if a generation of
// keys is missing that has sealed it: nothing that is kept needs the old one. `public_key` is the
// client's.
absl::StatusOr<WrappedSessionKey> PresentSessionKey(const crypto::KeyRing& master_key,
                                                    const storage::Client& client,
                                                    const crypto::PublicKey& public_key, int bits,
                                                    crypto::SessionKeyEncryption encryption);
// Says in the log that the client was given a new one, as PresentSessionKey() does.
void NoteReplacedSessionKey(const storage::Client& client);

// A client that is not known may be in the trash. One that calls from there is taken back: if it
// proves, or will have to, that it has its key, and if nobody else has its name by now.

// The client in the trash that a request is from: client_id decides, or, if it is empty, the name.
// It has a public key. `error`, which says that the client is not known, if there is none.
absl::StatusOr<storage::Client> FindReturning(storage::Snapshot& snapshot,
                                              const std::string& client_id, const std::string& name,
                                              const KeyPolicy& policy, const absl::Status& error);
// The client as it is now; takes one back that FindReturning() found. Reason CLIENT_NOT_FOUND;
// Outdated() if it cannot be taken back any more.
absl::StatusOr<storage::Client> FindOrTakeBack(storage::Transaction& transaction,
                                               const storage::Client& client,
                                               const KeyPolicy& policy);
// Counts and logs it if the client was taken back.
void NoteReturned(const storage::Client& client, const KeyPolicy& policy);

// The session key itself of a client that has one; reason KEY_NOT_SET if not.
absl::StatusOr<SecretBytes> OpenSessionKey(const crypto::KeyRing& master_key,
                                           const storage::Client& client);

// FailedPrecondition if the session keys of clients are sealed under another master key.
absl::Status CheckMasterKey(storage::Catalog& catalog, const crypto::KeyRing& master_key);

}  // namespace backup::handlers
