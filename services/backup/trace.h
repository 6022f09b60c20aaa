#pragma once

#include <string>

#include "google/protobuf/message.h"

namespace backup {

// A message for the log of --debug: every field, with bytes (keys, file content) replaced by their
// number, and the first bytes of its encoding in hex unless it holds such.
std::string TraceText(const google::protobuf::Message& message);

// The fields of a message that are set, with bytes replaced by their number, in ASCII.
std::string RequestText(const google::protobuf::Message& message);

}  // namespace backup
