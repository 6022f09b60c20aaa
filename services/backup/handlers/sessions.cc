#include "services/backup/handlers/sessions.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "services/backup/crypto/public_key.h"
#include "services/backup/crypto/random.h"
#include "services/backup/handlers/converters.h"

namespace backup::handlers {
namespace {

constexpr int kDefaultSessionKeyBits = 128;
// So many clients are looked at to tell whether the master key is theirs.
constexpr int kClientsToTry = 100;

// Binds a sealed session key to its client.
std::string SealingContext(const ClientId& id) { return absl::StrCat("session-key:", id.bytes()); }

storage::KeyGrant NewGrant(const crypto::MasterKey& master_key, const ClientId& id,
                           std::string public_key, int bits) {
  storage::KeyGrant grant;
  grant.public_key = std::move(public_key);
  grant.sealed_session_key = master_key.Seal(crypto::NewSessionKey(bits), SealingContext(id));
  grant.session_key_bits = bits;
  return grant;
}

absl::StatusOr<std::string> EncryptedSessionKey(const crypto::MasterKey& master_key,
                                                const storage::Client& client) {
  ASSIGN_OR_RETURN(const std::string session_key, OpenSessionKey(master_key, client));
  return crypto::EncryptSessionKey(client.public_key, session_key);
}

absl::StatusOr<storage::Outcome> ParseOutcome(v1::ReportTransferRequest::Outcome outcome) {
  switch (outcome) {
    case v1::ReportTransferRequest::VERIFIED:
      return storage::Outcome::kVerified;
    case v1::ReportTransferRequest::RETRYING:
      return storage::Outcome::kRetrying;
    case v1::ReportTransferRequest::ABANDONED:
      return storage::Outcome::kAbandoned;
    default:
      return MakeError(Reason::kInvalidField, "outcome must be VERIFIED, RETRYING or ABANDONED",
                       "outcome");
  }
}

}  // namespace

absl::StatusOr<std::string> OpenSessionKey(const crypto::MasterKey& master_key,
                                           const storage::Client& client) {
  if (client.sealed_session_key.empty()) {
    return MakeError(Reason::kKeyNotSet, "the client has not exchanged a key yet",
                     ToUuid(client.id));
  }
  return master_key.Open(client.sealed_session_key, SealingContext(client.id));
}

absl::Status CheckMasterKey(storage::Catalog& catalog, const crypto::MasterKey& master_key) {
  ASSIGN_OR_RETURN(const std::vector<storage::Client> clients,
                   catalog.ListClients(ClientId(), kClientsToTry));
  bool refused = false;
  for (const storage::Client& client : clients) {
    if (client.sealed_session_key.empty()) continue;
    if (OpenSessionKey(master_key, client).ok()) return absl::OkStatus();
    refused = true;
  }
  if (!refused) return absl::OkStatus();
  return absl::FailedPreconditionError("the clients' keys are sealed under another master key");
}

absl::Status NoteLegacyProfile(storage::Catalog& catalog, const storage::Client& client,
                               const storage::LegacyProfile& observed) {
  if (!storage::LegacyProfile(client.legacy).Merge(observed)) return absl::OkStatus();
  return catalog.UpdateLegacyProfile(client.id, observed).status();
}

void DeleteReleased(storage::BlobStore& blobs, const std::vector<BlobId>& released) {
  for (const BlobId& blob : released) {
    if (const absl::Status deleted = blobs.Delete(blob); !deleted.ok()) {
      LOG(WARNING) << "a blob that is no longer needed is left to the sweep: " << deleted;
    }
  }
}

absl::StatusOr<v1::RegisterClientResponse> RegisterClient(
    storage::Catalog& catalog, const Clock& clock, storage::DuplicateNames policy,
    const v1::RegisterClientRequest& request) {
  ASSIGN_OR_RETURN(const std::string name, ParseName("name", request.name()));
  ASSIGN_OR_RETURN(const storage::Client client,
                   catalog.RegisterClient(name, crypto::NewClientId(), policy, clock.Now()));
  v1::RegisterClientResponse response;
  *response.mutable_client() = ToProto(client);
  return response;
}

absl::StatusOr<v1::ExchangeKeyResponse> ExchangeKey(storage::Catalog& catalog,
                                                    const crypto::MasterKey& master_key,
                                                    const Clock& clock, const KeyPolicy& policy,
                                                    const v1::ExchangeKeyRequest& request) {
  ASSIGN_OR_RETURN(const ClientId id, ParseClientId(request.client_id()));
  const int bits =
      request.session_key_bits() == 0 ? kDefaultSessionKeyBits : request.session_key_bits();
  if (bits != 128 && bits != 256) {
    return MakeError(Reason::kInvalidField, "session_key_bits must be 128 or 256",
                     "session_key_bits");
  }
  ASSIGN_OR_RETURN(std::string public_key, crypto::ParsePublicKey(request.public_key()));
  std::string old_key;
  if (policy.rekey == storage::Rekey::kAllow) {
    ASSIGN_OR_RETURN(const storage::Client before, catalog.FindClient(id));
    old_key = before.public_key;
  }
  ASSIGN_OR_RETURN(const storage::Client client,
                   catalog.SetClientKey(id, NewGrant(master_key, id, std::move(public_key), bits),
                                        policy.rekey, clock.Now()));
  if (!old_key.empty() && old_key != client.public_key) policy.replaced_keys.Add();
  v1::ExchangeKeyResponse response;
  response.set_client_id(ToUuid(client.id));
  ASSIGN_OR_RETURN(*response.mutable_encrypted_session_key(),
                   EncryptedSessionKey(master_key, client));
  return response;
}

absl::StatusOr<v1::ResumeClientResponse> ResumeClient(storage::Catalog& catalog,
                                                      const crypto::MasterKey& master_key,
                                                      const Clock& clock, const KeyPolicy& policy,
                                                      const v1::ResumeClientRequest& request) {
  ASSIGN_OR_RETURN(const ClientId id, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(storage::Client client, catalog.FindClient(id));
  RETURN_IF_ERROR(OpenSessionKey(master_key, client).status());
  if (policy.rotate_session_keys) {
    storage::KeyGrant grant = NewGrant(master_key, id, client.public_key, client.session_key_bits);
    grant.rotate = true;
    ASSIGN_OR_RETURN(client, catalog.SetClientKey(id, grant, storage::Rekey::kPin, clock.Now()));
  } else {
    RETURN_IF_ERROR(catalog.TouchClient(id, clock.Now()));
  }
  v1::ResumeClientResponse response;
  response.set_client_id(ToUuid(client.id));
  ASSIGN_OR_RETURN(*response.mutable_encrypted_session_key(),
                   EncryptedSessionKey(master_key, client));
  return response;
}

absl::StatusOr<ReportedTransfer> ReportTransfer(storage::Catalog& catalog,
                                                storage::BlobStore& blobs, const Clock& clock,
                                                bool corrupt_checksums,
                                                const v1::ReportTransferRequest& request) {
  ASSIGN_OR_RETURN(const ClientId id, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(const std::string file_name, ParseName("file_name", request.file_name()));
  ASSIGN_OR_RETURN(const storage::Outcome outcome, ParseOutcome(request.outcome()));
  ASSIGN_OR_RETURN(const storage::Settlement settlement,
                   catalog.SettleVersion(id, file_name, outcome,
                                         request.learn_checksum() && !corrupt_checksums
                                             ? storage::Learning::kOn
                                             : storage::Learning::kOff,
                                         clock.Now()));
  DeleteReleased(blobs, settlement.released);
  ReportedTransfer reported;
  reported.changed = settlement.changed;
  reported.response.set_client_id(ToUuid(id));
  return reported;
}

bool StaysInCatalog(const v1::ReportTransferRequest& request) {
  return request.outcome() == v1::ReportTransferRequest::VERIFIED;
}

absl::StatusOr<v1::ObserveClientResponse> ObserveClient(storage::Catalog& catalog,
                                                        const Clock& clock,
                                                        const v1::ObserveClientRequest& request) {
  ASSIGN_OR_RETURN(const ClientId id, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(const storage::LegacyProfile observed,
                   ParseLegacyProfile(request.observed(), clock.Now()));
  ASSIGN_OR_RETURN(storage::Client client, catalog.FindClient(id));
  RETURN_IF_ERROR(NoteLegacyProfile(catalog, client, observed));
  client.legacy.Merge(observed);
  v1::ObserveClientResponse response;
  *response.mutable_profile() = ToProto(client.legacy);
  return response;
}

}  // namespace backup::handlers
