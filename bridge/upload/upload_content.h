#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "bridge/net/body_source.h"
#include "bridge/net/connection.h"
#include "bridge/upload/packet_source.h"
#include "bridge/wire/dialect.h"

namespace backup::bridge {

// The content of a file request, for the service: all that its dialect did to it but encryption is
// undone. What encryption it has is told by the dialect, and by this:
struct UploadContent {
  std::unique_ptr<Body> body;
  // How many bytes it has; 0 of segments with their sizes in front.
  uint64_t size = 0;
  // Of segments with their sizes in front, each encrypted on its own: how many there are; 0: more
  // than UploadFileHeader.segment_count can say.
  std::optional<int> segment_count = std::nullopt;
  // Of all the file, if the client says it and it is relied on: UploadFileHeader.original_size.
  std::optional<uint64_t> plaintext_size = std::nullopt;
  // Of a file in packets: to know later ones by.
  std::optional<PacketOrder> packets = std::nullopt;
  // Of a file in packets or blocks: whether the client was taken to fill its messages up, as then
  // it always does. That padding is part of the body and dropped by it; behind a file that is one
  // message it is still to come.
  bool is_padded = false;
};

// Whether the content of a file is to be passed on just as it comes, in one message: if all of it
// has been read ahead, OpenContent() is not needed.
bool IsPlainContent(const wire::Dialect& dialect, const wire::SendFile& file);

// The content of the file request `head`, a decoded SendFile whose head was consumed and whose body
// was not. `pads`: whether the client is known to fill its messages up, where its dialect leaves
// that to it; a file in blocks the last of which is filled up shows that it does, whatever is
// known. InvalidArgument, naming the rule, if no file can begin so. Reads nothing yet.
// Connection, dialect and budget must outlive the body.
absl::StatusOr<UploadContent> OpenContent(Connection& connection, const wire::Dialect& dialect,
                                          const wire::DecodedHead& head, std::optional<bool> pads,
                                          const BodyLimits& limits, BodyBudget& budget);

}  // namespace backup::bridge
