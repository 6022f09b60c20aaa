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
    case Reason::kPolicyNotFound:
    case Reason::kRetained:
    case Reason::kCredentialsMissing:
    case Reason::kRoleDenied:
    case Reason::kRekeyRefused:
    case Reason::kStateCorrupt:
    case Reason::kContentRejected:
    case Reason::kClientQuota:
    case Reason::kStorageFull:
    case Reason::kOverloaded:
    case Reason::kDraining:
    case Reason::kBackendDown:
    case Reason::kStorageIo:
    case Reason::kBlobDamaged:
    case Reason::kKeyMissing:
    case Reason::kKeyChangeRefused:
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

v1::SessionKeyEncryption ToProto(const wire::SessionKeyForm& form) {
  return form.pkcs1_v15 ? v1::RSAES_PKCS1_V15 : v1::RSAES_OAEP_SHA1;
}

void SetEncoding(const wire::ContentTraits& traits, const ContentSizes& sizes,
                 v1::UploadFileHeader& header) {
  using Header = v1::UploadFileHeader;
  const bool in_segments = sizes.segment_count || traits.encrypted_piece_size > 0;
  header.set_initial_vector(traits.initial_vector_in_front ? Header::IN_FRONT : Header::ZERO_IV);
  header.set_padding(traits.padded_with_zeros ? Header::ZEROS
                     : traits.has_surplus     ? Header::PKCS7_AND_SURPLUS
                                              : Header::PKCS7);
  if (header.initial_vector() == Header::ZERO_IV && header.padding() == Header::PKCS7) {
    header.set_encoding(in_segments ? Header::AES_CBC_ZERO_IV_SEGMENTS : Header::AES_CBC_ZERO_IV);
  } else {
    header.set_encoding(in_segments ? Header::AES_CBC_SEGMENTS : Header::AES_CBC);
  }
  if (sizes.segment_count) {
    header.set_segment_count(*sizes.segment_count);
  } else {
    header.set_segment_size(static_cast<int32_t>(traits.encrypted_piece_size));
    header.set_encoded_size(static_cast<int64_t>(sizes.size));
  }
  if (sizes.plaintext_size) header.set_original_size(static_cast<int64_t>(*sizes.plaintext_size));
}

absl::StatusOr<ClientId> ParseId(absl::string_view text) {
  const std::optional<ClientId> id = FromUuid<ClientId>(text);
  if (!id) return absl::InternalError("the service gave out an id that is no UUID");
  return *id;
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
    profiles.Observe(*id, sender.observed);  // The service hears of it with the first file.
    return {wire::Registered{*id}, absl::OkStatus()};
  }
  if (MeaningOf(id.status()) == Meaning::kRegistrationRefused)
    return {wire::RegistrationFailed{}, id.status()};
  return Failed(id.status());
}

v1::ExchangeKeyRequest Translation::RequestOf(const wire::SendPublicKey& operation) const {
  v1::ExchangeKeyRequest request;
  request.set_client_id(IdText());
  request.set_name(NameToText(operation.name));
  request.set_public_key(operation.public_key);
  request.set_session_key_bits(operation.session_key.bits);
  request.set_session_key_encryption(ToProto(operation.session_key));
  return request;
}

Forwarded Translation::Answer(const wire::SendPublicKey&,
                              const absl::StatusOr<v1::ExchangeKeyResponse>& response) const {
  if (!response.ok()) return Failed(response.status());
  const absl::StatusOr<ClientId> id = IdOr(response->client_id());
  if (!id.ok()) return Failed(id.status());
  return {wire::KeyAccepted{*id, response->encrypted_session_key()}, absl::OkStatus()};
}

v1::ResumeClientRequest Translation::RequestOf(const wire::Reconnect& operation) const {
  v1::ResumeClientRequest request;
  request.set_client_id(IdText());
  request.set_name(NameToText(operation.name));
  // A client that got a key of another size from a bridge that took it for another kind is stuck
  // until it gets one that it can use.
  request.set_session_key_bits(operation.session_key.bits);
  request.set_session_key_encryption(ToProto(operation.session_key));
  return request;
}

Forwarded Translation::Answer(const wire::Reconnect&,
                              const absl::StatusOr<v1::ResumeClientResponse>& response) const {
  if (response.ok()) {
    const absl::StatusOr<ClientId> id = IdOr(response->client_id());
    if (!id.ok()) return Failed(id.status());
    return {wire::Reconnected{*id, response->encrypted_session_key()}, absl::OkStatus()};
  }
  if (MeaningOf(response.status()) != Meaning::kClientUnknown) return Failed(response.status());
  return {wire::ReconnectDenied{}, response.status()};
}

v1::UploadFileHeader Translation::HeaderOf(const wire::SendFile& operation,
                                           const CallOrigin& origin,
                                           const ContentSizes& sizes) const {
  v1::UploadFileHeader header;
  header.set_client_id(ToUuid(id()));
  header.set_file_name(NameToText(operation.name));
  SetEncoding(sender.content, sizes, header);
  header.set_checksum_candidate(ToProto(operation.first_checksum));
  if (std::optional<v1::LegacyProfile> news = profiles.Observe(id(), sender.observed))
    *header.mutable_legacy_profile() = *std::move(news);
  header.set_upload_id(origin.upload_id);
  return header;
}

Forwarded Translation::Answer(const wire::SendFile& operation, bool told_profile,
                              const absl::StatusOr<v1::UploadFileResponse>& response) const {
  if (!response.ok()) return Failed(response.status());
  if (told_profile) profiles.MarkReported(id());
  if (corrupt_checksums) faults_injected.Add();
  const uint32_t checksum =
      corrupt_checksums ? response->version().checksum() + 1 : response->checksum();
  return {wire::FileReceived{id(), operation.content_size, operation.name_field, checksum},
          absl::OkStatus()};
}

v1::ReportTransferRequest Translation::RequestOf(const wire::ChecksumVerdict& operation,
                                                 const CallOrigin& origin) const {
  v1::ReportTransferRequest request;
  request.set_client_id(ToUuid(id()));
  request.set_file_name(NameToText(operation.name));
  request.set_outcome(ToProto(operation.kind));
  request.set_learn_checksum(!corrupt_checksums);
  request.set_upload_id(origin.upload_id);
  return request;
}

Forwarded Translation::Answer(const wire::ChecksumVerdict&,
                              const absl::StatusOr<v1::ReportTransferResponse>& response) const {
  if (!response.ok()) return Failed(response.status());
  return {wire::Acknowledged{id()}, absl::OkStatus()};
}

Forwarded Failed(const absl::Status& status) { return {wire::GeneralError{}, status}; }

absl::StatusOr<ClientId> Translation::IdOf(
    const absl::StatusOr<v1::RegisterClientResponse>& response) {
  if (!response.ok()) return response.status();
  return ParseId(response->client().client_id());
}

absl::StatusOr<ClientId> Translation::IdOr(absl::string_view told) const {
  if (sender.id) return *sender.id;
  return ParseId(told);
}

}  // namespace backup::bridge
