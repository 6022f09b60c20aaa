#include "legacy_client/legacy_socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <limits>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/socket_address.h"
#include "base/status_macros.h"

namespace backup::legacy_client {
namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;
using MonotonicClock = std::chrono::steady_clock;

// Old clients' systems keep little that waits to be sent. By default Linux keeps megabytes, which
// are in no cache any more when their turn comes, and push out of the caches what is.
constexpr int kSendBufferSize = 256 << 10;

absl::Status Lost(absl::string_view what, int error) {
  return absl::UnavailableError(absl::StrCat(what, ": ", strerror(error)));
}

absl::Status WaitFor(int fd, short events, absl::Duration timeout) {
  const auto end = MonotonicClock::now() + absl::ToChronoNanoseconds(timeout);
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - MonotonicClock::now()).count();
    pollfd waited = {fd, events, 0};
    const int count =
        ::poll(&waited, 1,
               static_cast<int>(std::clamp<int64_t>(left, 0, std::numeric_limits<int>::max())));
    if (count > 0) return absl::OkStatus();
    if (count < 0 && errno != EINTR) return Lost("cannot wait for the server", errno);
    if (count == 0) return absl::DeadlineExceededError("the server does not answer in time");
  }
}

absl::StatusOr<Addresses> Resolve(const Endpoint& server) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(server.host.c_str(), server.port.c_str(), &hints, &found);
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot find ", server.host, ": ", gai_strerror(error),
                     "; line 1 of transfer.info names the server: correct it"));
  }
  return Addresses(found, &freeaddrinfo);
}

absl::Status Unreachable(const addrinfo& address, int error) {
  return absl::UnavailableError(absl::StrCat(
      "cannot connect to ", AddressText(address.ai_addr, address.ai_addrlen), ": ", strerror(error),
      "; line 1 of transfer.info names the server: does it run there?"));
}

absl::StatusOr<UniqueFd> ConnectTo(const addrinfo& address, absl::Duration timeout) {
  UniqueFd fd(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return Lost("cannot open a socket", errno);
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &kSendBufferSize, sizeof(kSendBufferSize));
  if (::connect(fd.get(), address.ai_addr, address.ai_addrlen) == 0) return fd;
  if (errno != EINPROGRESS) return Unreachable(address, errno);
  if (!WaitFor(fd.get(), POLLOUT, timeout).ok()) return Unreachable(address, ETIMEDOUT);
  int error = 0;
  socklen_t size = sizeof(error);
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return Unreachable(address, error);
  return fd;
}

}  // namespace

absl::StatusOr<LegacySocket> LegacySocket::Connect(const Endpoint& server, absl::Duration timeout) {
  ASSIGN_OR_RETURN(const Addresses addresses, Resolve(server));
  absl::Status last;
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    absl::StatusOr<UniqueFd> fd = ConnectTo(*address, timeout);
    if (fd.ok()) return LegacySocket(*std::move(fd), timeout);
    last = fd.status();
  }
  return last;
}

absl::Status LegacySocket::Write(absl::string_view bytes, bool more_follows) {
  const int flags = MSG_NOSIGNAL | (more_follows ? MSG_MORE : 0);
  while (!bytes.empty()) {
    const ssize_t count = ::send(fd_.get(), bytes.data(), bytes.size(), flags);
    if (count >= 0) {
      bytes.remove_prefix(static_cast<size_t>(count));
    } else if (errno == EAGAIN) {
      RETURN_IF_ERROR(WaitFor(fd_.get(), POLLOUT, timeout_));
    } else if (errno != EINTR) {
      return Lost("the server hung up", errno);
    }
  }
  return absl::OkStatus();
}

absl::Status LegacySocket::Read(std::span<char> out) {
  while (!out.empty()) {
    const ssize_t count = ::recv(fd_.get(), out.data(), out.size(), 0);
    if (count > 0) {
      out = out.subspan(static_cast<size_t>(count));
    } else if (count == 0) {
      return absl::UnavailableError("the server hung up without an answer");
    } else if (errno == EAGAIN) {
      RETURN_IF_ERROR(WaitFor(fd_.get(), POLLIN, timeout_));
    } else if (errno != EINTR) {
      return Lost("the server hung up", errno);
    }
  }
  return absl::OkStatus();
}

absl::Status LegacySocket::ReadEnd() {
  char byte = 0;
  const absl::Status read = Read(std::span<char>(&byte, 1));
  if (read.ok()) return absl::DataLossError("the server sends more than its answer");
  return absl::IsUnavailable(read) ? absl::OkStatus() : read;
}

}  // namespace backup::legacy_client
