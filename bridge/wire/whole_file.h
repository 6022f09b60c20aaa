#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "bridge/wire/dialect.h"

namespace backup::wire {

// The head of a file request of families A, B and C: the whole content in one request, or, if the
// family `may_send_blocks`, perhaps one block of it. As Dialect::DecodeHead(); `payload` is what
// has come behind the header.
absl::StatusOr<std::optional<DecodedHead>> DecodeWholeFile(const RequestHeader& header,
                                                           absl::string_view payload,
                                                           bool may_send_blocks);

// Whether the content size of `file` can only be the plaintext's: padding makes it `body_size`.
bool SaysPlaintextSize(const SendFile& file, uint64_t body_size);

}  // namespace backup::wire
