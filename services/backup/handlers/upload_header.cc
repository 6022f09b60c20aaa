#include "services/backup/handlers/upload_header.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/limits.h"

namespace backup::handlers {
namespace {

using content::Encoding;
using crypto::CbcFormat;
using Header = v1::UploadFileHeader;

absl::Status InvalidField(absl::string_view field, absl::string_view why) {
  return MakeError(Reason::kInvalidField, absl::StrCat(field, " ", why),
                   absl::StrCat("header.", field));
}

// How long a segment may be, if all have the same size.
absl::StatusOr<int64_t> ParseSegmentSize(const Header& header) {
  const bool with_vector = header.initial_vector() == Header::IN_FRONT;
  const int least = static_cast<int>(crypto::kCipherBlockSize) * (with_vector ? 2 : 1);
  const int size = header.segment_size();
  if (size < least || size > kMaxSegmentSize || size % crypto::kCipherBlockSize != 0) {
    return InvalidField("segment_size", absl::StrCat("must be a multiple of 16 from ", least,
                                                     " to ", kMaxSegmentSize));
  }
  return size;
}

// How the content is encrypted; nothing if it is not.
absl::StatusOr<std::optional<CbcFormat>> ParseFormat(const Header& header) {
  const bool in_segments = header.encoding() == Header::AES_CBC_ZERO_IV_SEGMENTS ||
                           header.encoding() == Header::AES_CBC_SEGMENTS;
  if (!in_segments && header.segment_size() != 0)
    return InvalidField("segment_size", "must be 0 without segments");
  const bool has_format =
      header.encoding() == Header::AES_CBC || header.encoding() == Header::AES_CBC_SEGMENTS;
  if (!has_format &&
      (header.initial_vector() != Header::ZERO_IV || header.padding() != Header::PKCS7))
    return InvalidField("encoding", "initial_vector and padding need AES_CBC or AES_CBC_SEGMENTS");
  if (header.encoding() == Header::IDENTITY) return std::nullopt;
  // The numbers are the same on both sides: crypto/cipher.h.
  CbcFormat format;
  if (!Header::InitialVector_IsValid(header.initial_vector()))
    return InvalidField("initial_vector", "must be ZERO_IV or IN_FRONT");
  format.initial_vector = static_cast<CbcFormat::InitialVector>(header.initial_vector());
  if (!Header::Padding_IsValid(header.padding()))
    return InvalidField("padding", "must be PKCS7, ZEROS or PKCS7_AND_SURPLUS");
  if (header.padding() == Header::PKCS7_AND_SURPLUS && !header.has_original_size())
    return InvalidField("original_size", "must be set with PKCS7_AND_SURPLUS");
  format.padding = static_cast<CbcFormat::Padding>(header.padding());
  if (header.encoding() == Header::AES_CBC_ZERO_IV || header.encoding() == Header::AES_CBC)
    return format;
  if (!in_segments) return InvalidField("encoding", "must be one of the named encodings");
  format.cut = CbcFormat::Cut::kSizedSegments;
  if (header.segment_size() == 0) return format;
  format.cut = CbcFormat::Cut::kEqualSegments;
  ASSIGN_OR_RETURN(format.segment_size, ParseSegmentSize(header));
  return format;
}

// What encoding and sizes say, each checked.
absl::StatusOr<Encoding> ParseEncoding(const Header& header) {
  Encoding encoding;
  ASSIGN_OR_RETURN(encoding.cbc, ParseFormat(header));
  const bool sized = encoding.in_sized_segments();
  const int segments = header.segment_count();
  if (segments < 0 || segments > (sized ? kMaxSegments : 0)) {
    return InvalidField("segment_count",
                        absl::StrCat("must be 0 to ", kMaxSegments,
                                     " with segments that have their sizes before them, else 0"));
  }
  encoding.segment_count = segments;
  if (header.encoded_size() < 0 || (sized && header.encoded_size() != 0)) {
    return InvalidField("encoded_size",
                        "must not be negative, and must be 0 with segments that have their sizes "
                        "before them");
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
    if (header.padding() != Header::PKCS7) upload.encoding.plain_size = upload.original_size;
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

int64_t UploadRequest::least_size() const {
  if (original_size) return std::min(*original_size, encoding.max_size_bytes);
  if (!encoding.encrypted()) return encoding.size_bytes;
  if (encoding.in_sized_segments()) return 0;  // Only the end tells.
  const bool is_cut = encoding.cbc->cut == CbcFormat::Cut::kEqualSegments;
  const int64_t segment_size = is_cut ? encoding.cbc->segment_size : encoding.size_bytes;
  const int64_t segments =
      segment_size > 0 ? (encoding.size_bytes + segment_size - 1) / segment_size : 0;
  constexpr int64_t kMaxOverhead = 2 * crypto::kCipherBlockSize;  // Initial vector and padding.
  return std::max<int64_t>(0, encoding.size_bytes - segments * kMaxOverhead);
}

}  // namespace backup::handlers
