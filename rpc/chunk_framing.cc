#include "rpc/chunk_framing.h"

#include <cstdint>
#include <utility>

namespace backup::rpc {
namespace {

// Protobuf's wire format: a field of type bytes begins with its number and type, and its size as a
// varint, 7 bits a byte, least significant first (protobuf.dev/programming-guides/encoding).
constexpr int kBytesType = 2;
constexpr size_t kMaxVarintSize = 4;

absl::string_view View(const grpc::Slice& slice) {
  return absl::string_view(reinterpret_cast<const char*>(slice.begin()), slice.size());
}

char Tag(int field_number) { return static_cast<char>(field_number << 3 | kBytesType); }

}  // namespace

std::string ChunkPrefix(int field_number, size_t size) {
  std::string prefix(1, Tag(field_number));
  for (; size > 0x7F; size >>= 7) prefix.push_back(static_cast<char>(size | 0x80));
  prefix.push_back(static_cast<char>(size));
  return prefix;
}

std::optional<size_t> ChunkPrefixSize(int field_number, absl::string_view begin,
                                      size_t message_size) {
  if (begin.empty() || begin[0] != Tag(field_number)) return std::nullopt;
  size_t chunk_size = 0;
  for (size_t i = 1; i < begin.size() && i <= kMaxVarintSize; ++i) {
    const auto byte = static_cast<uint8_t>(begin[i]);
    chunk_size |= size_t{byte & 0x7FU} << (7 * (i - 1));
    if ((byte & 0x80) != 0) continue;
    if (i + 1 + chunk_size != message_size) return std::nullopt;
    return i + 1;
  }
  return std::nullopt;
}

bool ChunkSlices::Take(const grpc::ByteBuffer& message) {
  slices_.clear();
  next_ = 0;
  size_bytes_ = 0;
  if (!message.Dump(&slices_).ok() || slices_.empty()) return false;
  const std::optional<size_t> prefix_size =
      ChunkPrefixSize(field_number_, View(slices_.front()), message.Length());
  if (!prefix_size) {
    slices_.clear();
    return false;
  }
  skip_ = *prefix_size;
  size_bytes_ = message.Length() - skip_;
  return true;
}

absl::string_view ChunkSlices::Next() {
  while (next_ < slices_.size()) {
    const absl::string_view bytes = View(slices_[next_++]).substr(std::exchange(skip_, 0));
    if (!bytes.empty()) return bytes;
  }
  return absl::string_view();
}

}  // namespace backup::rpc
