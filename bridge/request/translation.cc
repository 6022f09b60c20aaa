#include "bridge/request/translation.h"

#include "base/error.h"
#include "base/name_text.h"

namespace backup::bridge {
namespace {

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

}  // namespace

Meaning MeaningOf(const absl::Status& status) {
  const std::optional<Reason> reason = ReasonOf(status);
  return reason ? MeaningOf(*reason) : Meaning::kFailure;
}

v1::RegisterClientRequest Translation::RequestOf(const wire::Register& operation) const {
  v1::RegisterClientRequest request;
  request.set_name(NameToText(operation.name));
  return request;
}

Forwarded Translation::Answer(const wire::Register&,
                              const absl::StatusOr<v1::RegisterClientResponse>& response) const {
  const absl::StatusOr<ClientId> id = IdOf(response);
  if (id.ok()) {
    profiles.Observe(*id, observed);  // The service hears of it with the first file.
    return {wire::Registered{*id}, absl::OkStatus()};
  }
  if (MeaningOf(id.status()) == Meaning::kRegistrationRefused)
    return {wire::RegistrationFailed{}, id.status()};
  return Failed(id.status());
}

v1::ExchangeKeyRequest Translation::RequestOf(const wire::SendPublicKey& operation) const {
  v1::ExchangeKeyRequest request;
  request.set_client_id(ToUuid(client_id));
  request.set_name(NameToText(operation.name));
  request.set_public_key(operation.public_key);
  request.set_session_key_bits(operation.session_key_bits);
  return request;
}

Forwarded Translation::Answer(const wire::SendPublicKey&,
                              const absl::StatusOr<v1::ExchangeKeyResponse>& response) const {
  if (!response.ok()) return Failed(response.status());
  return {wire::KeyAccepted{client_id, response->encrypted_session_key()}, absl::OkStatus()};
}

v1::ResumeClientRequest Translation::RequestOf(const wire::Reconnect& operation) const {
  v1::ResumeClientRequest request;
  request.set_client_id(ToUuid(client_id));
  request.set_name(NameToText(operation.name));
  return request;
}

Forwarded Translation::Answer(const wire::Reconnect&,
                              const absl::StatusOr<v1::ResumeClientResponse>& response) const {
  if (response.ok())
    return {wire::Reconnected{client_id, response->encrypted_session_key()}, absl::OkStatus()};
  if (MeaningOf(response.status()) != Meaning::kClientUnknown) return Failed(response.status());
  return {wire::ReconnectDenied{}, response.status()};
}

v1::UploadFileHeader Translation::HeaderOf(const wire::SendFile& operation,
                                           const CallOrigin& origin, uint64_t size,
                                           std::optional<int> segment_count) const {
  v1::UploadFileHeader header;
  header.set_client_id(ToUuid(client_id));
  header.set_file_name(NameToText(operation.name));
  if (segment_count) {
    header.set_encoding(v1::UploadFileHeader::AES_CBC_ZERO_IV_SEGMENTS);
    header.set_segment_count(*segment_count);
  } else {
    header.set_encoding(v1::UploadFileHeader::AES_CBC_ZERO_IV);
    header.set_encoded_size(static_cast<int64_t>(size));
  }
  header.set_checksum_candidate(ToProto(operation.first_checksum));
  if (std::optional<v1::LegacyProfile> news = profiles.Observe(client_id, observed))
    *header.mutable_legacy_profile() = *std::move(news);
  header.set_upload_id(origin.upload_id);
  return header;
}

Forwarded Translation::Answer(const wire::SendFile& operation, bool told_profile,
                              const absl::StatusOr<v1::UploadFileResponse>& response) const {
  if (!response.ok()) return Failed(response.status());
  if (told_profile) profiles.MarkReported(client_id);
  if (corrupt_checksums) faults_injected.Add();
  const uint32_t checksum =
      corrupt_checksums ? response->version().checksum() + 1 : response->checksum();
  return {wire::FileReceived{client_id, operation.content_size, operation.name_field, checksum},
          absl::OkStatus()};
}

v1::ReportTransferRequest Translation::RequestOf(const wire::ChecksumVerdict& operation,
                                                 const CallOrigin& origin) const {
  v1::ReportTransferRequest request;
  request.set_client_id(ToUuid(client_id));
  request.set_file_name(NameToText(operation.name));
  request.set_outcome(ToProto(operation.kind));
  request.set_learn_checksum(!corrupt_checksums);
  request.set_upload_id(origin.upload_id);
  return request;
}

Forwarded Translation::Answer(const wire::ChecksumVerdict& operation,
                              const absl::StatusOr<v1::ReportTransferResponse>& response) const {
  if (!response.ok()) return Failed(response.status());
  // Of the clients that put the id in front, those that wait for this answer want it empty.
  const bool wants_no_id =
      operation.id_in_front && operation.kind == wire::ChecksumVerdict::Kind::kRetry;
  return {wire::Acknowledged{wants_no_id ? std::nullopt : std::optional(client_id)},
          absl::OkStatus()};
}

Forwarded Failed(const absl::Status& status) { return {wire::GeneralError{}, status}; }

absl::StatusOr<ClientId> Translation::IdOf(
    const absl::StatusOr<v1::RegisterClientResponse>& response) {
  if (!response.ok()) return response.status();
  const std::optional<ClientId> id = FromUuid<ClientId>(response->client().client_id());
  if (!id) return absl::InternalError("the service gave out an id that is no UUID");
  return *id;
}

}  // namespace backup::bridge
