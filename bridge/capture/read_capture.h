#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bridge/wire/conversation.h"

namespace backup::capture {

// No text of hex may be larger.
inline constexpr size_t kMaxTextSize = size_t{256} << 20;

struct Capture {
  std::vector<wire::Conversation> conversations;
  std::vector<std::string> remarks;  // What people should know of it.
};

// Reads a capture: pcap or pcapng, or a text of hex (hex_text.h). InvalidArgument, NotFound and
// their like, with what is wrong but not the path, if it cannot be read.
absl::StatusOr<Capture> ReadCapture(const std::string& path);

}  // namespace backup::capture
