#include "bridge/net/ports_to_try.h"

#include <fstream>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/exit_code.h"
#include "glog/logging.h"

namespace backup::bridge {
namespace {

constexpr int kMaxPort = 65535;

// The number in `path`; a warning and kDefaultPort if there is none.
int PortFromFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    LOG(WARNING) << "no port file " << path << ", taking port " << kDefaultPort;
    return kDefaultPort;
  }
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  int port = 0;
  if (!absl::SimpleAtoi(absl::StripAsciiWhitespace(text), &port) || port < 0 || port > kMaxPort) {
    LOG(WARNING) << "no port number in " << path << ", taking port " << kDefaultPort;
    return kDefaultPort;
  }
  return port;
}

}  // namespace

std::vector<int> PortsToTry(const PortRules& rules) {
  std::vector<int> ports = {rules.port >= 0 ? rules.port : PortFromFile(rules.port_file)};
  ports.insert(ports.end(), rules.fallback_ports.begin(), rules.fallback_ports.end());
  return ports;
}

absl::StatusOr<ListeningSocket> ListenOnFirstFree(const std::string& host,
                                                  std::span<const int> ports) {
  for (const int& port : ports) {
    absl::StatusOr<ListeningSocket> socket = ListenOnTcp({host, port}, "--bind, --port");
    if (!socket.ok() && ExitCodeOf(socket.status()) == kExitInUse) continue;
    if (!socket.ok()) return socket;
    for (const int in_use : ports.first(static_cast<size_t>(&port - ports.data())))
      LOG(WARNING) << "port " << in_use << " is in use";
    return socket;
  }
  return WithExitCode(absl::AlreadyExistsError(absl::StrCat(
                          "every port to try is in use: ", absl::StrJoin(ports, ", "),
                          " (--port, --fallback_ports): stop who listens there, or give others")),
                      kExitInUse);
}

}  // namespace backup::bridge
