#include "services/backup/handlers/converters.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"

namespace backup::handlers {

absl::StatusOr<absl::Duration> ParseDuration(absl::string_view field,
                                             const google::protobuf::Duration& duration) {
  // What is beyond these cannot be in the range that is allowed, and might overflow.
  constexpr int64_t kMaxSeconds = int64_t{1} << 40;
  constexpr int32_t kMaxNanos = 999'999'999;
  if (duration.seconds() < -kMaxSeconds || duration.seconds() > kMaxSeconds ||
      duration.nanos() < -kMaxNanos || duration.nanos() > kMaxNanos) {
    return MakeError(Reason::kInvalidField, absl::StrCat(field, " is no duration"), field);
  }
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

void SetDuration(absl::Duration duration, google::protobuf::Duration& out) {
  absl::Duration rest;
  out.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  out.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

void SetTime(absl::Time time, google::protobuf::Timestamp& out) {
  const int64_t seconds = absl::ToUnixSeconds(time);
  out.set_seconds(seconds);
  out.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
}

absl::StatusOr<ClientId> ParseClientId(absl::string_view text) {
  const std::optional<ClientId> id = FromUuid<ClientId>(text);
  if (!id) return MakeError(Reason::kInvalidField, "client_id must be a UUID", "client_id");
  return *id;
}

absl::StatusOr<int64_t> ParseVersionId(int64_t version_id) {
  if (version_id > 0) return version_id;
  return MakeError(Reason::kInvalidField, "version_id must name one version", "version_id");
}

absl::StatusOr<std::string> ParseName(absl::string_view field, absl::string_view text) {
  absl::StatusOr<std::string> name = TextToName(text);
  if (name.ok()) return name;
  return MakeError(Reason::kInvalidField, absl::StrCat(field, ": ", name.status().message()),
                   field);
}

absl::StatusOr<std::optional<UploadId>> ParseUploadId(absl::string_view field,
                                                      absl::string_view text) {
  if (text.empty()) return std::nullopt;
  const std::optional<UploadId> id = FromUuid<UploadId>(text);
  if (!id) return MakeError(Reason::kInvalidField, "upload_id must be a UUID", field);
  return id;
}

absl::StatusOr<storage::Client> FindCaller(storage::Snapshot& snapshot,
                                           const std::string& client_id, const std::string& name) {
  if (client_id.empty()) {
    ASSIGN_OR_RETURN(const std::string bytes, ParseName("name", name));
    return snapshot.FindClientByName(bytes);
  }
  ASSIGN_OR_RETURN(const ClientId id, ParseClientId(client_id));
  return snapshot.FindClient(id);
}

absl::StatusOr<storage::Client> FindCallerInTrash(storage::Snapshot& snapshot,
                                                  const std::string& client_id,
                                                  const std::string& name) {
  if (client_id.empty()) {
    ASSIGN_OR_RETURN(const std::string bytes, ParseName("name", name));
    return snapshot.FindTrashedClientByName(bytes);
  }
  ASSIGN_OR_RETURN(const ClientId id, ParseClientId(client_id));
  return snapshot.FindTrashedClient(id);
}

absl::StatusOr<int> ParseSessionKeyBits(int bits) {
  if (bits == 0 || bits == 128 || bits == 256) return bits;
  return MakeError(Reason::kInvalidField, "session_key_bits must be 128 or 256",
                   "session_key_bits");
}

absl::StatusOr<crypto::SessionKeyEncryption> ParseSessionKeyEncryption(
    v1::SessionKeyEncryption encryption) {
  // The numbers are the same on both sides: crypto/public_key.h.
  if (v1::SessionKeyEncryption_IsValid(encryption))
    return static_cast<crypto::SessionKeyEncryption>(encryption);
  return MakeError(Reason::kInvalidField,
                   "session_key_encryption must be RSAES_OAEP_SHA1 or RSAES_PKCS1_V15",
                   "session_key_encryption");
}

absl::StatusOr<absl::Time> ParsePastTime(absl::string_view field,
                                         const google::protobuf::Timestamp& time, absl::Time now) {
  // google.protobuf.Timestamp's own limits: the years 1 to 9999.
  constexpr int64_t kFirstSecond = -62'135'596'800;
  constexpr int64_t kLastSecond = 253'402'300'799;
  if (time.seconds() < kFirstSecond || time.seconds() > kLastSecond || time.nanos() < 0 ||
      time.nanos() >= 1'000'000'000) {
    return MakeError(Reason::kInvalidField, absl::StrCat(field, " is no time"), field);
  }
  return std::min(now, absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos()));
}

v1::LegacyProfile ToProto(const storage::LegacyProfile& legacy) {
  v1::LegacyProfile out;
  out.set_family(legacy.family);
  out.set_header_version(legacy.header_version);
  out.set_framing(legacy.framing);
  out.set_file_style(legacy.file_style);
  out.set_connection_style(legacy.connection_style);
  if (legacy.checksum_kind)
    out.set_checksum_kind(static_cast<v1::ChecksumKind>(*legacy.checksum_kind));
  out.set_last_protocol_error(legacy.last_protocol_error);
  if (legacy.last_protocol_error_time)
    SetTime(*legacy.last_protocol_error_time, *out.mutable_last_protocol_error_time());
  return out;
}

absl::StatusOr<storage::LegacyProfile> ParseLegacyProfile(const v1::LegacyProfile& observed,
                                                          absl::Time now) {
  for (const std::string* text : {&observed.family(), &observed.framing(), &observed.file_style(),
                                  &observed.connection_style(), &observed.last_protocol_error()}) {
    if (text->size() > kMaxNameSize) {
      return MakeError(Reason::kInvalidField, "a text of a legacy_profile has at most 255 bytes",
                       "legacy_profile");
    }
  }
  storage::LegacyProfile legacy;
  legacy.family = observed.family();
  legacy.header_version = observed.header_version();
  legacy.framing = observed.framing();
  legacy.file_style = observed.file_style();
  legacy.connection_style = observed.connection_style();
  legacy.last_protocol_error = observed.last_protocol_error();
  if (!legacy.last_protocol_error.empty()) legacy.last_protocol_error_time = now;
  return legacy;
}

v1::Client ToProto(const storage::Client& client) {
  v1::Client out;
  out.set_client_id(ToUuid(client.id));
  out.set_name(NameToText(client.name));
  SetTime(client.create_time, *out.mutable_create_time());
  SetTime(client.last_seen_time, *out.mutable_last_seen_time());
  out.set_has_public_key(!client.public_key.empty());
  if (client.last_verified_time)
    SetTime(*client.last_verified_time, *out.mutable_last_verified_time());
  if (client.legacy != storage::LegacyProfile())
    *out.mutable_legacy_profile() = ToProto(client.legacy);
  out.set_stored_bytes(client.stored_bytes);
  out.set_kept_bytes(client.kept_bytes);
  return out;
}

v1::FileVersion ToProto(const storage::Version& version) {
  v1::FileVersion out;
  out.set_client_id(ToUuid(version.client_id));
  out.set_file_name(NameToText(version.file_name));
  out.set_version_id(version.version_id);
  out.set_size_bytes(version.size_bytes);
  out.set_encoded_size(version.encoded_size);
  // The numbers are the same on both sides: storage/catalog/version.h.
  out.set_checksum_kind(static_cast<v1::ChecksumKind>(version.checksum_kind));
  out.set_checksum(version.checksum);
  out.set_sha256(version.sha256);
  out.set_state(version.is_damaged ? v1::FileVersion::DAMAGED
                                   : static_cast<v1::FileVersion::State>(version.state));
  SetTime(version.receive_time, *out.mutable_receive_time());
  if (version.verify_time) SetTime(*version.verify_time, *out.mutable_verify_time());
  if (version.retain_until) SetTime(*version.retain_until, *out.mutable_retain_until());
  if (version.arrive_time) SetTime(*version.arrive_time, *out.mutable_arrive_time());
  out.set_storage(storage::IsClientsForm(version.form)
                      ? v1::FileVersion::CLIENT_CIPHERTEXT
                      : static_cast<v1::FileVersion::Storage>(version.form));
  return out;
}

v1::File ToProto(const ClientId& client, const storage::File& file) {
  v1::File out;
  out.set_client_id(ToUuid(client));
  out.set_file_name(NameToText(file.name));
  if (file.newest_verified) *out.mutable_newest_verified() = ToProto(*file.newest_verified);
  out.set_version_count(file.version_count);
  return out;
}

}  // namespace backup::handlers
