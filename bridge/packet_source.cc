#include "bridge/packet_source.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/name_text.h"
#include "base/status_macros.h"

namespace backup::bridge {
namespace {

constexpr uint64_t kCipherBlockSize = 16;

// What PKCS#7 padding makes of a plaintext's size.
uint64_t PaddedSize(uint64_t plaintext_size) {
  return (plaintext_size / kCipherBlockSize + 1) * kCipherBlockSize;
}

void AppendSize(uint32_t size, std::string& out) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(size >> shift));
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
                           const BodyLimits& limits)
    : connection_(connection),
      dialect_(dialect),
      client_id_(first.request.client_id),
      first_file_(std::get<wire::SendFile>(first.request.operation)),
      order_(order),
      limits_(limits),
      says_plaintext_size_(SaysPlaintextSize(first_file_, first.body_size)),
      is_stream_(order.total() == 1 || first_file_.content_size > first.body_size) {
  if (is_stream_) content_left_ = CiphertextSize(first_file_);
  status_ = Begin(first_file_, first.body_size);
}

absl::StatusOr<absl::string_view> PacketSource::Read() {
  buffer_.clear();
  if (status_.ok()) status_ = Fill();
  if (!status_.ok()) return status_;
  return buffer_;
}

uint64_t PacketSource::left() const {
  if (ended()) return 0;
  return std::max<uint64_t>(packet_ ? packet_->left() : 0, 1);
}

absl::Status PacketSource::Fill() {
  const MonotonicTime begin = MonotonicClock::now();
  while (!ended() && buffer_.size() < kPieceSize) {
    RETURN_IF_ERROR(TakePiece());
    RETURN_IF_ERROR(CheckRate(waited_ + absl::FromChrono(MonotonicClock::now() - begin)));
  }
  waited_ += absl::FromChrono(MonotonicClock::now() - begin);
  return absl::OkStatus();
}

// BodySource sees to it within a packet.
absl::Status PacketSource::CheckRate(absl::Duration waited) {
  const double least = absl::ToDoubleSeconds(waited) * limits_.least_bytes_per_second;
  if (waited < limits_.window || static_cast<double>(received_bytes_) >= least)
    return absl::OkStatus();
  return absl::DeadlineExceededError(absl::StrCat(
      "the client sent ", received_bytes_, " bytes in packets in ", absl::FormatDuration(waited)));
}

absl::Status PacketSource::TakePiece() {
  if (!packet_) return BeginNextPacket();
  if (std::exchange(segment_begins_, false))
    AppendSize(static_cast<uint32_t>(content_left_), buffer_);
  ASSIGN_OR_RETURN(const absl::string_view piece, packet_->Read());
  received_bytes_ += piece.size();
  const size_t content = std::min<uint64_t>(piece.size(), content_left_);
  buffer_.append(piece.data(), content);
  content_left_ -= content;
  if (packet_->left() > 0) return absl::OkStatus();
  packet_.reset();
  if (ended() && content_left_ > 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the packets hold ", content_left_, " bytes less than their content size"));
  }
  return absl::OkStatus();
}

absl::Status PacketSource::BeginNextPacket() {
  while (true) {
    ASSIGN_OR_RETURN(const wire::DecodedHead head, ReadHead());
    RETURN_IF_ERROR(CheckFollows(head));
    const auto& file = std::get<wire::SendFile>(head.request.operation);
    if (!order_.IsSurplus(*file.packet)) return Begin(file, head.body_size);
    BodySource surplus(connection_, head.body_size, limits_);
    while (surplus.left() > 0) RETURN_IF_ERROR(surplus.Read().status());
  }
}

absl::StatusOr<wire::DecodedHead> PacketSource::ReadHead() {
  while (true) {
    const absl::string_view bytes = connection_.buffered();
    const std::optional<wire::RequestHeader> header = wire::DecodeHeader(bytes);
    if (header && !dialect_.Claims(*header)) {
      return absl::InvalidArgumentError(
          absl::StrCat("request ", header->code, " comes between the packets of a file"));
    }
    ASSIGN_OR_RETURN(const std::optional<wire::DecodedHead> head, dialect_.DecodeHead(bytes));
    if (head) {
      connection_.Consume(head->head_size);
      return *head;
    }
    RETURN_IF_ERROR(connection_.WaitForBuffered(bytes.size() + 1, limits_.window));
  }
}

absl::Status PacketSource::CheckFollows(const wire::DecodedHead& head) const {
  const auto* file = std::get_if<wire::SendFile>(&head.request.operation);
  if (file == nullptr || !file->packet || head.request.client_id != client_id_) {
    return absl::InvalidArgumentError(
        absl::StrCat("request ", head.request.code, " comes between the packets of a file"));
  }
  if (file->name != first_file_.name) {
    return absl::InvalidArgumentError(absl::StrCat("a packet of ", NameToText(file->name),
                                                   " comes between those of ",
                                                   NameToText(first_file_.name)));
  }
  if (order_.IsSurplus(*file->packet)) return absl::OkStatus();
  const int number = order_.NumberOf(*file->packet);
  if (number != number_ + 1 || order_.TotalOf(*file->packet) != order_.total()) {
    return absl::InvalidArgumentError(
        absl::StrCat("packet ", number, " of ", order_.TotalOf(*file->packet),
                     " comes after packet ", number_, " of ", order_.total()));
  }
  // The original size is the packet's with some clients and the file's with others.
  if (!is_stream_ || file->content_size == first_file_.content_size) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("packet ", number, " tells another size of the file than the first"));
}

uint64_t PacketSource::CiphertextSize(const wire::SendFile& file) const {
  return says_plaintext_size_ ? PaddedSize(file.content_size) : uint64_t{file.content_size};
}

absl::Status PacketSource::Begin(const wire::SendFile& file, uint64_t body_size) {
  ++number_;
  packet_ = std::make_unique<BodySource>(connection_, body_size, limits_);
  if (is_stream_) return absl::OkStatus();
  const uint64_t size = CiphertextSize(file);
  if (size > body_size || size == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "packet ", number_, " has ", body_size, " bytes of content, but says ", file.content_size));
  }
  content_left_ = size;
  segment_begins_ = true;
  return absl::OkStatus();
}

}  // namespace backup::bridge
