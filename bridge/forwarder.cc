#include "bridge/forwarder.h"

#include <optional>

#include "base/error.h"
#include "base/name_text.h"
#include "bridge/random_ids.h"
#include "glog/logging.h"

namespace backup::bridge {
namespace {

// Longer texts are refused by the service.
constexpr size_t kMaxRuleSize = 255;

// What an error of the service means in the legacy protocol.
enum class Meaning {
  kRegistrationRefused,  // The name will not do: final, so it may be told as "registration failed".
  kClientUnknown,        // The client has to register anew: on a reconnect, "reconnect denied".
  kFailure,  // Anything else, passing or not: the general error, after which clients keep their
             // identity.
};

Meaning MeaningOf(Reason reason) {
  switch (reason) {
    case Reason::kNameTaken:
    case Reason::kInvalidField:
      return Meaning::kRegistrationRefused;
    case Reason::kClientNotFound:
    case Reason::kKeyNotSet:
      return Meaning::kClientUnknown;
    case Reason::kSizeLimit:
    case Reason::kFileNotFound:
    case Reason::kVersionNotFound:
    case Reason::kCredentialsMissing:
    case Reason::kRoleDenied:
    case Reason::kRekeyRefused:
    case Reason::kStateCorrupt:
    case Reason::kContentRejected:
    case Reason::kStorageFull:
    case Reason::kOverloaded:
    case Reason::kDraining:
    case Reason::kBackendDown:
    case Reason::kStorageIo:
    case Reason::kBlobDamaged:
      return Meaning::kFailure;
  }
  return Meaning::kFailure;
}

Meaning MeaningOf(const absl::Status& status) {
  const std::optional<Reason> reason = ReasonOf(status);
  return reason ? MeaningOf(*reason) : Meaning::kFailure;
}

v1::ReportTransferRequest::Outcome ToProto(wire::ChecksumVerdict::Kind kind) {
  switch (kind) {
    case wire::ChecksumVerdict::Kind::kValid:
      return v1::ReportTransferRequest::VERIFIED;
    case wire::ChecksumVerdict::Kind::kRetry:
      return v1::ReportTransferRequest::RETRYING;
    case wire::ChecksumVerdict::Kind::kAbort:
      return v1::ReportTransferRequest::ABANDONED;
  }
  return v1::ReportTransferRequest::OUTCOME_UNSPECIFIED;
}

v1::ChecksumKind ToProto(wire::Checksum checksum) {
  switch (checksum) {
    case wire::Checksum::kCksumOfPlaintext:
      return v1::CKSUM_OF_PLAINTEXT;
    case wire::Checksum::kCksumOfCiphertext:
      return v1::CKSUM_OF_CIPHERTEXT;
    case wire::Checksum::kCrc32OfPlaintext:
      return v1::CRC32_OF_PLAINTEXT;
    case wire::Checksum::kCrc32OfCiphertext:
      return v1::CRC32_OF_CIPHERTEXT;
  }
  return v1::CHECKSUM_KIND_UNSPECIFIED;
}

// One overload for each operation; each makes one call.
struct Call {
  BackendClient& backend;
  const CallOrigin& origin;
  const ClientId& client_id;
  LegacyProfiles& profiles;
  const LegacyProfile& observed;
  const FileContent& content;
  const bool corrupt_checksums;
  const Counter faults_injected;

  Forwarded operator()(const wire::Register& operation) const {
    v1::RegisterClientRequest request;
    request.set_name(NameToText(operation.name));
    const auto response = backend.RegisterClient(origin, request);
    const absl::StatusOr<ClientId> id = IdOf(response);
    if (id.ok()) {
      profiles.Observe(*id, observed);  // The service hears of it with the first file.
      return {wire::Registered{*id}, absl::OkStatus()};
    }
    if (MeaningOf(id.status()) == Meaning::kRegistrationRefused)
      return {wire::RegistrationFailed{}, id.status()};
    return Failed(id.status());
  }

  Forwarded operator()(const wire::SendPublicKey& operation) const {
    v1::ExchangeKeyRequest request;
    request.set_client_id(ToUuid(client_id));
    request.set_name(NameToText(operation.name));
    request.set_public_key(operation.public_key);
    request.set_session_key_bits(operation.session_key_bits);
    const auto response = backend.ExchangeKey(origin, request);
    if (!response.ok()) return Failed(response.status());
    return {wire::KeyAccepted{client_id, response->encrypted_session_key()}, absl::OkStatus()};
  }

  Forwarded operator()(const wire::Reconnect& operation) const {
    v1::ResumeClientRequest request;
    request.set_client_id(ToUuid(client_id));
    request.set_name(NameToText(operation.name));
    const auto response = backend.ResumeClient(origin, request);
    if (response.ok())
      return {wire::Reconnected{client_id, response->encrypted_session_key()}, absl::OkStatus()};
    if (MeaningOf(response.status()) != Meaning::kClientUnknown) return Failed(response.status());
    const absl::StatusOr<ClientId> fresh_id = FreshId(operation.name);
    if (!fresh_id.ok()) return Failed(fresh_id.status());
    return {wire::ReconnectDenied{*fresh_id}, response.status()};
  }

  Forwarded operator()(const wire::SendFile& operation) const {
    v1::UploadFileHeader header;
    header.set_client_id(ToUuid(client_id));
    header.set_file_name(NameToText(operation.name));
    if (content.segment_count > 0) {
      header.set_encoding(v1::UploadFileHeader::AES_CBC_ZERO_IV_SEGMENTS);
      header.set_segment_count(content.segment_count);
    } else {
      header.set_encoding(v1::UploadFileHeader::AES_CBC_ZERO_IV);
      header.set_encoded_size(static_cast<int64_t>(content.size));
    }
    header.set_checksum_candidate(ToProto(operation.first_checksum));
    const std::optional<LegacyProfile> news = profiles.Observe(client_id, observed);
    if (news) *header.mutable_legacy_profile() = bridge::ToProto(*news);
    header.set_upload_id(ToUuidText(RandomUuidBytes()));
    const auto response = backend.UploadFile(origin, header, content.bytes);
    if (!response.ok()) return Failed(response.status());
    if (news) profiles.MarkReported(client_id);
    if (corrupt_checksums) faults_injected.Add();
    const uint32_t checksum =
        corrupt_checksums ? response->version().checksum() + 1 : response->checksum();
    return {wire::FileReceived{client_id, operation.content_size, operation.name_field, checksum},
            absl::OkStatus()};
  }

  Forwarded operator()(const wire::ChecksumVerdict& operation) const {
    v1::ReportTransferRequest request;
    request.set_client_id(ToUuid(client_id));
    request.set_file_name(NameToText(operation.name));
    request.set_outcome(ToProto(operation.kind));
    request.set_learn_checksum(!corrupt_checksums);
    const auto response = backend.ReportTransfer(origin, request);
    if (!response.ok()) return Failed(response.status());
    // Of the clients that put the id in front, those that wait for this answer want it empty.
    const bool wants_no_id =
        operation.id_in_front && operation.kind == wire::ChecksumVerdict::Kind::kRetry;
    return {wire::Acknowledged{wants_no_id ? std::nullopt : std::optional(client_id)},
            absl::OkStatus()};
  }

  static Forwarded Failed(const absl::Status& status) { return {wire::GeneralError{}, status}; }

  static absl::StatusOr<ClientId> IdOf(const absl::StatusOr<v1::RegisterClientResponse>& response) {
    if (!response.ok()) return response.status();
    const std::optional<ClientId> id = FromUuid<ClientId>(response->client().client_id());
    if (!id) return absl::InternalError("the service gave out an id that is no UUID");
    return *id;
  }

  // An id on which a client whose reconnect was denied may send its key at once: registers the
  // name. If that is refused, an id that nobody has, and the client's own registration will tell it
  // why.
  absl::StatusOr<ClientId> FreshId(const std::string& name) const {
    v1::RegisterClientRequest request;
    request.set_name(NameToText(name));
    const absl::StatusOr<ClientId> id = IdOf(backend.RegisterClient(origin, request));
    if (MeaningOf(id.status()) == Meaning::kRegistrationRefused)
      return *ClientId::FromBytes(RandomUuidBytes());
    return id;
  }
};

}  // namespace

Forwarded Forwarder::Forward(const CallOrigin& origin, const wire::Request& request,
                             const LegacyProfile& observed, const FileContent& content) {
  return std::visit(Call{backend_, origin, request.client_id, profiles_, observed, content,
                         corrupt_checksums_, faults_injected_},
                    request.operation);
}

void Forwarder::ReportProtocolError(const CallOrigin& origin, const ClientId& id,
                                    absl::string_view rule) {
  v1::ObserveClientRequest request;
  request.set_client_id(ToUuid(id));
  request.mutable_observed()->set_last_protocol_error(std::string(rule.substr(0, kMaxRuleSize)));
  const auto response = backend_.ObserveClient(origin, request);
  if (!response.ok()) VLOG(1) << "the rule is not on the client's record: " << response.status();
}

}  // namespace backup::bridge
