#include "rpc/acceptor.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/descriptor_reserve.h"
#include "base/listening_socket.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::rpc {
namespace {

constexpr char kUnixPrefix[] = "unix:";
constexpr char kSource[] = "--listen";
// How long to leave waiting connections alone when the system has no room for one more.
constexpr int kBackOffMs = 100;

constexpr int kRefusalLogSeconds = 5;

}  // namespace

absl::Status CheckAddress(absl::string_view address) {
  if (!absl::ConsumePrefix(&address, kUnixPrefix))
    return ParseHostAndPort(address, kDefaultPort).status();
  return address.empty() ? absl::InvalidArgumentError("unix: has no path: give unix:PATH")
                         : absl::OkStatus();
}

bool IsLocalAddress(absl::string_view address) {
  if (absl::StartsWith(address, kUnixPrefix)) return true;
  const absl::StatusOr<HostAndPort> parts = ParseHostAndPort(address, kDefaultPort);
  return parts.ok() && IsLoopback(parts->host);
}

ConnectionSink ConnectionsInto(grpc::ServerBuilder& builder,
                               const std::shared_ptr<grpc::ServerCredentials>& credentials) {
  return builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
}

absl::StatusOr<std::unique_ptr<Acceptor>> Acceptor::Listen(const std::string& address) {
  absl::string_view path = address;
  if (absl::ConsumePrefix(&path, kUnixPrefix)) {
    ASSIGN_OR_RETURN(UniqueFd listener, ListenOnUnix(std::string(path), kSource));
    return std::unique_ptr<Acceptor>(new Acceptor(std::move(listener), address, 0));
  }
  ASSIGN_OR_RETURN(const HostAndPort parts, ParseHostAndPort(address, kDefaultPort));
  ASSIGN_OR_RETURN(ListeningSocket socket, ListenOnTcp(parts, kSource));
  return std::unique_ptr<Acceptor>(
      new Acceptor(std::move(socket.fd), std::move(socket.address), socket.port));
}

Acceptor::Acceptor(UniqueFd listener, std::string bound_address, int bound_port)
    : listener_(std::move(listener)),
      bound_address_(std::move(bound_address)),
      bound_port_(bound_port),
      first_reserved_(FirstReservedDescriptor()),
      wake_(::eventfd(0, EFD_CLOEXEC)) {}

Acceptor::~Acceptor() { Stop(); }

void Acceptor::Start(ConnectionSink connections, Counter refused) {
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
    pollfd wake = {wake_.get(), POLLIN, 0};  // Stop() need not wait for it.
    if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) ::poll(&wake, 1, kBackOffMs);
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

}  // namespace backup::rpc
