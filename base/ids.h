#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace backup {

// Bytes, 16 as a rule, that identify something. Two kinds of ids are two types.
template <typename Tag, size_t kBytes = 16>
class Id {
 public:
  static constexpr size_t kSize = kBytes;

  Id() = default;  // All zero: no id that we hand out.

  // Nothing if `bytes` is not exactly kSize bytes.
  static std::optional<Id> FromBytes(absl::string_view bytes) {
    if (bytes.size() != kSize) return std::nullopt;
    Id id;
    std::copy(bytes.begin(), bytes.end(), id.bytes_.begin());
    return id;
  }

  absl::string_view bytes() const { return {bytes_.data(), bytes_.size()}; }

  friend bool operator==(const Id&, const Id&) = default;
  // Bytewise as unsigned numbers, the order that SQLite has for blobs.
  friend std::strong_ordering operator<=>(const Id& a, const Id& b) {
    return a.bytes().compare(b.bytes()) <=> 0;
  }
  template <typename H>
  friend H AbslHashValue(H h, const Id& id) {
    return H::combine(std::move(h), id.bytes_);
  }

 private:
  std::array<char, kSize> bytes_ = {};
};

using ClientId = Id<struct ClientIdTag>;    // Text: UUID.
using UploadId = Id<struct UploadIdTag>;    // Text: UUID.
using BlobId = Id<struct BlobIdTag>;        // Text: 32 hex digits.
using OwnerId = Id<struct OwnerIdTag>;      // One run of a process that stores blobs.
using ChunkId = Id<struct ChunkIdTag, 32>;  // A keyed digest of a chunk's plaintext.

// Canonical lower-case UUID text of 16 bytes. Dies on any other size.
std::string ToUuidText(absl::string_view bytes);
// The 16 bytes of UUID text in either case; nothing if it is not one.
std::optional<std::string> FromUuidText(absl::string_view text);

// 32 lower-case hex digits, and back.
std::string ToHex(const BlobId& id);
std::optional<BlobId> BlobIdFromHex(absl::string_view hex);

template <typename Tag>
std::string ToUuid(const Id<Tag>& id) {
  return ToUuidText(id.bytes());
}
template <typename IdType>
std::optional<IdType> FromUuid(absl::string_view text) {
  const std::optional<std::string> bytes = FromUuidText(text);
  if (!bytes) return std::nullopt;
  return IdType::FromBytes(*bytes);
}

}  // namespace backup
