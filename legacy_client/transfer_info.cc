#include "legacy_client/transfer_info.h"

#include <fstream>
#include <sstream>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/printable.h"
#include "base/socket_address.h"
#include "base/status_macros.h"

namespace backup::legacy_client {
namespace {

constexpr size_t kMaxClientNameSize = 100;
constexpr int kDefaultPort = 1357;

absl::Status WrongServer(absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("transfer.info, line 1: ", Printable(why)));
}

absl::StatusOr<Endpoint> ParseServer(absl::string_view text) {
  const absl::StatusOr<HostAndPort> server = ParseHostAndPort(text, kDefaultPort);
  if (!server.ok()) return WrongServer(server.status().message());
  if (server->port == 0) return WrongServer("nobody listens on port 0");
  const bool is_this_machine = server->host.empty() && absl::StrContains(text, '*');
  if (server->host.empty() && !is_this_machine) return WrongServer("the host is missing");
  return Endpoint{is_this_machine ? "localhost" : server->host, absl::StrCat(server->port)};
}

}  // namespace

absl::StatusOr<TransferInfo> ParseTransferInfo(absl::string_view text) {
  std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  for (absl::string_view& line : lines) line = absl::StripSuffix(line, "\r");
  TransferInfo info;
  ASSIGN_OR_RETURN(info.server, ParseServer(lines[0]));
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
