#include "services/backup/handlers/upload_header.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/limits.h"

namespace backup::handlers {
namespace {

using content::Encoding;

absl::StatusOr<Encoding::Cipher> ParseCipher(v1::UploadFileHeader::Encoding encoding) {
  switch (encoding) {
    case v1::UploadFileHeader::IDENTITY:
      return Encoding::Cipher::kNone;
    case v1::UploadFileHeader::AES_CBC_ZERO_IV:
      return Encoding::Cipher::kCbc;
    case v1::UploadFileHeader::AES_CBC_ZERO_IV_SEGMENTS:
      return Encoding::Cipher::kCbcSegments;
    default:
      return MakeError(Reason::kInvalidField,
                       "encoding must be IDENTITY, AES_CBC_ZERO_IV or AES_CBC_ZERO_IV_SEGMENTS",
                       "header.encoding");
  }
}

// What encoding and sizes say, each checked.
absl::StatusOr<Encoding> ParseEncoding(const v1::UploadFileHeader& header) {
  Encoding encoding;
  ASSIGN_OR_RETURN(encoding.cipher, ParseCipher(header.encoding()));
  const int segments = header.segment_count();
  if (segments < 0 || segments > (encoding.segmented() ? kMaxSegments : 0)) {
    return MakeError(
        Reason::kInvalidField,
        absl::StrCat("segment_count must be 0 to ", kMaxSegments, " with segments, and 0 without"),
        "header.segment_count");
  }
  encoding.segment_count = segments;
  if (header.encoded_size() < 0 || (encoding.segmented() && header.encoded_size() != 0)) {
    return MakeError(Reason::kInvalidField,
                     "encoded_size must not be negative, and must be 0 with segments",
                     "header.encoded_size");
  }
  if (header.encoded_size() > kMaxFileSizeBytes) return content::TooLarge(kMaxFileSizeBytes);
  encoding.size_bytes = header.encoded_size();
  encoding.max_size_bytes = kMaxFileSizeBytes;
  return encoding;
}

absl::Status ParseChecksum(const v1::UploadFileHeader& header, UploadRequest& upload) {
  if (!v1::ChecksumKind_IsValid(header.checksum_kind()) ||
      !v1::ChecksumKind_IsValid(header.checksum_candidate())) {
    return MakeError(Reason::kInvalidField, "checksum_kind must be one of the named kinds",
                     "header.checksum_kind");
  }
  upload.checksum_is_candidate = header.checksum_candidate() != v1::CHECKSUM_KIND_UNSPECIFIED;
  if (upload.checksum_is_candidate && header.checksum_kind() != v1::CHECKSUM_KIND_UNSPECIFIED) {
    return MakeError(Reason::kInvalidField, "give either checksum_kind or checksum_candidate",
                     "header.checksum_candidate");
  }
  const v1::ChecksumKind kind =
      upload.checksum_is_candidate ? header.checksum_candidate() : header.checksum_kind();
  // The numbers are the same on both sides: storage/catalog/version.h.
  if (kind != v1::CHECKSUM_KIND_UNSPECIFIED)
    upload.checksum_kind = static_cast<storage::ChecksumKind>(kind);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<UploadRequest> ParseUploadHeader(const v1::UploadFileHeader& header,
                                                absl::Time now) {
  UploadRequest upload;
  ASSIGN_OR_RETURN(upload.client_id, ParseClientId(header.client_id()));
  ASSIGN_OR_RETURN(upload.file_name, ParseName("header.file_name", header.file_name()));
  ASSIGN_OR_RETURN(upload.encoding, ParseEncoding(header));
  if (header.has_original_size()) {
    if (header.original_size() < 0) {
      return MakeError(Reason::kInvalidField, "original_size must not be negative",
                       "header.original_size");
    }
    upload.original_size = header.original_size();
  }
  RETURN_IF_ERROR(ParseChecksum(header, upload));
  ASSIGN_OR_RETURN(upload.observed, ParseLegacyProfile(header.legacy_profile(), now));
  ASSIGN_OR_RETURN(upload.upload_id, ParseUploadId("header.upload_id", header.upload_id()));
  if (header.has_receive_time()) {
    ASSIGN_OR_RETURN(upload.receive_time,
                     ParsePastTime("header.receive_time", header.receive_time(), now));
  }
  return upload;
}

}  // namespace backup::handlers
