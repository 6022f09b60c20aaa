#include "legacy_client/whole_file.h"

#include "legacy_client/encrypted_file.h"

namespace backup::legacy_client {
namespace {

// What is left of an integer, little-endian, that its sender treats as a C string.
int64_t CutAtFirstZeroByte(int64_t value) {
  int bits = 0;
  while (((value >> bits) & 0xFF) != 0) bits += 8;
  return value & ((int64_t{1} << bits) - 1);
}

int64_t ClaimedPayloadSize(FileStyle style, int64_t fields_size, int64_t content_size) {
  if (style == FileStyle::kUncounted) return fields_size;
  const int64_t counted = fields_size + content_size;
  return style == FileStyle::kTruncated ? CutAtFirstZeroByte(counted) : counted;
}

}  // namespace

absl::StatusOr<std::unique_ptr<FilePlan>> WholeFile::Plan(const ClientStyle& style,
                                                          PlannedFile file) {
  const int64_t fields_size = FileFieldsSize(file.sender.family);
  const int64_t content_size = EncryptedSize(file.plaintext_size);
  const int64_t counted = fields_size + content_size;
  const bool is_counted = style.file_style != FileStyle::kUncounted;
  if ((is_counted ? counted : content_size) > kMaxFieldValue) {
    return absl::InvalidArgumentError("the protocol has no room for files of 4 GiB and more");
  }
  FileHead head;
  head.payload_size = ClaimedPayloadSize(*style.file_style, fields_size, content_size);
  if (head.payload_size > fields_size && head.payload_size != counted) {
    return absl::InvalidArgumentError(
        "cut at its first zero byte, the payload size of a file of this size would mislead the "
        "server");
  }
  head.content_size =
      style.content_size == ContentSize::kPlaintext ? file.plaintext_size : content_size;
  return std::unique_ptr<FilePlan>(new WholeFile(std::move(file), head));
}

std::optional<FilePart> WholeFile::Part(int64_t index) const {
  if (index > 0) return std::nullopt;
  return FilePart{EncodeFileHead(file_.sender, head_, file_.name),
                  EncryptedSize(file_.plaintext_size), 0};
}

}  // namespace backup::legacy_client
