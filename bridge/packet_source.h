#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bridge/connection.h"
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

// The content of a file that comes in packets, each a request of its own on the connection: those
// after the first are read, decoded and checked here as they come. What it yields is the
// ciphertext, if the client has cut one stream into slices; or segments as UploadFileHeader
// describes them, if each packet is encrypted on its own. Errors: as BodySource, and
// InvalidArgument, naming the rule, for a packet that does not follow the one before it. Used by
// one thread at a time.
class PacketSource final : public Body {
 public:
  // `first` is a decoded SendFile with a packet, in `order`. Its body has not been read.
  PacketSource(Connection& connection, const wire::Dialect& dialect, const wire::DecodedHead& first,
               const PacketOrder& order, const BodyLimits& limits);

  // How many segments it yields; 0 if it yields one stream.
  int segment_count() const { return is_stream_ ? 0 : order_.total(); }
  // The size of the stream; 0 if it yields segments.
  uint64_t stream_size() const { return is_stream_ ? CiphertextSize(first_file_) : 0; }

  // Of all packets so far, with their padding.
  uint64_t received_bytes() const { return received_bytes_; }

  absl::StatusOr<absl::string_view> Read() override;
  uint64_t left() const override;
  const absl::Status& status() const override { return status_; }

 private:
  // Fills buffer_ as far as pieces go; empty at the end.
  absl::Status Fill();
  // Takes bytes of the present packet into buffer_; begins the next one at its end.
  absl::Status TakePiece();
  absl::Status BeginNextPacket();
  // Whether the client was fast enough in the time that was spent waiting for it.
  absl::Status CheckRate(absl::Duration waited);
  absl::StatusOr<wire::DecodedHead> ReadHead();
  // Whether the packet belongs to this file and is the next one.
  absl::Status CheckFollows(const wire::DecodedHead& head) const;
  absl::Status Begin(const wire::SendFile& file, uint64_t body_size);
  // Of what the packet says to be the size of its content.
  uint64_t CiphertextSize(const wire::SendFile& file) const;
  bool ended() const { return !packet_ && number_ == order_.total(); }

  Connection& connection_;
  const wire::Dialect& dialect_;
  const ClientId client_id_;
  const wire::SendFile first_file_;
  const PacketOrder order_;
  const BodyLimits limits_;
  const bool says_plaintext_size_;
  const bool is_stream_;
  int number_ = 0;                      // Of the present packet.
  std::unique_ptr<BodySource> packet_;  // What is left of it.
  uint64_t content_left_ =
      0;  // Of the stream, or of the present segment; what else comes is padding.
  bool segment_begins_ = false;
  absl::Duration waited_;
  uint64_t received_bytes_ = 0;
  std::string buffer_;
  absl::Status status_;
};

}  // namespace backup::bridge
