#include "services/backup/handlers/resume_client.h"

#include <utility>

#include "base/name_text.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/transact.h"

namespace backup::handlers {

absl::StatusOr<ResumeClient> ResumeClient::Prepare(storage::Catalog& catalog,
                                                   const crypto::KeyRing& master_key,
                                                   const Clock& clock, const KeyPolicy& policy,
                                                   const v1::ResumeClientRequest& request) {
  ResumeClient handler;
  ASSIGN_OR_RETURN(const int bits, ParseSessionKeyBits(request.session_key_bits()));
  ASSIGN_OR_RETURN(const auto encryption,
                   ParseSessionKeyEncryption(request.session_key_encryption()));
  ASSIGN_OR_RETURN(
      handler.client_,
      catalog.Read([&](storage::Snapshot& snapshot) -> absl::StatusOr<storage::Client> {
        absl::StatusOr<storage::Client> known =
            FindCaller(snapshot, request.client_id(), request.name());
        if (known.ok()) return known;
        return FindReturning(snapshot, request.client_id(), request.name(), policy, known.status());
      }));
  handler.policy_ = policy;
  const storage::Client& client = handler.client_;
  ASSIGN_OR_RETURN(const crypto::PublicKey public_key, StoredPublicKey(client));
  handler.grant_.session_key_bits = bits == 0 ? client.session_key_bits : bits;
  ASSIGN_OR_RETURN(WrappedSessionKey session_key,
                   PresentSessionKey(master_key, client, public_key,
                                     handler.grant_.session_key_bits, encryption));
  handler.replaces_lost_ = session_key.is_new;
  handler.grant_.rotate = policy.rotate_session_keys || session_key.is_new ||
                          handler.grant_.session_key_bits != client.session_key_bits;
  if (handler.grant_.rotate && !session_key.is_new) {
    ASSIGN_OR_RETURN(session_key, NewSessionKey(master_key, client.id, public_key,
                                                handler.grant_.session_key_bits, encryption));
  }
  handler.grant_.public_key = client.public_key;
  handler.grant_.sealed_session_key = std::move(session_key.sealed);
  handler.encrypted_session_key_ = std::move(session_key.encrypted);
  handler.now_ = clock.Now();
  return handler;
}

absl::Status ResumeClient::Apply(storage::Transaction& transaction) {
  ASSIGN_OR_RETURN(const storage::Client now, FindOrTakeBack(transaction, client_, policy_));
  if (now.public_key != client_.public_key ||
      now.sealed_session_key != client_.sealed_session_key) {
    return Outdated("the client was given other keys");
  }
  if (!grant_.rotate) return transaction.TouchClient(client_.id, now_);
  return transaction.SetClientKey(client_.id, grant_, storage::Rekey::kPin, now_).status();
}

absl::StatusOr<v1::ResumeClientResponse> ResumeClient::Respond() const {
  NoteReturned(client_, policy_);
  if (replaces_lost_) NoteReplacedSessionKey(client_);
  if (grant_.session_key_bits != client_.session_key_bits) {
    LOG(WARNING) << "a reconnect changed the size of a session key from "
                 << client_.session_key_bits << " to " << grant_.session_key_bits
                 << " bits: client=" << ToUuid(client_.id) << " name=" << NameToText(client_.name);
  }
  v1::ResumeClientResponse response;
  response.set_client_id(ToUuid(client_.id));
  response.set_encrypted_session_key(encrypted_session_key_);
  return response;
}

}  // namespace backup::handlers
