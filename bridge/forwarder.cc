#include "bridge/forwarder.h"

#include <optional>
#include <utility>

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

// Requests of the wire as calls, and what came of them as answers of the wire: a pair of
// RequestOf() and Answer() for each operation. Copied into calls in flight.
struct Translation {
  const ClientId client_id;
  LegacyProfiles& profiles;
  LegacyProfile observed;
  const bool corrupt_checksums;
  const Counter faults_injected;

  v1::RegisterClientRequest RequestOf(const wire::Register& operation) const {
    v1::RegisterClientRequest request;
    request.set_name(NameToText(operation.name));
    return request;
  }
  Forwarded Answer(const wire::Register&,
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

  v1::ExchangeKeyRequest RequestOf(const wire::SendPublicKey& operation) const {
    v1::ExchangeKeyRequest request;
    request.set_client_id(ToUuid(client_id));
    request.set_name(NameToText(operation.name));
    request.set_public_key(operation.public_key);
    request.set_session_key_bits(operation.session_key_bits);
    return request;
  }
  Forwarded Answer(const wire::SendPublicKey&,
                   const absl::StatusOr<v1::ExchangeKeyResponse>& response) const {
    if (!response.ok()) return Failed(response.status());
    return {wire::KeyAccepted{client_id, response->encrypted_session_key()}, absl::OkStatus()};
  }

  v1::ResumeClientRequest RequestOf(const wire::Reconnect& operation) const {
    v1::ResumeClientRequest request;
    request.set_client_id(ToUuid(client_id));
    request.set_name(NameToText(operation.name));
    return request;
  }
  // An answer without a fresh id if the reconnect is denied.
  Forwarded Answer(const wire::Reconnect&,
                   const absl::StatusOr<v1::ResumeClientResponse>& response) const {
    if (response.ok())
      return {wire::Reconnected{client_id, response->encrypted_session_key()}, absl::OkStatus()};
    if (MeaningOf(response.status()) != Meaning::kClientUnknown) return Failed(response.status());
    return {wire::ReconnectDenied{}, response.status()};
  }

  // The header; the content is the caller's to send.
  v1::UploadFileHeader RequestOf(const wire::SendFile& operation, const CallOrigin& origin,
                                 uint64_t size, std::optional<int> segment_count) const {
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
    if (const std::optional<LegacyProfile> news = profiles.Observe(client_id, observed))
      *header.mutable_legacy_profile() = bridge::ToProto(*news);
    header.set_upload_id(origin.upload_id);
    return header;
  }
  // `told_profile`: whether the header had a profile.
  Forwarded Answer(const wire::SendFile& operation, bool told_profile,
                   const absl::StatusOr<v1::UploadFileResponse>& response) const {
    if (!response.ok()) return Failed(response.status());
    if (told_profile) profiles.MarkReported(client_id);
    if (corrupt_checksums) faults_injected.Add();
    const uint32_t checksum =
        corrupt_checksums ? response->version().checksum() + 1 : response->checksum();
    return {wire::FileReceived{client_id, operation.content_size, operation.name_field, checksum},
            absl::OkStatus()};
  }

  v1::ReportTransferRequest RequestOf(const wire::ChecksumVerdict& operation) const {
    v1::ReportTransferRequest request;
    request.set_client_id(ToUuid(client_id));
    request.set_file_name(NameToText(operation.name));
    request.set_outcome(ToProto(operation.kind));
    request.set_learn_checksum(!corrupt_checksums);
    return request;
  }
  Forwarded Answer(const wire::ChecksumVerdict& operation,
                   const absl::StatusOr<v1::ReportTransferResponse>& response) const {
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
};

// One overload for each operation; each makes one call and waits for it.
struct Call {
  BackendClient& backend;
  const CallOrigin& origin;
  const Translation& translation;
  const FileContent& content;

  Forwarded operator()(const wire::Register& operation) const {
    return translation.Answer(operation,
                              backend.RegisterClient(origin, translation.RequestOf(operation)));
  }
  Forwarded operator()(const wire::SendPublicKey& operation) const {
    return translation.Answer(operation,
                              backend.ExchangeKey(origin, translation.RequestOf(operation)));
  }
  Forwarded operator()(const wire::Reconnect& operation) const {
    Forwarded forwarded = translation.Answer(
        operation, backend.ResumeClient(origin, translation.RequestOf(operation)));
    auto* const denied = std::get_if<wire::ReconnectDenied>(&forwarded.reply);
    if (denied == nullptr) return forwarded;
    const absl::StatusOr<ClientId> fresh_id = FreshId(operation.name);
    if (!fresh_id.ok()) return Translation::Failed(fresh_id.status());
    denied->fresh_id = *fresh_id;
    return forwarded;
  }
  Forwarded operator()(const wire::SendFile& operation) const {
    const v1::UploadFileHeader header =
        translation.RequestOf(operation, origin, content.size, content.segment_count);
    return translation.Answer(operation, header.has_legacy_profile(),
                              backend.UploadFile(origin, header, content.bytes));
  }
  Forwarded operator()(const wire::ChecksumVerdict& operation) const {
    return translation.Answer(operation,
                              backend.ReportTransfer(origin, translation.RequestOf(operation)));
  }

  // An id on which a client whose reconnect was denied may send its key at once: registers the
  // name. If that is refused, an id that nobody has, and the client's own registration will tell it
  // why.
  absl::StatusOr<ClientId> FreshId(const std::string& name) const {
    const absl::StatusOr<ClientId> id = Translation::IdOf(
        backend.RegisterClient(origin, translation.RequestOf(wire::Register{name})));
    if (MeaningOf(id.status()) == Meaning::kRegistrationRefused)
      return *ClientId::FromBytes(RandomUuidBytes());
    return id;
  }
};

// One overload for each operation; each starts one call.
struct StartedCall {
  BackendClient& backend;
  const CallOrigin& origin;
  Translation translation;
  const absl::string_view content;
  std::function<void(std::optional<Forwarded>)> done;

  template <typename Operation>
  void operator()(const Operation& operation) {
    const auto request = translation.RequestOf(operation);
    backend.Start(
        origin, request,
        [&operation, translation = std::move(translation), done = std::move(done)](
            const auto& response) { done(Settled(translation.Answer(operation, response))); });
  }
  void operator()(const wire::SendFile& operation) {
    v1::UploadFileRequest request;
    *request.mutable_header() =
        translation.RequestOf(operation, origin, content.size(), std::nullopt);
    request.mutable_header()->set_first_chunk(std::string(content));
    const bool told_profile = request.header().has_legacy_profile();
    backend.Start(origin, request,
                  [&operation, told_profile, translation = std::move(translation),
                   done = std::move(done)](const auto& response) {
                    done(Settled(translation.Answer(operation, told_profile, response)));
                  });
  }

  // Nothing if the call has to be waited for after all.
  static std::optional<Forwarded> Settled(Forwarded forwarded) {
    const bool wants_fresh_id = std::holds_alternative<wire::ReconnectDenied>(forwarded.reply);
    if (wants_fresh_id || absl::IsUnavailable(forwarded.outcome)) return std::nullopt;
    return forwarded;
  }
};

}  // namespace

Forwarded Forwarder::Forward(const CallOrigin& origin, const wire::Request& request,
                             const LegacyProfile& observed, const FileContent& content) {
  const Translation translation{request.client_id, profiles_, observed, corrupt_checksums_,
                                faults_injected_};
  return std::visit(Call{backend_, origin, translation, content}, request.operation);
}

void Forwarder::Start(const CallOrigin& origin, const wire::Request& request,
                      LegacyProfile observed, absl::string_view content,
                      std::function<void(std::optional<Forwarded>)> done) {
  Translation translation{request.client_id, profiles_, std::move(observed), corrupt_checksums_,
                          faults_injected_};
  std::visit(StartedCall{backend_, origin, std::move(translation), content, std::move(done)},
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
