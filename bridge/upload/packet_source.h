#pragma once

#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bridge/upload/parts_source.h"
#include "bridge/wire/dialect.h"

namespace backup::bridge {

// The packets of a file, as far as one connection has shown them. Some clients swap the fields for
// number and total, and some send one packet too many: docs/wire-protocol.md, "Packets".
class PacketOrder {
 public:
  // That of a file that begins with this packet. InvalidArgument if no file can.
  static absl::StatusOr<PacketOrder> OfFirst(const wire::Packet& packet);

  int total() const { return total_; }
  bool swapped() const { return swapped_; }
  int NumberOf(const wire::Packet& packet) const { return swapped_ ? packet.total : packet.number; }
  int TotalOf(const wire::Packet& packet) const { return swapped_ ? packet.number : packet.total; }
  // Whether it comes after the last.
  bool IsSurplus(const wire::Packet& packet) const { return NumberOf(packet) > total_; }

 private:
  PacketOrder(int total, bool swapped) : total_(total), swapped_(swapped) {}

  int total_;
  bool swapped_;
};

// The content of a file that comes in packets: one stream that the client has cut into slices, or a
// segment from each packet that is encrypted on its own.
class PacketSource final : public PartsSource {
 public:
  // `first` is a decoded SendFile with a packet, in `order`. Its body has not been read.
  PacketSource(Connection& connection, const wire::Dialect& dialect, const wire::DecodedHead& first,
               const PacketOrder& order, const BodyLimits& limits, BodyBudget& budget);

  // How many segments it yields; nothing if it yields one stream.
  std::optional<int> segment_count() const {
    return is_stream_ ? std::nullopt : std::optional(order_.total());
  }
  // The size of the stream; 0 if it yields segments.
  uint64_t stream_size() const { return is_stream_ ? CiphertextSize(first_file()) : 0; }

 private:
  bool is_last() const override { return number_ == order_.total(); }
  absl::Status BeginNext() override;
  absl::Status EndPart() override;

  // Whether the packet is the next one of this file.
  absl::Status CheckFollows(const wire::SendFile& file) const;
  absl::Status Begin(const wire::SendFile& file, uint64_t body_size);
  // Of what the packet says to be the size of its content.
  uint64_t CiphertextSize(const wire::SendFile& file) const;

  const PacketOrder order_;
  const bool says_plaintext_size_;
  const bool is_stream_;
  int number_ = 0;  // Of the present packet.
};

}  // namespace backup::bridge
