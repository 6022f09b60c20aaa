#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backup/v1/ingest.pb.h"
#include "base/metrics.h"
#include "bridge/request/legacy_profiles.h"
#include "bridge/service/backend_options.h"
#include "bridge/wire/message.h"

namespace backup::bridge {

// What came of a request.
struct Forwarded {
  wire::Reply reply;
  absl::Status outcome;  // What the service, or the body, said.
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
  const ClientId client_id;
  LegacyProfiles& profiles;
  const v1::LegacyProfile observed;  // What the request shows of its sender.
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

  // The header of an upload of one ciphertext of this size, or of this many segments (0: as many as
  // come); the content is the caller's to add.
  v1::UploadFileHeader HeaderOf(const wire::SendFile& operation, const CallOrigin& origin,
                                uint64_t size, std::optional<int> segment_count) const;
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
};

// The general error, because of `status`.
Forwarded Failed(const absl::Status& status);

}  // namespace backup::bridge
