#pragma once

#include <cstdint>
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
  // No file has more.
  static constexpr uint64_t kMaxPackets = 0xFFFF'FFFF;

  // That of a file that begins with this packet. InvalidArgument if no file can.
  static absl::StatusOr<PacketOrder> OfFirst(const wire::Packet& packet,
                                             const wire::PacketTraits& traits);

  uint64_t total() const { return total_; }
  uint64_t NumberOf(const wire::Packet& packet) const {
    return swapped_ ? packet.total : packet.number;
  }
  uint64_t TotalOf(const wire::Packet& packet) const {
    return swapped_ ? packet.number : packet.total;
  }
  // Whether it comes after the last and is to be ignored.
  bool IsSurplus(const wire::Packet& packet) const {
    return surplus_is_ignored_ && NumberOf(packet) > total_;
  }

 private:
  PacketOrder(uint64_t total, bool swapped, bool surplus_is_ignored)
      : total_(total), swapped_(swapped), surplus_is_ignored_(surplus_is_ignored) {}

  uint64_t total_;
  bool swapped_;
  bool surplus_is_ignored_;
};

// The content of a file that comes in packets: one stream that the client has cut into slices, or a
// segment from each packet that is encrypted on its own.
class PacketSource final : public PartsSource {
 public:
  // `first` is a decoded SendFile with a packet, in `order`, of a dialect that has packets. Its
  // body has not been read.
  PacketSource(const PartsInput& input, const wire::DecodedHead& first, const PacketOrder& order);

  // How many segments it yields; nothing if it yields one stream.
  std::optional<int> segment_count() const {
    return is_stream_ ? std::nullopt : std::optional(static_cast<int>(order_.total()));
  }
  // The size of the stream; 0 if it yields segments.
  uint64_t stream_size() const { return stream_size_; }
  // Of the whole file, if the client says it and it is relied on.
  std::optional<uint64_t> plaintext_size() const;

 private:
  bool is_last() const override { return number_ == order_.total(); }
  absl::Status BeginNext() override;
  absl::Status EndPart() override;

  absl::Status BeginFirst(const wire::DecodedHead& first);
  absl::Status Begin(const wire::DecodedHead& packet);
  // Whether the packet is the next one of this file.
  absl::Status CheckFollows(const wire::SendFile& file) const;
  // Of the encrypted content that the packet, or all together, say to have; InvalidArgument if that
  // cannot be. `body_size` is what the packet has.
  absl::StatusOr<uint64_t> ContentSize(const wire::SendFile& file, uint64_t body_size) const;

  const wire::ContentTraits& traits_;
  const PacketOrder order_;
  const uint64_t first_body_size_;
  const bool says_plaintext_size_;
  bool is_stream_ = true;
  uint64_t stream_size_ = 0;
  uint64_t number_ = 0;  // Of the present packet.
};

}  // namespace backup::bridge
