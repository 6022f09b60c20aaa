#include "services/backup/handlers/exchange_key.h"

#include <utility>

#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "crypto/public_key.h"
#include "glog/logging.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/transact.h"

namespace backup::handlers {
namespace {

constexpr int kDefaultSessionKeyBits = 128;

}  // namespace

absl::StatusOr<ExchangeKey> ExchangeKey::Prepare(storage::Catalog& catalog,
                                                 const crypto::KeyRing& master_key,
                                                 const Clock& clock, const KeyPolicy& policy,
                                                 const v1::ExchangeKeyRequest& request) {
  ExchangeKey handler;
  ASSIGN_OR_RETURN(int bits, ParseSessionKeyBits(request.session_key_bits()));
  if (bits == 0) bits = kDefaultSessionKeyBits;
  ASSIGN_OR_RETURN(const auto encryption,
                   ParseSessionKeyEncryption(request.session_key_encryption()));
  ASSIGN_OR_RETURN(const auto public_key, crypto::PublicKey::Parse(request.public_key()));
  handler.policy_ = policy;
  handler.now_ = clock.Now();
  RETURN_IF_ERROR(catalog.Read([&](storage::Snapshot& snapshot) {
    return handler.FindOrAdopt(snapshot, request, public_key.der());
  }));
  const storage::Client& client = handler.client_;
  const bool keeps_session_key = client.public_key == public_key.der() &&
                                 client.session_key_bits == bits &&
                                 !client.sealed_session_key.empty();
  ASSIGN_OR_RETURN(WrappedSessionKey session_key,
                   keeps_session_key
                       ? PresentSessionKey(master_key, client, public_key, bits, encryption)
                       : NewSessionKey(master_key, client.id, public_key, bits, encryption));
  handler.grant_.public_key = public_key.der();
  handler.grant_.sealed_session_key = std::move(session_key.sealed);
  handler.grant_.session_key_bits = bits;
  handler.grant_.rotate = session_key.is_new;
  handler.encrypted_session_key_ = std::move(session_key.encrypted);
  return handler;
}

absl::Status ExchangeKey::FindOrAdopt(storage::Snapshot& snapshot,
                                      const v1::ExchangeKeyRequest& request,
                                      const std::string& public_key) {
  absl::StatusOr<storage::Client> known = FindCaller(snapshot, request.client_id(), request.name());
  if (known.ok()) {
    client_ = *std::move(known);
    return absl::OkStatus();
  }
  absl::StatusOr<storage::Client> returning =
      FindReturning(snapshot, request.client_id(), request.name(), policy_, known.status());
  if (returning.ok() && returning->public_key == public_key) {
    client_ = *std::move(returning);
    return absl::OkStatus();
  }
  if (!returning.ok() && ReasonOf(returning.status()) != Reason::kClientNotFound)
    return returning.status();
  const bool may_adopt = policy_.unknown_key == UnknownKey::kAdopt &&
                         ReasonOf(known.status()) == Reason::kClientNotFound;
  if (!may_adopt || request.client_id().empty()) return known.status();
  ASSIGN_OR_RETURN(client_.id, ParseClientId(request.client_id()));
  absl::StatusOr<std::string> name = TextToName(request.name());
  if (client_.id == ClientId() || !name.ok()) return known.status();
  client_.name = *std::move(name);
  ASSIGN_OR_RETURN(adopts_, IsNew(snapshot));
  return adopts_ ? absl::OkStatus() : known.status();
}

absl::StatusOr<bool> ExchangeKey::IsNew(storage::Snapshot& snapshot) const {
  for (const absl::Status& found :
       {snapshot.FindClient(client_.id).status(), snapshot.FindTrashedClient(client_.id).status(),
        snapshot.FindClientByName(client_.name).status()}) {
    if (found.ok()) return false;
    if (ReasonOf(found) != Reason::kClientNotFound) return found;
  }
  return true;
}

absl::Status ExchangeKey::Apply(storage::Transaction& transaction) {
  if (adopts_) return Adopt(transaction);
  ASSIGN_OR_RETURN(const storage::Client before, FindOrTakeBack(transaction, client_, policy_));
  ASSIGN_OR_RETURN(const storage::Client after,
                   transaction.SetClientKey(client_.id, grant_, policy_.rekey, now_));
  if (after.sealed_session_key != grant_.sealed_session_key)
    return Outdated("the client was given another session key");
  replaced_ = !before.public_key.empty() && before.public_key != after.public_key;
  return absl::OkStatus();
}

absl::Status ExchangeKey::Adopt(storage::Transaction& transaction) const {
  ASSIGN_OR_RETURN(const bool is_new, IsNew(transaction));
  if (!is_new) return Outdated("the client's id or name became known");
  storage::Client client = client_;
  client.create_time = client.last_seen_time = now_;
  client.public_key = grant_.public_key;
  client.sealed_session_key = grant_.sealed_session_key;
  client.session_key_bits = grant_.session_key_bits;
  return transaction.AddClient(client);
}

absl::StatusOr<v1::ExchangeKeyResponse> ExchangeKey::Respond() const {
  if (!adopts_) NoteReturned(client_, policy_);
  if (grant_.rotate) NoteReplacedSessionKey(client_);
  if (replaced_) policy_.replaced_keys.Add();
  if (adopts_) {
    policy_.adopted_clients.Add();
    LOG(WARNING) << "took in a client that nobody registered here, for the public key that it sent "
                    "(--unknown_key=adopt): client="
                 << ToUuid(client_.id) << " name=" << NameToText(client_.name);
  }
  v1::ExchangeKeyResponse response;
  response.set_client_id(ToUuid(client_.id));
  response.set_encrypted_session_key(encrypted_session_key_);
  return response;
}

}  // namespace backup::handlers
