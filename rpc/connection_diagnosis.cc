#include "rpc/connection_diagnosis.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/printable.h"
#include "base/socket_address.h"
#include "base/start_thread.h"
#include "base/unique_fd.h"
#include "rpc/acceptor.h"
#include "rpc/tls_probe.h"

namespace backup::rpc {
namespace {

// Waits for `events`; false if they do not come in time.
bool WaitFor(int fd, short events, absl::Duration timeout) {
  pollfd waited = {fd, events, 0};
  return ::poll(&waited, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout))) > 0;
}

// A connected socket that does not block, or the errno of why not.
struct Connected {
  UniqueFd socket;
  int error = 0;
};

Connected ConnectTo(const sockaddr* address, socklen_t size, absl::Duration timeout) {
  UniqueFd fd(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return {UniqueFd(), errno};
  if (::connect(fd.get(), address, size) == 0) return {std::move(fd), 0};
  // A unix socket whose backlog is full says EAGAIN.
  if (errno != EINPROGRESS) return {UniqueFd(), errno == EAGAIN ? ETIMEDOUT : errno};
  if (!WaitFor(fd.get(), POLLOUT, timeout)) return {UniqueFd(), ETIMEDOUT};
  int error = 0;
  socklen_t error_size = sizeof(error);
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &error_size);
  if (error != 0) return {UniqueFd(), error};
  return {std::move(fd), 0};
}

std::string WhyNoConnection(int error, const ConnectionPlan& plan, absl::string_view address) {
  switch (error) {
    case ECONNREFUSED:
      return absl::StrCat("nobody listens at ", address,
                          " (connection refused): is the service running there? ",
                          plan.names.service, " names another address");
    case ETIMEDOUT:
      return absl::StrCat(address, " takes no connection in time (timed out): is it the right ",
                          "address, and does a firewall let it through? ", plan.names.service,
                          " names another");
    case EMFILE:
    case ENFILE:
      return "";  // That is about us, and told elsewhere.
    default:
      return absl::StrCat("cannot connect to ", address, " (", std::strerror(error),
                          "): check the address and this machine's network");
  }
}

std::string WhyNoUnixConnection(int error, const ConnectionPlan& plan, const std::string& path) {
  struct stat found = {};
  if (error == EACCES) {
    return absl::StrCat("this user may not use the socket ", Printable(path),
                        " (permission denied): run it as root, or as a member of the group that "
                        "owns the socket");
  }
  if (::stat(path.c_str(), &found) != 0) {
    return absl::StrCat("there is no socket ", Printable(path), " (", std::strerror(errno),
                        "): is the service running, with --listen=unix:", Printable(path), "? ",
                        plan.names.service, " names another address");
  }
  if (!S_ISSOCK(found.st_mode)) {
    return absl::StrCat(Printable(path), " is no socket: correct the path in ", plan.names.service);
  }
  return WhyNoConnection(error, plan, absl::StrCat("unix:", Printable(path)));
}

// What comes back on a connection that only said hello in HTTP/2.
std::string ProbePlaintext(int socket, absl::string_view address, absl::Duration timeout,
                           bool& maybe_tls) {
  constexpr size_t kFrameTypeAt = 3;
  constexpr char kSettings = 4;
  maybe_tls = false;
  std::array<char, 9> head = {};
  ssize_t size = ::send(socket, kHttp2Hello.data(), kHttp2Hello.size(), MSG_NOSIGNAL);
  if (size > 0 && !WaitFor(socket, POLLIN, timeout)) {
    return absl::StrCat("what listens at ", address,
                        " takes connections and does not answer: does it hang, or is it another "
                        "kind of server?");
  }
  if (size > 0) size = ::recv(socket, head.data(), head.size(), 0);
  if (size == static_cast<ssize_t>(head.size()) && head[kFrameTypeAt] == kSettings) return "";
  maybe_tls = true;
  return absl::StrCat("what listens at ", address, " does not speak gRPC: is it a backup-service?");
}

// What the other side of an open connection has to say. `connect_again` opens another.
template <typename ConnectAgain>
std::string Probe(const UniqueFd& socket, const ConnectAgain& connect_again,
                  const ConnectionPlan& plan, absl::string_view host, absl::string_view address,
                  absl::Duration timeout) {
  if (!plan.tls.ca_file.empty()) return ProbeTls(socket.get(), plan, host, address, timeout);
  bool maybe_tls = false;
  std::string why = ProbePlaintext(socket.get(), address, timeout, maybe_tls);
  if (!maybe_tls) return why;
  const Connected again = connect_again();
  if (again.socket.valid() && SpeaksTls(again.socket.get(), timeout)) {
    return absl::StrCat("the service at ", address, " speaks TLS, not plaintext: give its CA with ",
                        plan.names.ca);
  }
  return why;
}

std::string DiagnoseUnix(const ConnectionPlan& plan, absl::string_view path_text,
                         absl::Duration timeout) {
  const std::string path(path_text);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::StrCat("the path ", Printable(path), " is too long for a socket: correct ",
                        plan.names.service);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const auto connect = [&] {
    return ConnectTo(reinterpret_cast<const sockaddr*>(&address), sizeof(address), timeout);
  };
  const Connected connected = connect();
  if (!connected.socket.valid()) return WhyNoUnixConnection(connected.error, plan, path);
  return Probe(connected.socket, connect, plan, "localhost", absl::StrCat("unix:", Printable(path)),
               timeout);
}

using Addresses = std::shared_ptr<addrinfo>;
struct Resolved {
  int error = 0;
  Addresses addresses;
};

Resolved Resolve(const HostAndPort& address) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error =
      ::getaddrinfo(address.host.c_str(), absl::StrCat(address.port).c_str(), &hints, &found);
  return {error, Addresses(found, [](addrinfo* list) {
            if (list != nullptr) ::freeaddrinfo(list);
          })};
}

// Nothing if it takes too long: the search goes on by itself then, and ends some time.
std::optional<Resolved> Resolve(const HostAndPort& address, absl::Duration timeout) {
  if (NumericHost(address.host)) return Resolve(address);
  auto promise = std::make_shared<std::promise<Resolved>>();
  std::future<Resolved> future = promise->get_future();
  std::optional<std::thread> search =
      TryStartThread([promise, address] { promise->set_value(Resolve(address)); });
  if (!search) return std::nullopt;
  search->detach();
  if (future.wait_for(absl::ToChronoMilliseconds(timeout)) != std::future_status::ready)
    return std::nullopt;
  return future.get();
}

std::string DiagnoseTcp(const ConnectionPlan& plan, const HostAndPort& host,
                        absl::Duration timeout) {
  const std::optional<Resolved> resolved = Resolve(host, timeout);
  if (!resolved) {
    return absl::StrCat("looking up the name ", Printable(host.host),
                        " takes too long: check this machine's name servers");
  }
  if (resolved->error != 0 || resolved->addresses == nullptr) {
    return absl::StrCat("the name ", Printable(host.host), " leads to no address (",
                        resolved->error == 0 ? "none" : gai_strerror(resolved->error),
                        "): correct ", plan.names.service, " or this machine's name service");
  }
  std::string why;
  for (const addrinfo* at = resolved->addresses.get(); at != nullptr; at = at->ai_next) {
    const auto connect = [&] { return ConnectTo(at->ai_addr, at->ai_addrlen, timeout); };
    const std::string address = Printable(AddressText(at->ai_addr, at->ai_addrlen));
    const Connected connected = connect();
    if (connected.socket.valid())
      return Probe(connected.socket, connect, plan, host.host, address, timeout);
    if (why.empty()) why = WhyNoConnection(connected.error, plan, address);
  }
  return why;
}

}  // namespace

std::string DiagnoseConnection(const ConnectionPlan& plan, absl::Duration timeout) {
  absl::string_view target = plan.target;
  if (absl::ConsumePrefix(&target, "unix:")) {
    absl::ConsumePrefix(&target, "//");
    return DiagnoseUnix(plan, target, timeout);
  }
  for (const absl::string_view scheme : {"dns:///", "dns:", "ipv4:", "ipv6:"})
    if (absl::ConsumePrefix(&target, scheme)) break;
  const absl::StatusOr<HostAndPort> address = ParseHostAndPort(target, kDefaultPort);
  return address.ok() ? DiagnoseTcp(plan, *address, timeout) : "";
}

}  // namespace backup::rpc
