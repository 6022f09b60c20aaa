#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"

namespace backup::content {

// What the footers of blobs have in common: fields, little-endian, and behind them a trailer: u32
// CRC-32 of the fields, u32 size of the footer with trailer, 8 bytes that name its kind.
inline constexpr size_t kFooterMagicSize = 8;
inline constexpr size_t kFooterTrailerSize = 4 + 4 + kFooterMagicSize;

void AppendUint(uint64_t value, size_t size, std::string& out);
void AppendBytes(absl::string_view bytes, std::string& out);
// With its size, two bytes, in front.
void AppendSized(absl::string_view bytes, std::string& out);
void AppendTrailer(absl::string_view magic, std::string& fields);

// Takes fields off the front; after the first that is not there, everything is empty and ok() is
// false.
class FieldReader {
 public:
  explicit FieldReader(absl::string_view bytes) : rest_(bytes) {}
  absl::string_view Bytes(size_t size);
  uint64_t Uint(size_t size);
  std::string Sized() { return std::string(Bytes(Uint(2))); }
  bool ok() const { return ok_; }
  bool AtEnd() const { return rest_.empty(); }
  size_t left() const { return rest_.size(); }

 private:
  absl::string_view rest_;
  bool ok_ = true;
};

// An error with reason BLOB_DAMAGED.
absl::Status DamagedBlob(absl::string_view why);

// The fields of the footer of this kind, of at most `max_size` bytes with trailer, at the end of
// `blob`, compared with their CRC. Reason BLOB_DAMAGED.
absl::StatusOr<std::string> ReadFooterFields(const RandomAccess& blob, absl::string_view magic,
                                             size_t max_size);

// What of a blob with such a footer, which was checked, that takes with trailer.
absl::StatusOr<int64_t> FooterSize(const RandomAccess& blob);

}  // namespace backup::content
