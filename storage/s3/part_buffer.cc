#include "storage/s3/part_buffer.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/escaping.h"
#include "base/byte_stream.h"

namespace backup::storage::s3 {

bool PartBuffer::TakeRoom(int64_t bytes, absl::Duration patience) {
  if (!memory_.Take(bytes, patience, purpose_)) return false;
  purpose_ = MemoryBound::For::kGoingOn;
  taken_bytes_ += bytes;
  return true;
}

size_t PartBuffer::Append(absl::string_view bytes) {
  bytes = bytes.substr(0, static_cast<size_t>(room()));
  const size_t appended = bytes.size();
  while (!bytes.empty()) {
    const int64_t at = size_bytes_ % kSlabSize;
    if (at == 0) slabs_.push_back(TakeAlignedBuffer(static_cast<size_t>(kSlabSize)));
    // Hashed while it is in the nearest cache.
    const size_t size = std::min({bytes.size(), static_cast<size_t>(kSlabSize - at), kHotSize});
    char* const copy = slabs_.back().get() + at;
    std::memcpy(copy, bytes.data(), size);
    sha256_.Update(absl::string_view(copy, size));
    size_bytes_ += static_cast<int64_t>(size);
    bytes.remove_prefix(size);
  }
  return appended;
}

std::vector<absl::string_view> PartBuffer::Pieces() const {
  std::vector<absl::string_view> pieces;
  for (const AlignedBuffer& slab : slabs_) {
    const int64_t before = static_cast<int64_t>(pieces.size()) * kSlabSize;
    pieces.emplace_back(slab.get(), static_cast<size_t>(std::min(kSlabSize, size_bytes_ - before)));
  }
  return pieces;
}

std::string PartBuffer::FinishSha256() { return absl::BytesToHexString(sha256_.Finish()); }

}  // namespace backup::storage::s3
