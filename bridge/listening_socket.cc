#include "bridge/listening_socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/exit_code.h"
#include "base/status_macros.h"
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

int BoundPort(int fd) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  PCHECK(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  const in_port_t port = address.ss_family == AF_INET6
                             ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                             : reinterpret_cast<sockaddr_in*>(&address)->sin_port;
  return ntohs(port);
}

absl::StatusOr<ListeningSocket> Listen(const std::string& host, int port) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int code = ::getaddrinfo(host.c_str(), absl::StrCat(port).c_str(), &hints, &found);
  if (code != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot resolve ", host, " (--bind): ", gai_strerror(code)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  UniqueFd fd(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  if (!fd.valid() || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      ::bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0 ||
      ::listen(fd.get(), SOMAXCONN) != 0) {
    const int error = errno;
    const absl::Status status = absl::ErrnoToStatus(
        error, absl::StrCat("cannot listen on ", host, " (--bind), port ", port));
    return error == EADDRINUSE ? WithExitCode(status, kExitInUse) : status;
  }
  const int bound_port = BoundPort(fd.get());
  return ListeningSocket{std::move(fd), bound_port};
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
    absl::StatusOr<ListeningSocket> socket = Listen(host, port);
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
