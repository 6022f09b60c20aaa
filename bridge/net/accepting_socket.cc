#include "bridge/net/accepting_socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/descriptor_reserve.h"

namespace backup::bridge {
namespace {

std::string PeerText(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> host = {};
  if (address.ss_family == AF_INET6) {
    const auto& in6 = reinterpret_cast<const sockaddr_in6&>(address);
    ::inet_ntop(AF_INET6, &in6.sin6_addr, host.data(), host.size());
    return absl::StrCat("[", host.data(), "]:", ntohs(in6.sin6_port));
  }
  const auto& in = reinterpret_cast<const sockaddr_in&>(address);
  ::inet_ntop(AF_INET, &in.sin_addr, host.data(), host.size());
  return absl::StrCat(host.data(), ":", ntohs(in.sin_port));
}

AcceptingSocket::Result ResultOf(int error) {
  if (error == EAGAIN || error == EWOULDBLOCK) return AcceptingSocket::Result::kNone;
  if (error == ECONNABORTED || error == EINTR) return AcceptingSocket::Result::kFailed;
  return AcceptingSocket::Result::kExhausted;
}

}  // namespace

AcceptingSocket::AcceptingSocket(UniqueFd socket)
    : socket_(std::move(socket)), first_reserved_(FirstReservedDescriptor()) {
  const int on = 1;
  ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on,
               sizeof(on));  // Connections inherit it; without it an answer is only slower.
}

AcceptingSocket::Accepted AcceptingSocket::Accept() {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  UniqueFd socket(::accept4(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size,
                            SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket.valid()) return {ResultOf(errno), UniqueFd(), ""};
  if (socket.get() >= first_reserved_) return {Result::kReserved, UniqueFd(), ""};
  return {Result::kAccepted, std::move(socket), PeerText(address)};
}

}  // namespace backup::bridge
