#include "legacy_client/packets.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "legacy_client/cipher.h"
#include "legacy_client/encrypted_file.h"

namespace backup::legacy_client {
namespace {

// The extra packet's number needs room too.
constexpr int64_t kMaxPackets = std::numeric_limits<uint16_t>::max() - 1;

// An empty file is one packet.
int64_t CountPackets(const ClientStyle& style, int64_t plaintext_size) {
  const int64_t size =
      style.file_style == FileStyle::kChunks ? plaintext_size : EncryptedSize(plaintext_size);
  return std::max<int64_t>((size + *style.packet_size - 1) / *style.packet_size, 1);
}

// How much of `size` bytes the packet at `index` takes; nothing after the last one.
int64_t Slice(int64_t size, int64_t packet_size, int64_t index) {
  return std::clamp<int64_t>(size - index * packet_size, 0, packet_size);
}

}  // namespace

absl::StatusOr<std::unique_ptr<FilePlan>> Packets::Plan(const ClientStyle& style,
                                                        PlannedFile file) {
  if (EncryptedSize(file.plaintext_size) > kMaxFieldValue) {
    return absl::InvalidArgumentError("the protocol has no room for files of 4 GiB and more");
  }
  if (CountPackets(style, file.plaintext_size) > kMaxPackets) {
    return absl::InvalidArgumentError(
        absl::StrCat("more than ", kMaxPackets, " packets: raise --packet_size"));
  }
  return std::unique_ptr<FilePlan>(new Packets(style, std::move(file)));
}

Packets::Packets(const ClientStyle& style, PlannedFile file)
    : style_(style), file_(std::move(file)), total_(CountPackets(style, file_.plaintext_size)) {}

std::optional<FilePart> Packets::Part(int64_t index) const {
  const bool is_extra = index == total_ && style_.extra_packet;
  if (index >= total_ && !is_extra) return std::nullopt;
  const Sizes sizes = SizesOf(index);
  const int64_t body_size = style_.pad_packets ? FullContentSize()
                            : is_extra         ? int64_t{kCipherBlockSize}
                                               : sizes.content_size;
  PacketHead head;
  head.payload_size = FileFieldsSize(file_.sender.family) + body_size;
  head.content_size = sizes.claimed_content_size;
  head.original_size = sizes.original_size;
  head.first = static_cast<uint16_t>(index + 1);
  head.second = static_cast<uint16_t>(total_);
  if (style_.swap_packet_fields) std::swap(head.first, head.second);
  return FilePart{EncodePacketHead(file_.sender, head, file_.name), sizes.content_size,
                  body_size - sizes.content_size};
}

Packets::Sizes Packets::SizesOf(int64_t index) const {
  return style_.file_style == FileStyle::kChunks ? SizesOfChunk(index) : SizesOfSlice(index);
}

// The extra packet claims to be an empty chunk; its body is zero bytes, for nobody decrypts it.
Packets::Sizes Packets::SizesOfChunk(int64_t index) const {
  const int64_t plaintext_size = Slice(file_.plaintext_size, *style_.packet_size, index);
  const int64_t ciphertext_size = EncryptedSize(plaintext_size);
  Sizes sizes;
  sizes.content_size = index < total_ ? ciphertext_size : 0;
  sizes.claimed_content_size =
      style_.content_size == ContentSize::kPlaintext ? plaintext_size : ciphertext_size;
  sizes.original_size =
      style_.original_size == OriginalSize::kPacket ? plaintext_size : file_.plaintext_size;
  return sizes;
}

Packets::Sizes Packets::SizesOfSlice(int64_t index) const {
  const int64_t ciphertext_size = EncryptedSize(file_.plaintext_size);
  return {Slice(ciphertext_size, *style_.packet_size, index), ciphertext_size,
          file_.plaintext_size};
}

int64_t Packets::FullContentSize() const {
  return style_.file_style == FileStyle::kChunks ? EncryptedSize(*style_.packet_size)
                                                 : *style_.packet_size;
}

}  // namespace backup::legacy_client
