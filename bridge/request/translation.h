#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backup/v1/ingest.pb.h"
#include "base/metrics.h"
#include "bridge/request/legacy_profiles.h"
#include "bridge/service/backend_options.h"
#include "bridge/wire/dialect.h"
#include "bridge/wire/message.h"

namespace backup::bridge {

// What came of a request.
struct Forwarded {
  wire::Reply reply;
  absl::Status outcome;  // What the service, or the body, said.
};

// Whose request it is, as far as the request alone does not tell.
struct Sender {
  // Nothing: it registers, or it is the client of the name in its request.
  std::optional<ClientId> id;
  // How its dialect lays out the content of files.
  wire::ContentTraits content = {};
  // What the request shows of it.
  v1::LegacyProfile observed = {};
};

// What has to be known of a file's content for its header.
struct ContentSizes {
  uint64_t size = 0;                                // 0 of segments with their sizes in front.
  std::optional<int> segment_count = std::nullopt;  // Of such: 0: as many as come.
  std::optional<uint64_t> plaintext_size = std::nullopt;  // If it is relied on.
};

// What an error of the service means in the legacy protocol.
enum class Meaning {
  kRegistrationRefused,  // The name will not do: final, so it may be told as "registration failed".
  kClientUnknown,        // The client has to register anew: on a reconnect, "reconnect denied".
  kFailure,  // Anything else, passing or not: the general error, after which clients keep their
             // identity.
};

Meaning MeaningOf(const absl::Status& status);

// Requests of the wire as those of the API, and what came of them as answers of the wire: a pair of
// RequestOf() and Answer() for each operation. Used by one thread at a time.
struct Translation {
  const Sender sender;
  LegacyProfiles& profiles;
  const bool corrupt_checksums;
  const Counter faults_injected;

  v1::RegisterClientRequest RequestOf(const wire::Register& operation) const;
  Forwarded Answer(const wire::Register&,
                   const absl::StatusOr<v1::RegisterClientResponse>& response) const;

  v1::ExchangeKeyRequest RequestOf(const wire::SendPublicKey& operation) const;
  Forwarded Answer(const wire::SendPublicKey&,
                   const absl::StatusOr<v1::ExchangeKeyResponse>& response) const;

  v1::ResumeClientRequest RequestOf(const wire::Reconnect& operation) const;
  // An answer without a fresh id if the reconnect is denied.
  Forwarded Answer(const wire::Reconnect&,
                   const absl::StatusOr<v1::ResumeClientResponse>& response) const;

  // The header of an upload; the content is the caller's to add.
  v1::UploadFileHeader HeaderOf(const wire::SendFile& operation, const CallOrigin& origin,
                                const ContentSizes& sizes) const;
  // `told_profile`: whether the header had a profile.
  Forwarded Answer(const wire::SendFile& operation, bool told_profile,
                   const absl::StatusOr<v1::UploadFileResponse>& response) const;

  // Of the upload that `origin` names, if any.
  v1::ReportTransferRequest RequestOf(const wire::ChecksumVerdict& operation,
                                      const CallOrigin& origin) const;
  Forwarded Answer(const wire::ChecksumVerdict& operation,
                   const absl::StatusOr<v1::ReportTransferResponse>& response) const;

  // The id that a registration gave.
  static absl::StatusOr<ClientId> IdOf(const absl::StatusOr<v1::RegisterClientResponse>& response);

 private:
  // All zeros if there is none.
  ClientId id() const { return sender.id.value_or(ClientId()); }
  // Empty if the name decides.
  std::string IdText() const { return sender.id ? ToUuid(*sender.id) : ""; }
  // The client's id, of one that gave only its name as the service tells it.
  absl::StatusOr<ClientId> IdOr(absl::string_view told) const;
};

// The general error, because of `status`.
Forwarded Failed(const absl::Status& status);

}  // namespace backup::bridge
