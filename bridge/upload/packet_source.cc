#include "bridge/upload/packet_source.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "bridge/wire/content_size.h"

namespace backup::bridge {
namespace {

using wire::PacketTraits;
using wire::SizeOf;

constexpr uint64_t kVectorSize = 16;
constexpr uint64_t kCipherBlockSize = 16;

// Whether the content sizes of a client are those of the plaintext, by its first packet. Where the
// dialect leaves it open: a ciphertext is whole blocks and larger than the original, and fills a
// packet that is not padded.
bool SaysPlaintextSize(const wire::SendFile& file, uint64_t body_size,
                       const wire::ContentTraits& traits) {
  if (traits.content_size_of != SizeOf::kEither)
    return traits.content_size_of == SizeOf::kPlaintext;
  if (file.content_size > wire::kMaxContentSize) return false;  // Refused.
  const uint64_t size = wire::CountedBy(traits, file.content_size).value_or(0);
  return size % kCipherBlockSize != 0 || size == file.packet->original_size ||
         wire::CiphertextSize(traits, size) == body_size;
}

absl::Status SizesDisagree(uint64_t number, uint64_t body_size, uint64_t content_size) {
  return absl::InvalidArgumentError(absl::StrCat("packet ", number, " has ", body_size,
                                                 " bytes of content, but says ", content_size));
}

}  // namespace

absl::StatusOr<PacketOrder> PacketOrder::OfFirst(const wire::Packet& packet,
                                                 const PacketTraits& traits) {
  const bool swapped = packet.number != 1 && packet.total == 1 && traits.numbers_may_be_swapped;
  const PacketOrder order(swapped ? packet.number : packet.total, swapped,
                          traits.surplus_is_ignored);
  if (order.NumberOf(packet) == 1 && order.total_ >= 1 && order.total_ <= kMaxPackets) return order;
  return absl::InvalidArgumentError(
      absl::StrCat("a file begins with packet ", packet.number, " of ", packet.total));
}

PacketSource::PacketSource(const PartsInput& input, const wire::DecodedHead& first,
                           const PacketOrder& order)
    : PartsSource(input, first),
      traits_(input.dialect.content()),
      order_(order),
      first_body_size_(first.body_size),
      says_plaintext_size_(SaysPlaintextSize(first_file(), first.body_size, traits_)) {
  set_status(BeginFirst(first));
}

absl::Status PacketSource::BeginFirst(const wire::DecodedHead& first) {
  ASSIGN_OR_RETURN(const uint64_t content, ContentSize(first_file(), first.body_size));
  const auto encryption = traits_.packets->encryption;
  is_stream_ = order_.total() == 1 || encryption == PacketTraits::Encryption::kOneStream ||
               (encryption == PacketTraits::Encryption::kBySize && content > first.body_size);
  if (is_stream_) {
    if (traits_.content_size_of == SizeOf::kNothing && order_.total() > 1)
      return absl::InvalidArgumentError("nothing tells the size of all packets together");
    stream_size_ = content;
    set_content_left(content);
  } else if (order_.total() > kMaxSegments) {
    return absl::InvalidArgumentError(absl::StrCat("a file has ", order_.total(),
                                                   " packets that are encrypted on their own; at "
                                                   "most ",
                                                   kMaxSegments, " can be"));
  }
  return Begin(first);
}

std::optional<uint64_t> PacketSource::plaintext_size() const {
  // Some clients say the size of the packet's part there.
  const std::optional<uint64_t> said = first_file().plaintext_size;
  if (!said || *said > wire::kMaxContentSize) return std::nullopt;
  const bool is_all =
      is_stream_ ? wire::CiphertextSize(traits_, *said) == stream_size_
                 : *said + (traits_.initial_vector_in_front ? kVectorSize : 0) > first_body_size_;
  return is_all ? said : std::nullopt;
}

absl::Status PacketSource::BeginNext() {
  while (true) {
    ASSIGN_OR_RETURN(const wire::DecodedHead packet, ReadNextHead());
    const auto& file = std::get<wire::SendFile>(packet.request.operation);
    if (!order_.IsSurplus(*file.packet)) {
      RETURN_IF_ERROR(CheckFollows(file));
      return Begin(packet);
    }
    RETURN_IF_ERROR(Skip(packet));
  }
}

absl::Status PacketSource::EndPart() {
  if (!is_last() || content_left() == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the packets hold ", content_left(), " bytes less than their content size"));
}

absl::Status PacketSource::CheckFollows(const wire::SendFile& file) const {
  const uint64_t number = order_.NumberOf(*file.packet);
  if (number != number_ + 1 || order_.TotalOf(*file.packet) != order_.total()) {
    return absl::InvalidArgumentError(
        absl::StrCat("packet ", number, " of ", order_.TotalOf(*file.packet),
                     " comes after packet ", number_, " of ", order_.total()));
  }
  // The original size is the packet's with some clients and the file's with others.
  if (!is_stream_ || file.content_size == first_file().content_size) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("packet ", number, " tells another size of the file than the first"));
}

absl::StatusOr<uint64_t> PacketSource::ContentSize(const wire::SendFile& file,
                                                   uint64_t body_size) const {
  if (traits_.content_size_of == SizeOf::kNothing) return body_size;
  const std::optional<uint64_t> size = wire::CountedBy(traits_, file.content_size);
  if (!size) return SizesDisagree(number_ + 1, body_size, file.content_size);
  return says_plaintext_size_ ? wire::CiphertextSize(traits_, *size) : *size;
}

absl::Status PacketSource::Begin(const wire::DecodedHead& packet) {
  ++number_;
  if (is_stream_) {
    const bool is_short = is_last() && number_ > 1 && !traits_.packets->last_is_filled;
    const uint64_t body = is_short ? std::min(packet.body_size, content_left()) : packet.body_size;
    BeginPart(packet.head_size + body, body);
    return absl::OkStatus();
  }
  const auto& file = std::get<wire::SendFile>(packet.request.operation);
  ASSIGN_OR_RETURN(const uint64_t size, ContentSize(file, packet.body_size));
  if (size > packet.body_size || size == 0)
    return SizesDisagree(number_, packet.body_size, file.content_size);
  return BeginSegment(packet.head_size + packet.body_size, packet.body_size, size);
}

}  // namespace backup::bridge
