#include "services/backup/handlers/session_keys.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "crypto/random.h"
#include "glog/logging.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/transact.h"

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

std::string SealSessionKey(const crypto::KeyRing& master_key, const ClientId& client,
                           absl::string_view session_key) {
  return master_key.Seal(session_key, SealingContext(client));
}

std::optional<uint32_t> GenerationOfSessionKey(const crypto::KeyRing& master_key,
                                               const storage::Client& client) {
  if (client.sealed_session_key.empty()) return std::nullopt;
  return master_key.GenerationOf(client.sealed_session_key, SealingContext(client.id));
}

absl::StatusOr<crypto::PublicKey> StoredPublicKey(const storage::Client& client) {
  if (client.public_key.empty()) return KeyNotSet(client.id);
  absl::StatusOr<crypto::PublicKey> key = crypto::PublicKey::Parse(client.public_key);
  if (key.ok()) return key;
  return absl::InternalError("a stored public key cannot be decoded");
}

absl::StatusOr<WrappedSessionKey> NewSessionKey(const crypto::KeyRing& master_key,
                                                const ClientId& client,
                                                const crypto::PublicKey& public_key, int bits,
                                                crypto::SessionKeyEncryption encryption) {
  const SecretBytes session_key = crypto::NewSessionKey(bits);
  WrappedSessionKey wrapped;
  wrapped.sealed = SealSessionKey(master_key, client, session_key);
  ASSIGN_OR_RETURN(wrapped.encrypted, public_key.Encrypt(session_key, encryption));
  return wrapped;
}

absl::StatusOr<WrappedSessionKey> PresentSessionKey(const crypto::KeyRing& master_key,
                                                    const storage::Client& client,
                                                    const crypto::PublicKey& public_key, int bits,
                                                    crypto::SessionKeyEncryption encryption) {
  const absl::StatusOr<SecretBytes> session_key = OpenSessionKey(master_key, client);
  WrappedSessionKey wrapped;
  if (ReasonOf(session_key.status()) == Reason::kKeyMissing) {
    ASSIGN_OR_RETURN(wrapped, NewSessionKey(master_key, client.id, public_key, bits, encryption));
    wrapped.is_new = true;
    return wrapped;
  }
  RETURN_IF_ERROR(session_key.status());
  wrapped.sealed = client.sealed_session_key;
  ASSIGN_OR_RETURN(wrapped.encrypted, public_key.Encrypt(*session_key, encryption));
  return wrapped;
}

void NoteReplacedSessionKey(const storage::Client& client) {
  LOG(WARNING) << "gave a client a new session key, because the generation of keys is missing that "
                  "has sealed its old one: client="
               << ToUuid(client.id) << " name=" << NameToText(client.name);
}

absl::StatusOr<storage::Client> FindReturning(storage::Snapshot& snapshot,
                                              const std::string& client_id, const std::string& name,
                                              const KeyPolicy& policy, const absl::Status& error) {
  if (ReasonOf(error) != Reason::kClientNotFound) return error;
  const absl::StatusOr<storage::Client> client = FindCallerInTrash(snapshot, client_id, name);
  if (ReasonOf(client.status()) == Reason::kClientNotFound) return error;
  if (!client.ok()) return client.status();
  if (client->public_key.empty()) return error;
  if (policy.duplicate_names == storage::DuplicateNames::kAllow) return *client;
  const absl::Status namesake = snapshot.FindClientByName(client->name).status();
  if (namesake.ok()) return error;
  if (ReasonOf(namesake) != Reason::kClientNotFound) return namesake;
  return *client;
}

absl::StatusOr<storage::Client> FindOrTakeBack(storage::Transaction& transaction,
                                               const storage::Client& client,
                                               const KeyPolicy& policy) {
  if (!client.delete_time) return transaction.FindClient(client.id);
  absl::StatusOr<storage::Client> back =
      transaction.UndeleteClient(client.id, policy.duplicate_names);
  const std::optional<Reason> reason = ReasonOf(back.status());
  if (reason == Reason::kClientNotFound || reason == Reason::kNameTaken)
    return Outdated("the client is not in the trash any more, or its name was taken");
  return back;
}

void NoteReturned(const storage::Client& client, const KeyPolicy& policy) {
  if (!client.delete_time) return;
  policy.returned_clients.Add();
  LOG(WARNING) << "took a client back from the trash, because it called again: client="
               << ToUuid(client.id) << " name=" << NameToText(client.name)
               << " deleted=" << *client.delete_time;
}

absl::StatusOr<SecretBytes> OpenSessionKey(const crypto::KeyRing& master_key,
                                           const storage::Client& client) {
  if (client.sealed_session_key.empty()) return KeyNotSet(client.id);
  return master_key.Open(client.sealed_session_key, SealingContext(client.id));
}

absl::Status CheckMasterKey(storage::Catalog& catalog, const crypto::KeyRing& master_key) {
  ASSIGN_OR_RETURN(std::vector<storage::Client> clients,
                   catalog.Read([](storage::Snapshot& snapshot) {
                     return snapshot.ListClients(ClientId(), kClientsToTry);
                   }));
  ASSIGN_OR_RETURN(const std::vector<storage::Client> trashed,
                   catalog.Read([](storage::Snapshot& snapshot) {
                     return snapshot.ListTrashedClients({}, kClientsToTry);
                   }));
  clients.insert(clients.end(), trashed.begin(), trashed.end());
  bool refused = false;
  for (const storage::Client& client : clients) {
    if (client.sealed_session_key.empty()) continue;
    const absl::Status opened = OpenSessionKey(master_key, client).status();
    if (opened.ok()) return absl::OkStatus();
    // A generation that is missing says nothing about the master key.
    refused = refused || ReasonOf(opened) != Reason::kKeyMissing;
  }
  if (!refused) return absl::OkStatus();
  return absl::FailedPreconditionError("the clients' keys are sealed under another master key");
}

}  // namespace backup::handlers
