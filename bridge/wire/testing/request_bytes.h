#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "base/ids.h"
#include "bridge/wire/testing/byte_writer.h"

// Requests of the published protocol: a header of 23 bytes, little-endian.
namespace backup::wire {

inline constexpr size_t kRequestHeaderSize = 23;
inline constexpr size_t kReplyHeaderSize = 7;
inline constexpr size_t kNameFieldSize = 255;

struct RequestFields {
  ClientId client_id;
  uint8_t version = 3;
  uint16_t code = 0;
  uint32_t payload_size = 0;
};

// A whole request, header first.
inline std::string RequestBytes(const RequestFields& header, absl::string_view payload) {
  return ByteWriter()
      .Bytes(header.client_id.bytes())
      .U8(header.version)
      .U16(header.code)
      .U32(header.payload_size)
      .Bytes(payload)
      .Take();
}

// A name as a field of 255 bytes: the name, a NUL, and whatever the client's memory held.
inline std::string NameField(const std::string& name) {
  std::string field = name + std::string(1, '\0');
  field.resize(kNameFieldSize, '#');
  return field;
}

}  // namespace backup::wire
