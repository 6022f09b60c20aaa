#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "backup/v1/catalog.pb.h"
#include "backup/v1/ingest.pb.h"
#include "backup/v1/types.pb.h"
#include "crypto/public_key.h"
#include "storage/catalog/snapshot.h"
#include "storage/catalog/types.h"

// Between the API's messages and what storage keeps. What cannot be converted is reason
// INVALID_FIELD with the field.
namespace backup::handlers {

absl::StatusOr<ClientId> ParseClientId(absl::string_view text);
// Of one version: above 0.
absl::StatusOr<int64_t> ParseVersionId(int64_t version_id);
absl::StatusOr<std::string> ParseName(absl::string_view field, absl::string_view text);
// Nothing if empty.
absl::StatusOr<std::optional<UploadId>> ParseUploadId(absl::string_view field,
                                                      absl::string_view text);

// The client that a request is from: client_id decides, or, if it is empty, the name. Reason
// CLIENT_NOT_FOUND.
absl::StatusOr<storage::Client> FindCaller(storage::Snapshot& snapshot,
                                           const std::string& client_id, const std::string& name);
// The same of clients in the trash. Of a name the one that was deleted last.
absl::StatusOr<storage::Client> FindCallerInTrash(storage::Snapshot& snapshot,
                                                  const std::string& client_id,
                                                  const std::string& name);
// 128, 256 or 0.
absl::StatusOr<int> ParseSessionKeyBits(int bits);
absl::StatusOr<crypto::SessionKeyEncryption> ParseSessionKeyEncryption(
    v1::SessionKeyEncryption encryption);

// Of what happened before `now`: a time in the future is taken for `now`.
absl::StatusOr<absl::Time> ParsePastTime(absl::string_view field,
                                         const google::protobuf::Timestamp& time, absl::Time now);

// Of either sign; finite.
absl::StatusOr<absl::Duration> ParseDuration(absl::string_view field,
                                             const google::protobuf::Duration& duration);

void SetDuration(absl::Duration duration, google::protobuf::Duration& out);

void SetTime(absl::Time time, google::protobuf::Timestamp& out);
v1::Client ToProto(const storage::Client& client);
v1::LegacyProfile ToProto(const storage::LegacyProfile& legacy);
// Observed at `now`. Reason INVALID_FIELD if a text is too long.
absl::StatusOr<storage::LegacyProfile> ParseLegacyProfile(const v1::LegacyProfile& observed,
                                                          absl::Time now);
v1::FileVersion ToProto(const storage::Version& version);
v1::File ToProto(const ClientId& client, const storage::File& file);

}  // namespace backup::handlers
