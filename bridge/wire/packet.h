#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "bridge/wire/dialect.h"

namespace backup::wire {

// The head of a file request of families D and E: one packet of the content. As
// Dialect::DecodeHead(); `payload` is what has come behind the header. Says nothing of how the
// packets of a file belong together: bridge/upload/packet_source.h.
absl::StatusOr<std::optional<DecodedHead>> DecodePacket(const RequestHeader& header,
                                                        absl::string_view payload);

}  // namespace backup::wire
