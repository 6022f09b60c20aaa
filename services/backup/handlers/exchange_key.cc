#include "services/backup/handlers/exchange_key.h"

#include <utility>

#include "base/error.h"
#include "base/status_macros.h"
#include "crypto/public_key.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/transact.h"

namespace backup::handlers {
namespace {

constexpr int kDefaultSessionKeyBits = 128;

absl::StatusOr<int> ParseSessionKeyBits(int requested) {
  if (requested == 0) return kDefaultSessionKeyBits;
  if (requested == 128 || requested == 256) return requested;
  return MakeError(Reason::kInvalidField, "session_key_bits must be 128 or 256",
                   "session_key_bits");
}

}  // namespace

absl::StatusOr<ExchangeKey> ExchangeKey::Prepare(storage::Catalog& catalog,
                                                 const crypto::MasterKey& master_key,
                                                 const Clock& clock, const KeyPolicy& policy,
                                                 const v1::ExchangeKeyRequest& request) {
  ExchangeKey handler;
  ASSIGN_OR_RETURN(handler.id_, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(const int bits, ParseSessionKeyBits(request.session_key_bits()));
  ASSIGN_OR_RETURN(std::string public_key, crypto::ParsePublicKey(request.public_key()));
  ASSIGN_OR_RETURN(const storage::Client client, catalog.Read([&](storage::Snapshot& snapshot) {
    return snapshot.FindClient(handler.id_);
  }));
  const bool keeps_session_key = client.public_key == public_key &&
                                 client.session_key_bits == bits &&
                                 !client.sealed_session_key.empty();
  ASSIGN_OR_RETURN(WrappedSessionKey session_key,
                   keeps_session_key ? PresentSessionKey(master_key, client)
                                     : NewSessionKey(master_key, client.id, public_key, bits));
  handler.grant_.public_key = std::move(public_key);
  handler.grant_.sealed_session_key = std::move(session_key.sealed);
  handler.grant_.session_key_bits = bits;
  handler.encrypted_session_key_ = std::move(session_key.encrypted);
  handler.policy_ = policy;
  handler.now_ = clock.Now();
  return handler;
}

absl::Status ExchangeKey::Apply(storage::Transaction& transaction) {
  ASSIGN_OR_RETURN(const storage::Client before, transaction.FindClient(id_));
  ASSIGN_OR_RETURN(const storage::Client after,
                   transaction.SetClientKey(id_, grant_, policy_.rekey, now_));
  if (after.sealed_session_key != grant_.sealed_session_key)
    return Outdated("the client was given another session key");
  replaced_ = !before.public_key.empty() && before.public_key != after.public_key;
  return absl::OkStatus();
}

absl::StatusOr<v1::ExchangeKeyResponse> ExchangeKey::Respond() const {
  if (replaced_) policy_.replaced_keys.Add();
  v1::ExchangeKeyResponse response;
  response.set_client_id(ToUuid(id_));
  response.set_encrypted_session_key(encrypted_session_key_);
  return response;
}

}  // namespace backup::handlers
