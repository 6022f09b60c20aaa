#include "services/backup/handlers/import_client.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "crypto/public_key.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/session_keys.h"

namespace backup::handlers {
namespace {

absl::Status ParseKeys(const crypto::KeyRing& master_key, const v1::ImportClientRequest& request,
                       storage::Client& client) {
  const std::string& session_key = request.session_key();
  if (request.public_key().empty() != session_key.empty()) {
    return MakeError(Reason::kInvalidField, "a client has both keys or none", "session_key");
  }
  if (session_key.empty()) return absl::OkStatus();
  if (session_key.size() != 16 && session_key.size() != 32) {
    return MakeError(Reason::kInvalidField, "session_key has 16 or 32 bytes", "session_key");
  }
  ASSIGN_OR_RETURN(const auto public_key, crypto::PublicKey::Parse(request.public_key()));
  client.public_key = public_key.der();
  client.sealed_session_key = SealSessionKey(master_key, client.id, session_key);
  client.session_key_bits = static_cast<int>(session_key.size()) * 8;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ImportClient> ImportClient::Prepare(const crypto::KeyRing& master_key,
                                                   const Clock& clock,
                                                   storage::DuplicateNames policy,
                                                   const v1::ImportClientRequest& request) {
  ImportClient handler;
  storage::Client& client = handler.client_;
  ASSIGN_OR_RETURN(client.id, ParseClientId(request.client_id()));
  if (client.id == ClientId())
    return MakeError(Reason::kInvalidField, "client_id is all zero", "client_id");
  ASSIGN_OR_RETURN(client.name, ParseName("name", request.name()));
  RETURN_IF_ERROR(ParseKeys(master_key, request, client));
  const absl::Time now = clock.Now();
  client.last_seen_time = now;
  if (request.has_last_seen_time()) {
    ASSIGN_OR_RETURN(client.last_seen_time,
                     ParsePastTime("last_seen_time", request.last_seen_time(), now));
  }
  client.create_time = client.last_seen_time;  // Then, at the latest.
  ASSIGN_OR_RETURN(client.legacy, ParseLegacyProfile(request.legacy_profile(), now));
  handler.policy_ = policy;
  handler.validate_only_ = request.validate_only();
  return handler;
}

absl::StatusOr<ImportClient::Outcome::Outcome> ImportClient::DecideOnKnown(
    const storage::Client& known) const {
  if (known.name != client_.name) {
    const std::string name = NameToText(known.name);
    return MakeError(Reason::kNameTaken,
                     absl::StrCat("the id is that of another client here, called ", name), name);
  }
  if (client_.public_key.empty() || known.public_key == client_.public_key)
    return Outcome::UNCHANGED;
  if (known.public_key.empty()) return Outcome::KEY_ADDED;
  return MakeError(Reason::kRekeyRefused, "the client is here with another public key, which stays",
                   ToUuid(client_.id));
}

absl::StatusOr<ImportClient::Outcome::Outcome> ImportClient::Decide(
    storage::Snapshot& snapshot) const {
  const absl::StatusOr<storage::Client> known = snapshot.FindClient(client_.id);
  if (known.ok()) return DecideOnKnown(*known);
  if (ReasonOf(known.status()) != Reason::kClientNotFound) return known.status();
  const absl::StatusOr<storage::Client> trashed = snapshot.FindTrashedClient(client_.id);
  if (trashed.ok()) {
    const std::string name = NameToText(trashed->name);
    return MakeError(Reason::kNameTaken,
                     absl::StrCat("the id is that of a client in the trash, called ", name,
                                  ": take it back first (backupctl client undelete)"),
                     name);
  }
  if (ReasonOf(trashed.status()) != Reason::kClientNotFound) return trashed.status();
  if (policy_ == storage::DuplicateNames::kAllow) return Outcome::ADDED;
  const absl::StatusOr<storage::Client> namesake = snapshot.FindClientByName(client_.name);
  if (namesake.ok()) {
    return MakeError(Reason::kNameTaken,
                     absl::StrCat("another client has this name: ", ToUuid(namesake->id)),
                     NameToText(client_.name));
  }
  if (ReasonOf(namesake.status()) != Reason::kClientNotFound) return namesake.status();
  return Outcome::ADDED;
}

absl::Status ImportClient::Apply(storage::Transaction& transaction) {
  ASSIGN_OR_RETURN(outcome_, Decide(transaction));
  if (validate_only_ || outcome_ == Outcome::UNCHANGED) return absl::OkStatus();
  if (outcome_ == Outcome::ADDED) return transaction.AddClient(client_);
  return transaction
      .SetClientKey(client_.id,
                    {client_.public_key, client_.sealed_session_key, client_.session_key_bits},
                    storage::Rekey::kPin, client_.last_seen_time)
      .status();
}

absl::StatusOr<v1::ImportClientResponse> ImportClient::Respond() const {
  v1::ImportClientResponse response;
  response.set_outcome(outcome_);
  return response;
}

}  // namespace backup::handlers
