#include "bridge/service/methods.h"

namespace backup::bridge {
namespace {

// An upload may take this long, and more with its size at the least rate.
constexpr absl::Duration kLeastDeadline = absl::Seconds(30);
constexpr int64_t kLeastBytesPerSecond = 1024;
// What an upload in segments may have: 32 bits count it in the legacy protocol.
constexpr int64_t kMaxSegmentedSize = int64_t{1} << 32;

}  // namespace

bool InSegments(const v1::UploadFileHeader& header) {
  return header.encoding() == v1::UploadFileHeader::AES_CBC_ZERO_IV_SEGMENTS ||
         header.encoding() == v1::UploadFileHeader::AES_CBC_SEGMENTS;
}

absl::Duration UploadDeadline(const v1::UploadFileHeader& header) {
  const int64_t size = InSegments(header) ? kMaxSegmentedSize : header.encoded_size();
  return kLeastDeadline + absl::Seconds(size / kLeastBytesPerSecond);
}

}  // namespace backup::bridge
