// A file request, after the header:
//
//   content size u32, original size u32, packet number u16, total packets u16, file name 255,
//   content of this packet
#include "bridge/wire/packet.h"

#include "bridge/wire/byte_reader.h"
#include "bridge/wire/fields.h"

namespace backup::wire {
namespace {

constexpr size_t kFieldsSize = 4 + 4 + 2 + 2 + kNameFieldSize;

}  // namespace

absl::StatusOr<std::optional<DecodedHead>> DecodePacket(const RequestHeader& header,
                                                        absl::string_view payload) {
  if (payload.size() < kFieldsSize) return std::nullopt;
  ByteReader reader(payload);
  SendFile file;
  Packet packet;
  file.content_size = reader.U32();
  packet.original_size = reader.U32();
  packet.number = reader.U16();
  packet.total = reader.U16();
  file.packet = packet;
  file.name_field = std::string(reader.Bytes(kNameFieldSize));
  file.name = CutAtNul(file.name_field);
  if (packet.number == 0 || packet.total == 0)
    return WrongSize(header, "packets and their totals are counted from 1");
  if (header.payload_size > kFieldsSize) {
    file.size_style = "counted";
    return MakeHead(header, std::move(file), kFieldsSize, header.payload_size - kFieldsSize);
  }
  file.size_style = header.payload_size == kFieldsSize ? "not counted" : "truncated";
  if (file.content_size == 0) return WrongSize(header, "no content, and a content size of 0");
  const uint64_t size = file.content_size;
  return MakeHead(header, std::move(file), kFieldsSize, size);
}

}  // namespace backup::wire
