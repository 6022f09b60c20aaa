#include "bridge/upload/packet_source.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace backup::bridge {
namespace {

constexpr uint64_t kCipherBlockSize = 16;

// What PKCS#7 padding makes of a plaintext's size.
uint64_t PaddedSize(uint64_t plaintext_size) {
  return (plaintext_size / kCipherBlockSize + 1) * kCipherBlockSize;
}

// Whether the content sizes of a client are those of the plaintext, by its first packet: a
// ciphertext is whole blocks and larger than the original, and fills a packet that is not padded.
bool SaysPlaintextSize(const wire::SendFile& file, uint64_t body_size) {
  return file.content_size % kCipherBlockSize != 0 ||
         file.content_size == file.packet->original_size ||
         PaddedSize(file.content_size) == body_size;
}

}  // namespace

absl::StatusOr<PacketOrder> PacketOrder::OfFirst(const wire::Packet& packet) {
  if (packet.number == 1) return PacketOrder(packet.total, false);
  if (packet.total == 1) return PacketOrder(packet.number, true);
  return absl::InvalidArgumentError(
      absl::StrCat("a file begins with packet ", packet.number, " of ", packet.total));
}

PacketSource::PacketSource(Connection& connection, const wire::Dialect& dialect,
                           const wire::DecodedHead& first, const PacketOrder& order,
                           const BodyLimits& limits, BodyBudget& budget)
    : PartsSource(connection, dialect, first, limits, budget),
      order_(order),
      says_plaintext_size_(SaysPlaintextSize(first_file(), first.body_size)),
      is_stream_(order.total() == 1 || first_file().content_size > first.body_size) {
  if (is_stream_) set_content_left(CiphertextSize(first_file()));
  set_status(Begin(first_file(), first.body_size));
}

absl::Status PacketSource::BeginNext() {
  while (true) {
    ASSIGN_OR_RETURN(const wire::DecodedHead head, ReadNextHead());
    const auto& file = std::get<wire::SendFile>(head.request.operation);
    if (!order_.IsSurplus(*file.packet)) {
      RETURN_IF_ERROR(CheckFollows(file));
      return Begin(file, head.body_size);
    }
    RETURN_IF_ERROR(Skip(head.body_size));
  }
}

absl::Status PacketSource::EndPart() {
  if (!is_last() || content_left() == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the packets hold ", content_left(), " bytes less than their content size"));
}

absl::Status PacketSource::CheckFollows(const wire::SendFile& file) const {
  const int number = order_.NumberOf(*file.packet);
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

uint64_t PacketSource::CiphertextSize(const wire::SendFile& file) const {
  return says_plaintext_size_ ? PaddedSize(file.content_size) : uint64_t{file.content_size};
}

absl::Status PacketSource::Begin(const wire::SendFile& file, uint64_t body_size) {
  ++number_;
  if (is_stream_) {
    BeginPart(body_size);
    return absl::OkStatus();
  }
  const uint64_t size = CiphertextSize(file);
  if (size > body_size || size == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "packet ", number_, " has ", body_size, " bytes of content, but says ", file.content_size));
  }
  BeginSegment(body_size, size);
  return absl::OkStatus();
}

}  // namespace backup::bridge
