#include "bridge/net/accepting_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/descriptor_reserve.h"
#include "base/socket_address.h"

namespace backup::bridge {
namespace {

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
  if (!socket.valid()) return {ResultOf(errno)};
  if (socket.get() >= first_reserved_) return {Result::kReserved};
  const auto* const peer = reinterpret_cast<const sockaddr*>(&address);
  return {Result::kAccepted, std::move(socket), IpAddress::FromSocket(peer),
          AddressText(peer, size)};
}

}  // namespace backup::bridge
