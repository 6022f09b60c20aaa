#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "backup/v1/ingest.pb.h"
#include "base/clock.h"
#include "crypto/key_ring.h"
#include "services/backup/handlers/session_keys.h"
#include "storage/catalog/catalog.h"

namespace backup::handlers {

// Gives a client its session key again, also one that is taken back from the trash, or a new one:
// if another size is wanted, or it cannot be opened for want of a generation of keys, or always
// (KeyPolicy::rotate_session_keys). Used by one thread at a time.
class ResumeClient {
 public:
  static absl::StatusOr<ResumeClient> Prepare(storage::Catalog& catalog,
                                              const crypto::KeyRing& master_key, const Clock& clock,
                                              const KeyPolicy& policy,
                                              const v1::ResumeClientRequest& request);
  // Outdated() if the client has other keys by now.
  absl::Status Apply(storage::Transaction& transaction);
  absl::StatusOr<v1::ResumeClientResponse> Respond() const;

 private:
  storage::Client client_;  // As it was.
  KeyPolicy policy_;
  storage::KeyGrant grant_;     // With `rotate` if the session key is to be replaced,
  bool replaces_lost_ = false;  // because the old one cannot be opened.
  absl::Time now_;
  std::string encrypted_session_key_;
};

}  // namespace backup::handlers
