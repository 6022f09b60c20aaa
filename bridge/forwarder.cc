#include "bridge/forwarder.h"

#include <sys/random.h>

#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::bridge {
namespace {

constexpr int kSessionKeyBits = 128;

std::string RandomUuidBytes() {
  std::string bytes(16, '\0');
  CHECK_EQ(::getrandom(bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  for (char& byte : bytes)
    byte = static_cast<char>(byte | 0x10);  // Some clients treat ids as C strings.
  bytes[6] = static_cast<char>((bytes[6] & 0x0F) | 0x40);
  bytes[8] = static_cast<char>((bytes[8] & 0x3F) | 0x80);
  return bytes;
}

// What a reason means for a registration: these are final, everything else may pass and must not be
// told as final.
bool RegistrationIsRefused(Reason reason) {
  switch (reason) {
    case Reason::kNameTaken:
    case Reason::kInvalidField:
      return true;
    case Reason::kSizeLimit:
    case Reason::kClientNotFound:
    case Reason::kFileNotFound:
    case Reason::kVersionNotFound:
    case Reason::kRekeyRefused:
    case Reason::kKeyNotSet:
    case Reason::kStateCorrupt:
    case Reason::kContentRejected:
    case Reason::kStorageFull:
    case Reason::kOverloaded:
    case Reason::kDraining:
    case Reason::kBackendDown:
    case Reason::kStorageIo:
    case Reason::kBlobDamaged:
      return false;
  }
  return false;
}

// What a reason means for a reconnect: the client is to register anew only if it is really not
// known.
bool ReconnectIsDenied(Reason reason) {
  return reason == Reason::kClientNotFound || reason == Reason::kKeyNotSet;
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

// One overload for each operation; each makes one call.
struct Call {
  BackendClient& backend;
  const CallOrigin& origin;
  const ClientId& client_id;
  ByteSource& body;
  const uint64_t body_size;
  const bool corrupt_checksums;

  Forwarded operator()(const wire::Register& operation) const {
    v1::RegisterClientRequest request;
    request.set_name(NameToText(operation.name));
    const auto response = backend.RegisterClient(origin, request);
    if (response.ok())
      return {wire::Registered{IdOf(response->client().client_id())}, absl::OkStatus()};
    const std::optional<Reason> reason = ReasonOf(response.status());
    if (reason && RegistrationIsRefused(*reason))
      return {wire::RegistrationFailed{}, response.status()};
    return Failed(response.status());
  }

  Forwarded operator()(const wire::SendPublicKey& operation) const {
    v1::ExchangeKeyRequest request;
    request.set_client_id(ToUuid(client_id));
    request.set_name(NameToText(operation.name));
    request.set_public_key(operation.public_key);
    request.set_session_key_bits(kSessionKeyBits);
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
    const std::optional<Reason> reason = ReasonOf(response.status());
    if (reason && ReconnectIsDenied(*reason))
      return {wire::ReconnectDenied{FreshId(operation.name)}, response.status()};
    return Failed(response.status());
  }

  Forwarded operator()(const wire::SendFile& operation) const {
    v1::UploadFileHeader header;
    header.set_client_id(ToUuid(client_id));
    header.set_file_name(NameToText(operation.name));
    header.set_encoding(v1::UploadFileHeader::AES_CBC_ZERO_IV);
    header.set_encoded_size(static_cast<int64_t>(body_size));
    header.set_checksum_kind(operation.checksum == wire::Checksum::kCrc32OfCiphertext
                                 ? v1::CRC32_OF_CIPHERTEXT
                                 : v1::CKSUM_OF_PLAINTEXT);
    header.set_upload_id(ToUuidText(RandomUuidBytes()));
    const auto response = backend.UploadFile(origin, header, body);
    if (!response.ok()) return Failed(response.status());
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
    const auto response = backend.ReportTransfer(origin, request);
    if (!response.ok()) return Failed(response.status());
    return {wire::Acknowledged{client_id}, absl::OkStatus()};
  }

  static Forwarded Failed(const absl::Status& status) { return {wire::GeneralError{}, status}; }

  static ClientId IdOf(const std::string& text) {
    return FromUuid<ClientId>(text).value_or(ClientId());
  }

  // An id on which a client whose reconnect was denied may send its key at once: registers the
  // name. If that is taken, an id that nobody has, and the client's own registration will tell it.
  ClientId FreshId(const std::string& name) const {
    v1::RegisterClientRequest request;
    request.set_name(NameToText(name));
    const auto response = backend.RegisterClient(origin, request);
    return response.ok() ? IdOf(response->client().client_id())
                         : *ClientId::FromBytes(RandomUuidBytes());
  }
};

}  // namespace

Forwarded Forwarder::Forward(const CallOrigin& origin, const wire::Request& request,
                             ByteSource& body, uint64_t body_size) {
  return std::visit(Call{backend_, origin, request.client_id, body, body_size, corrupt_checksums_},
                    request.operation);
}

}  // namespace backup::bridge
