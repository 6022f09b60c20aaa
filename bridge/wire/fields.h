#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "bridge/wire/dialect.h"

// What the decoders of all request kinds have in common.
namespace backup::wire {

// The bytes before the first NUL; all of them if there is none.
std::string CutAtNul(absl::string_view field);

// What `value` becomes at a sender that cuts integers at their first zero byte: clients that treat
// them as C strings.
uint32_t CutAtZeroByte(uint32_t value);

// The error for a payload that breaks `rule`.
absl::Status WrongSize(const RequestHeader& header, absl::string_view rule);

// A head that takes `payload_size` bytes of the payload.
DecodedHead MakeHead(const RequestHeader& header, Operation operation, size_t payload_size,
                     uint64_t body_size = 0);

}  // namespace backup::wire
