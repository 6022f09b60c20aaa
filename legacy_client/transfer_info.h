#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace backup::legacy_client {

struct Endpoint {
  std::string host;
  std::string port;
};

// What to back up, and where to.
struct TransferInfo {
  Endpoint server;
  std::string client_name;
  std::vector<std::string> files;  // As they are written, in order; at least one.
};

// Reads the text of transfer.info: line 1 an address as ParseHostAndPort() understands it (a number
// alone: port 1357), line 2 the client's name (at most 100
// bytes), then one file a line. Empty lines after the second, and carriage returns at line ends,
// do not count. InvalidArgument, with the number of the line, if it is not like that.
absl::StatusOr<TransferInfo> ParseTransferInfo(absl::string_view text);

// The same of a file. NotFound if there is none.
absl::StatusOr<TransferInfo> ReadTransferInfo(const std::string& path);

}  // namespace backup::legacy_client
