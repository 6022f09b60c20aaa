#include "bridge/wire/fields.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace backup::wire {

std::string CutAtNul(absl::string_view field) {
  return std::string(field.substr(0, field.find('\0')));
}

uint32_t CutAtZeroByte(uint32_t value) {
  uint32_t kept = 0;
  for (int shift = 0; shift < 32 && (value >> shift & 0xFF) != 0; shift += 8) {
    kept |= value & (uint32_t{0xFF} << shift);
  }
  return kept;
}

absl::Status WrongSize(const RequestHeader& header, absl::string_view rule) {
  return absl::InvalidArgumentError(absl::StrCat("request ", header.code, " with a payload of ",
                                                 header.payload_size, " bytes: ", rule));
}

DecodedHead MakeHead(const RequestHeader& header, Operation operation, size_t payload_size,
                     uint64_t body_size) {
  return {{header.client_id, header.version, header.code, std::move(operation), {}},
          kRequestHeaderSize + payload_size,
          body_size};
}

}  // namespace backup::wire
