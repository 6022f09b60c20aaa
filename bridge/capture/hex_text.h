#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "bridge/wire/conversation.h"

namespace backup::capture {

// Reads conversations written as hex, in one of these forms:
//   C> 00ff...           what the client sent, and S> what the server did; a line that begins with
//                        ## begins another connection, and its text is the name of that
//   00000000: 00ff ...   xxd, and hexdump -C: the bytes of one client
//   00 ff ...            the bytes of one client
// Lines that begin with # are comments. InvalidArgument, "LINE: what is wrong", for all else.
absl::StatusOr<std::vector<wire::Conversation>> ReadHexText(absl::string_view text);

}  // namespace backup::capture
