#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "backup/v1/ingest.pb.h"
#include "base/clock.h"
#include "crypto/key_ring.h"
#include "services/backup/handlers/session_keys.h"
#include "storage/catalog/catalog.h"

namespace backup::handlers {

// Stores a client's public key and answers with a session key, a new one if the client's cannot be
// opened for want of a generation of keys; takes a client back from the trash whose key it is, and
// may take in one that is not known (KeyPolicy::unknown_key). Used by one thread at a time.
class ExchangeKey {
 public:
  static absl::StatusOr<ExchangeKey> Prepare(storage::Catalog& catalog,
                                             const crypto::KeyRing& master_key, const Clock& clock,
                                             const KeyPolicy& policy,
                                             const v1::ExchangeKeyRequest& request);
  // Outdated() if the client has another session key by now than the one that was wrapped, or is
  // known by now.
  absl::Status Apply(storage::Transaction& transaction);
  absl::StatusOr<v1::ExchangeKeyResponse> Respond() const;
  // Whether the client was not known before.
  bool adopted() const { return adopts_; }

 private:
  // Finds the client that the key is from, or decides to take it in.
  absl::Status FindOrAdopt(storage::Snapshot& snapshot, const v1::ExchangeKeyRequest& request,
                           const std::string& public_key);
  // Whether neither the client's id, be it of one in the trash, nor its name is known.
  absl::StatusOr<bool> IsNew(storage::Snapshot& snapshot) const;
  absl::Status Adopt(storage::Transaction& transaction) const;

  storage::Client client_;  // As it was; if it is taken in: its id and name.
  bool adopts_ = false;
  KeyPolicy policy_;
  absl::Time now_;
  storage::KeyGrant grant_;  // With `rotate` if the old session key cannot be opened.
  std::string encrypted_session_key_;
  bool replaced_ = false;  // Another public key.
};

}  // namespace backup::handlers
