#include "content/blob_footer.h"

#include <optional>

#include "base/name_text.h"
#include "base/status_macros.h"
#include "content/footer_fields.h"
#include "glog/logging.h"

namespace backup::content {
namespace {

using storage::ChecksumKind;
using storage::StorageForm;

constexpr absl::string_view kMagic = "BKPBLOB1";
constexpr size_t kSha256Size = 32;

template <typename Enum>
bool InRange(Enum value, Enum last) {
  return static_cast<int>(value) >= 1 && static_cast<int>(value) <= static_cast<int>(last);
}

constexpr crypto::CbcFormat kSizedSegments{.cut = crypto::CbcFormat::Cut::kSizedSegments};

void AppendFormat(const crypto::CbcFormat& format, std::string& out) {
  AppendUint(static_cast<uint64_t>(format.cut), 1, out);
  AppendUint(static_cast<uint64_t>(format.initial_vector), 1, out);
  AppendUint(static_cast<uint64_t>(format.padding), 1, out);
  AppendUint(static_cast<uint64_t>(format.segment_size), 4, out);
}

crypto::CbcFormat ReadFormat(FieldReader& reader) {
  crypto::CbcFormat format;
  format.cut = static_cast<crypto::CbcFormat::Cut>(reader.Uint(1));
  format.initial_vector = static_cast<crypto::CbcFormat::InitialVector>(reader.Uint(1));
  format.padding = static_cast<crypto::CbcFormat::Padding>(reader.Uint(1));
  format.segment_size = static_cast<int64_t>(reader.Uint(4));
  return format;
}

// What is in a footer with another form follows from that.
crypto::CbcFormat FormatOf(StorageForm form) {
  return form == StorageForm::kClientSegments ? kSizedSegments : crypto::CbcFormat();
}

bool IsValid(const crypto::CbcFormat& format) {
  using Format = crypto::CbcFormat;
  const bool in_equal_segments = format.cut == Format::Cut::kEqualSegments;
  const int64_t blocks = format.segment_size / int64_t{crypto::kCipherBlockSize};
  return InRange(format.cut, Format::Cut::kEqualSegments) &&
         format.initial_vector <= Format::InitialVector::kInFront &&
         format.padding <= Format::Padding::kPkcs7AndSurplus && in_equal_segments == (blocks > 0) &&
         format.segment_size == blocks * int64_t{crypto::kCipherBlockSize};
}

std::optional<BlobFooter> DecodeFooter(absl::string_view bytes) {
  FieldReader reader(bytes);
  BlobFooter footer;
  footer.client_id = ClientId::FromBytes(reader.Bytes(ClientId::kSize)).value_or(ClientId());
  footer.version_id = static_cast<int64_t>(reader.Uint(8));
  footer.size_bytes = static_cast<int64_t>(reader.Uint(8));
  footer.encoded_size = static_cast<int64_t>(reader.Uint(8));
  footer.payload_size = static_cast<int64_t>(reader.Uint(8));
  footer.receive_time = absl::FromUnixMicros(static_cast<int64_t>(reader.Uint(8)));
  footer.checksum_kind = static_cast<ChecksumKind>(reader.Uint(1));
  footer.checksum = static_cast<uint32_t>(reader.Uint(4));
  footer.form = static_cast<StorageForm>(reader.Uint(1));
  footer.sha256 = std::string(reader.Bytes(kSha256Size));
  footer.file_name = reader.Sized();
  footer.cbc =
      footer.form == StorageForm::kClientFormat ? ReadFormat(reader) : FormatOf(footer.form);
  footer.wrapped_key = reader.Sized();
  const bool valid = reader.ok() && reader.AtEnd() && footer.size_bytes >= 0 &&
                     footer.encoded_size >= 0 &&
                     InRange(footer.checksum_kind, ChecksumKind::kCrc32OfPlaintext) &&
                     InRange(footer.form, StorageForm::kClientFormat) && IsValid(footer.cbc) &&
                     !footer.file_name.empty() && footer.file_name.size() <= kMaxNameSize &&
                     footer.wrapped_key.size() <= kMaxWrappedKeySize;
  if (!valid) return std::nullopt;
  return footer;
}

}  // namespace

StorageForm FormOf(const crypto::CbcFormat& format) {
  if (format == crypto::CbcFormat()) return StorageForm::kClientCiphertext;
  return format == kSizedSegments ? StorageForm::kClientSegments : StorageForm::kClientFormat;
}

std::string EncodeFooterFields(const BlobFooter& footer) {
  CHECK_EQ(footer.sha256.size(), kSha256Size);
  CHECK(!footer.file_name.empty() && footer.file_name.size() <= kMaxNameSize);
  std::string out(footer.client_id.bytes());
  AppendUint(static_cast<uint64_t>(footer.version_id), 8, out);
  AppendUint(static_cast<uint64_t>(footer.size_bytes), 8, out);
  AppendUint(static_cast<uint64_t>(footer.encoded_size), 8, out);
  AppendUint(static_cast<uint64_t>(footer.payload_size), 8, out);
  AppendUint(static_cast<uint64_t>(absl::ToUnixMicros(footer.receive_time)), 8, out);
  AppendUint(static_cast<uint64_t>(footer.checksum_kind), 1, out);
  AppendUint(footer.checksum, 4, out);
  AppendUint(static_cast<uint64_t>(footer.form), 1, out);
  out += footer.sha256;
  AppendSized(footer.file_name, out);
  if (footer.form == StorageForm::kClientFormat) AppendFormat(footer.cbc, out);
  return out;
}

std::string EncodeFooter(const BlobFooter& footer) {
  CHECK_LE(footer.wrapped_key.size(), kMaxWrappedKeySize);
  std::string out = EncodeFooterFields(footer);
  AppendSized(footer.wrapped_key, out);
  AppendTrailer(kMagic, out);
  CHECK_LE(out.size(), kMaxFooterSize);
  return out;
}

storage::Version VersionOf(const BlobFooter& footer) {
  storage::Version version;
  version.client_id = footer.client_id;
  version.file_name = footer.file_name;
  version.version_id = footer.version_id;
  version.size_bytes = footer.size_bytes;
  version.encoded_size = footer.encoded_size;
  version.checksum_kind = footer.checksum_kind;
  version.checksum = footer.checksum;
  version.sha256 = footer.sha256;
  version.receive_time = footer.receive_time;
  version.form = footer.form;
  return version;
}

absl::StatusOr<BlobFooter> ReadFooter(const RandomAccess& blob) {
  ASSIGN_OR_RETURN(const std::string fields, ReadFooterFields(blob, kMagic, kMaxFooterSize));
  std::optional<BlobFooter> footer = DecodeFooter(fields);
  if (!footer) return DamagedBlob("its footer makes no sense");
  const auto footer_size = static_cast<int64_t>(fields.size() + kFooterTrailerSize);
  if (footer->payload_size != blob.size_bytes() - footer_size)
    return DamagedBlob("its size is not what its footer says");
  return *std::move(footer);
}

}  // namespace backup::content
