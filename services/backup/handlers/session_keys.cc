#include "services/backup/handlers/session_keys.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "crypto/random.h"

namespace backup::handlers {
namespace {

// How many clients are looked at to tell whether the master key is theirs.
constexpr int kClientsToTry = 100;

// Binds a sealed session key to its client.
std::string SealingContext(const ClientId& id) { return absl::StrCat("session-key:", id.bytes()); }

absl::Status KeyNotSet(const ClientId& client) {
  return MakeError(Reason::kKeyNotSet, "the client has not exchanged a key yet", ToUuid(client));
}

}  // namespace

std::string SealSessionKey(const crypto::MasterKey& master_key, const ClientId& client,
                           absl::string_view session_key) {
  return master_key.Seal(session_key, SealingContext(client));
}

absl::StatusOr<crypto::PublicKey> StoredPublicKey(const storage::Client& client) {
  if (client.public_key.empty()) return KeyNotSet(client.id);
  absl::StatusOr<crypto::PublicKey> key = crypto::PublicKey::Parse(client.public_key);
  if (key.ok()) return key;
  return absl::InternalError("a stored public key cannot be decoded");
}

absl::StatusOr<WrappedSessionKey> NewSessionKey(const crypto::MasterKey& master_key,
                                                const ClientId& client,
                                                const crypto::PublicKey& public_key, int bits,
                                                crypto::SessionKeyEncryption encryption) {
  const std::string session_key = crypto::NewSessionKey(bits);
  WrappedSessionKey wrapped;
  wrapped.sealed = SealSessionKey(master_key, client, session_key);
  ASSIGN_OR_RETURN(wrapped.encrypted, public_key.Encrypt(session_key, encryption));
  return wrapped;
}

absl::StatusOr<WrappedSessionKey> PresentSessionKey(const crypto::MasterKey& master_key,
                                                    const storage::Client& client,
                                                    const crypto::PublicKey& public_key,
                                                    crypto::SessionKeyEncryption encryption) {
  ASSIGN_OR_RETURN(const std::string session_key, OpenSessionKey(master_key, client));
  WrappedSessionKey wrapped;
  wrapped.sealed = client.sealed_session_key;
  ASSIGN_OR_RETURN(wrapped.encrypted, public_key.Encrypt(session_key, encryption));
  return wrapped;
}

absl::StatusOr<std::string> OpenSessionKey(const crypto::MasterKey& master_key,
                                           const storage::Client& client) {
  if (client.sealed_session_key.empty()) return KeyNotSet(client.id);
  return master_key.Open(client.sealed_session_key, SealingContext(client.id));
}

absl::Status CheckMasterKey(storage::Catalog& catalog, const crypto::MasterKey& master_key) {
  ASSIGN_OR_RETURN(const std::vector<storage::Client> clients,
                   catalog.Read([](storage::Snapshot& snapshot) {
                     return snapshot.ListClients(ClientId(), kClientsToTry);
                   }));
  bool refused = false;
  for (const storage::Client& client : clients) {
    if (client.sealed_session_key.empty()) continue;
    if (OpenSessionKey(master_key, client).ok()) return absl::OkStatus();
    refused = true;
  }
  if (!refused) return absl::OkStatus();
  return absl::FailedPreconditionError("the clients' keys are sealed under another master key");
}

}  // namespace backup::handlers
