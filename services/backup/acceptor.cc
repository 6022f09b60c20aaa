#include "services/backup/acceptor.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/descriptor_reserve.h"
#include "base/exit_code.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup {
namespace {

constexpr char kUnixPrefix[] = "unix:";
constexpr int kBacklog = 1024;
// How long to leave waiting connections alone when the system has no room for one more.
constexpr int kBackOffMs = 100;

constexpr int kRefusalLogSeconds = 5;

absl::StatusOr<UniqueFd> ListenOn(const sockaddr* address, socklen_t size,
                                  const std::string& text) {
  UniqueFd fd(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  if (!fd.valid() || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      ::bind(fd.get(), address, size) != 0 || ::listen(fd.get(), kBacklog) != 0) {
    const int error = errno;
    const absl::Status status =
        absl::ErrnoToStatus(error, absl::StrCat("cannot listen on ", text, " (--listen)"));
    return error == EADDRINUSE ? WithExitCode(status, kExitInUse) : status;
  }
  return fd;
}

// Removes the socket that a killed process left at `address`; nothing else, and no socket that
// somebody answers on.
absl::Status RemoveStaleSocket(const sockaddr_un& address) {
  struct stat found = {};
  if (::lstat(address.sun_path, &found) != 0) return absl::OkStatus();
  if (!S_ISSOCK(found.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(
        address.sun_path, " is there and is no socket: remove it, or give another unix:PATH"));
  }
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    return WithExitCode(absl::FailedPreconditionError(
                            absl::StrCat("another process listens on ", address.sun_path,
                                         ": stop it first, or give another unix:PATH to --listen")),
                        kExitInUse);
  }
  if (::unlink(address.sun_path) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno,
                             absl::StrCat("cannot remove the old socket ", address.sun_path));
}

absl::StatusOr<UniqueFd> ListenOnUnix(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("not a path for a unix socket: ", path));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  RETURN_IF_ERROR(RemoveStaleSocket(address));
  return ListenOn(reinterpret_cast<const sockaddr*>(&address), sizeof(address),
                  absl::StrCat(kUnixPrefix, path));
}

struct HostAndPort {
  std::string host;
  std::string port;
};

absl::StatusOr<HostAndPort> Split(absl::string_view address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == absl::string_view::npos || !absl::SimpleAtoi(address.substr(colon + 1), &port) ||
      port < 0 || port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat("not HOST:PORT or unix:PATH: ", address));
  }
  absl::string_view host = address.substr(0, colon);
  absl::ConsumePrefix(&host, "[");
  absl::ConsumeSuffix(&host, "]");
  return HostAndPort{std::string(host), std::string(address.substr(colon + 1))};
}

absl::StatusOr<UniqueFd> ListenOnTcp(const std::string& address) {
  ASSIGN_OR_RETURN(const HostAndPort parts, Split(address));
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int code = ::getaddrinfo(parts.host.empty() ? nullptr : parts.host.c_str(),
                                 parts.port.c_str(), &hints, &found);
  if (code != 0)
    return absl::InvalidArgumentError(
        absl::StrCat("cannot resolve ", address, ": ", gai_strerror(code)));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  return ListenOn(found->ai_addr, found->ai_addrlen, address);
}

int BoundPort(int fd) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  CHECK_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const in_port_t port = address.ss_family == AF_INET6
                             ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                             : reinterpret_cast<sockaddr_in*>(&address)->sin_port;
  return ntohs(port);
}

}  // namespace

bool IsAddress(absl::string_view address) {
  return absl::ConsumePrefix(&address, kUnixPrefix) ? !address.empty() : Split(address).ok();
}

bool IsLocalAddress(absl::string_view address) {
  if (absl::StartsWith(address, kUnixPrefix)) return true;
  const absl::StatusOr<HostAndPort> parts = Split(address);
  if (!parts.ok()) return false;
  if (parts->host == "localhost" || parts->host == "::1") return true;
  in_addr ip = {};  // Only a numeric address: a name like 127.example.com may lead anywhere.
  return ::inet_pton(AF_INET, parts->host.c_str(), &ip) == 1 &&
         (ntohl(ip.s_addr) >> 24) == IN_LOOPBACKNET;
}

absl::StatusOr<std::unique_ptr<Acceptor>> Acceptor::Listen(const std::string& address) {
  absl::string_view path = address;
  if (absl::ConsumePrefix(&path, kUnixPrefix)) {
    ASSIGN_OR_RETURN(UniqueFd listener, ListenOnUnix(std::string(path)));
    return std::unique_ptr<Acceptor>(new Acceptor(std::move(listener), address, 0));
  }
  ASSIGN_OR_RETURN(UniqueFd listener, ListenOnTcp(address));
  const int port = BoundPort(listener.get());
  const std::string bound = absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
  return std::unique_ptr<Acceptor>(new Acceptor(std::move(listener), bound, port));
}

Acceptor::Acceptor(UniqueFd listener, std::string bound_address, int bound_port)
    : listener_(std::move(listener)),
      bound_address_(std::move(bound_address)),
      bound_port_(bound_port),
      first_reserved_(FirstReservedDescriptor()),
      wake_(::eventfd(0, EFD_CLOEXEC)) {}

Acceptor::~Acceptor() { Stop(); }

void Acceptor::Start(std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections,
                     Counter refused) {
  refused_ = refused;
  connections_ = std::move(connections);
  thread_ = std::jthread([this](std::stop_token token) { AcceptLoop(token); });
}

void Acceptor::Stop() {
  thread_.request_stop();
  const uint64_t one = 1;
  if (::write(wake_.get(), &one, sizeof(one)) < 0) LOG(ERROR) << "cannot wake the acceptor";
  if (thread_.joinable()) thread_.join();
  // Callers are refused from now on, and try elsewhere, instead of waiting in the backlog of a
  // process that ends.
  if (listener_.valid() && absl::StartsWith(bound_address_, kUnixPrefix)) {
    ::unlink(bound_address_.c_str() + std::strlen(kUnixPrefix));
  }
  listener_.Reset();
}

void Acceptor::HangUp() {
  for (const auto& [fd, inode] : handed_over_) {
    struct stat found = {};
    if (::fstat(fd, &found) == 0 && S_ISSOCK(found.st_mode) && found.st_ino == inode)
      ::shutdown(fd, SHUT_RDWR);
  }
  handed_over_.clear();
}

void Acceptor::AcceptLoop(std::stop_token token) {
  pollfd waits[2] = {{listener_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
  while (!token.stop_requested()) {
    if (::poll(waits, 2, -1) > 0 && waits[0].revents != 0) Accept();
  }
}

void Acceptor::Accept() {
  UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket.valid()) {
    // Mostly the peer was gone before we came; if memory or descriptors ran out, waiting keeps
    // this from being a busy loop.
    if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) ::poll(nullptr, 0, kBackOffMs);
    return;
  }
  if (socket.get() >= first_reserved_) {
    LOG_EVERY_T(WARNING, kRefusalLogSeconds)
        << "file descriptors run out; a connection is refused (raise `ulimit -n`)";
    refused_.Add();
    return;
  }
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on,
               sizeof(on));  // Fails on a unix socket, and is not needed.
  struct stat found = {};
  if (::fstat(socket.get(), &found) == 0) handed_over_[socket.get()] = found.st_ino;
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
  parameters.listener_fd = listener_.get();
  parameters.fd = socket.Release();
  connections_->HandleNewConnection(&parameters);
}

}  // namespace backup
