#include "content/footer_fields.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/checksum.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::content {
namespace {

// What is read first: most footers need no second read.
constexpr int64_t kFirstRead = 1024;

uint32_t Crc(absl::string_view bytes) {
  Crc32 crc;
  crc.Update(bytes);
  return crc.Value();
}

absl::StatusOr<std::string> ReadTail(const RandomAccess& blob, int64_t size) {
  std::string tail(static_cast<size_t>(size), '\0');
  RETURN_IF_ERROR(blob.ReadAt(blob.size_bytes() - size, {tail.data(), tail.size()}));
  return tail;
}

}  // namespace

void AppendUint(uint64_t value, size_t size, std::string& out) {
  for (size_t i = 0; i < size; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

void AppendBytes(absl::string_view bytes, std::string& out) {
  out.append(bytes.data(), bytes.size());
}

void AppendSized(absl::string_view bytes, std::string& out) {
  AppendUint(bytes.size(), 2, out);
  AppendBytes(bytes, out);
}

void AppendTrailer(absl::string_view magic, std::string& fields) {
  CHECK_EQ(magic.size(), kFooterMagicSize);
  AppendUint(Crc(fields), 4, fields);
  AppendUint(fields.size() + 4 + kFooterMagicSize, 4, fields);
  AppendBytes(magic, fields);
}

absl::string_view FieldReader::Bytes(size_t size) {
  if (size > rest_.size()) {
    ok_ = false;
    rest_ = {};
    return {};
  }
  const absl::string_view field = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return field;
}

uint64_t FieldReader::Uint(size_t size) {
  uint64_t value = 0;
  const absl::string_view field = Bytes(size);
  for (size_t i = 0; i < field.size(); ++i)
    value |= uint64_t{static_cast<uint8_t>(field[i])} << (8 * i);
  return value;
}

absl::Status DamagedBlob(absl::string_view why) {
  return MakeError(Reason::kBlobDamaged, absl::StrCat("a stored blob is damaged: ", why));
}

absl::StatusOr<std::string> ReadFooterFields(const RandomAccess& blob, absl::string_view magic,
                                             size_t max_size) {
  const int64_t largest = std::min(blob.size_bytes(), static_cast<int64_t>(max_size));
  if (largest < static_cast<int64_t>(kFooterTrailerSize)) return DamagedBlob("it is too short");
  ASSIGN_OR_RETURN(std::string tail, ReadTail(blob, std::min(largest, kFirstRead)));
  FieldReader trailer(absl::string_view(tail).substr(tail.size() - kFooterTrailerSize));
  const uint64_t crc = trailer.Uint(4);
  const auto footer_size = static_cast<int64_t>(trailer.Uint(4));
  if (trailer.Bytes(kFooterMagicSize) != magic) return DamagedBlob("its end is missing");
  if (footer_size < static_cast<int64_t>(kFooterTrailerSize) || footer_size > largest)
    return DamagedBlob("its footer's size is impossible");
  if (footer_size > static_cast<int64_t>(tail.size())) {
    ASSIGN_OR_RETURN(tail, ReadTail(blob, footer_size));
  }
  const auto size = static_cast<size_t>(footer_size);
  std::string fields = tail.substr(tail.size() - size, size - kFooterTrailerSize);
  if (Crc(fields) != crc) return DamagedBlob("its footer was changed");
  return fields;
}

absl::StatusOr<int64_t> FooterSize(const RandomAccess& blob) {
  ASSIGN_OR_RETURN(const std::string tail, ReadTail(blob, kFooterTrailerSize));
  FieldReader trailer(tail);
  trailer.Uint(4);
  return static_cast<int64_t>(trailer.Uint(4));
}

}  // namespace backup::content
