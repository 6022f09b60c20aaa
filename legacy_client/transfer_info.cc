#include "legacy_client/transfer_info.h"

#include <fstream>
#include <sstream>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace backup::legacy_client {
namespace {

constexpr size_t kMaxClientNameSize = 100;
constexpr int kMaxPort = 65535;

absl::StatusOr<Endpoint> ParseEndpoint(absl::string_view text) {
  const size_t colon = text.rfind(':');
  int port = 0;
  if (colon == absl::string_view::npos || colon == 0 ||
      !absl::SimpleAtoi(text.substr(colon + 1), &port) || port < 1 || port > kMaxPort) {
    return absl::InvalidArgumentError("transfer.info, line 1: must be address:port");
  }
  return Endpoint{std::string(text.substr(0, colon)), absl::StrCat(port)};
}

}  // namespace

absl::StatusOr<TransferInfo> ParseTransferInfo(absl::string_view text) {
  std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  for (absl::string_view& line : lines) line = absl::StripSuffix(line, "\r");
  TransferInfo info;
  ASSIGN_OR_RETURN(info.server, ParseEndpoint(lines[0]));
  if (lines.size() < 2 || lines[1].empty()) {
    return absl::InvalidArgumentError("transfer.info, line 2: the client's name is missing");
  }
  if (lines[1].size() > kMaxClientNameSize) {
    return absl::InvalidArgumentError(absl::StrCat(
        "transfer.info, line 2: the client's name is longer than ", kMaxClientNameSize, " bytes"));
  }
  info.client_name = std::string(lines[1]);
  for (size_t i = 2; i < lines.size(); ++i) {
    if (!lines[i].empty()) info.files.emplace_back(lines[i]);
  }
  if (info.files.empty()) {
    return absl::InvalidArgumentError("transfer.info, line 3: no file to send");
  }
  return info;
}

absl::StatusOr<TransferInfo> ReadTransferInfo(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  if (!file || !(text << file.rdbuf())) {
    return absl::NotFoundError(absl::StrCat("cannot read ", path));
  }
  return ParseTransferInfo(text.str());
}

}  // namespace backup::legacy_client
