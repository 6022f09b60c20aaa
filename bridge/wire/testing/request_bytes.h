#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "bridge/wire/byte_writer.h"
#include "bridge/wire/dialect.h"

namespace backup::wire {

// A whole request, header first, in the bytes of a dialect.
inline std::string RequestBytes(const RequestHeader& header, absl::string_view payload) {
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
