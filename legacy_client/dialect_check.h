#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "google/protobuf/text_format.h"
#include "legacy_client/dialect_file.h"

namespace backup::legacy_client {

// What keeps `dialect` from being played: one line for each mistake, "PATH:LINE: what is wrong";
// empty if nothing does. (Whether the bridge could tell its messages from others is for the bridge
// to say.)
std::string CheckDialect(const Dialect& dialect,
                         const google::protobuf::TextFormat::ParseInfoTree& places,
                         absl::string_view path);

}  // namespace backup::legacy_client
