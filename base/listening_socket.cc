#include "base/listening_socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/exit_code.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup {
namespace {

constexpr int kBacklog = 1024;
// Who may connect, whatever the umask: the folder narrows it down further.
constexpr mode_t kSocketMode = 0660;

// `text` is the address and where it comes from.
absl::StatusOr<UniqueFd> ListenOn(const sockaddr* address, socklen_t size, absl::string_view text) {
  UniqueFd fd(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  const int off = 0;
  const bool is_ipv6 = address->sa_family == AF_INET6;
  if (!fd.valid() || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      (is_ipv6 && ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0) ||
      ::bind(fd.get(), address, size) != 0 || ::listen(fd.get(), kBacklog) != 0) {
    const int error = errno;
    const absl::Status status = absl::ErrnoToStatus(error, absl::StrCat("cannot listen on ", text));
    return error == EADDRINUSE ? WithExitCode(status, kExitInUse) : status;
  }
  return fd;
}

absl::StatusOr<ListeningSocket> Listening(UniqueFd fd) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  auto* const bound = reinterpret_cast<sockaddr*>(&address);
  PCHECK(::getsockname(fd.get(), bound, &size) == 0);
  const in_port_t port = address.ss_family == AF_INET6
                             ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                             : reinterpret_cast<sockaddr_in*>(&address)->sin_port;
  return ListeningSocket{std::move(fd), ntohs(port), AddressText(bound, size)};
}

// On every address of this machine.
absl::StatusOr<UniqueFd> ListenOnAny(int port, absl::string_view text) {
  sockaddr_in6 both = {};
  both.sin6_family = AF_INET6;
  both.sin6_port = htons(static_cast<in_port_t>(port));
  absl::StatusOr<UniqueFd> fd =
      ListenOn(reinterpret_cast<const sockaddr*>(&both), sizeof(both), text);
  // A machine without IPv6 has no such sockets, or no such address.
  if (fd.ok() || ExitCodeOf(fd.status()) == kExitInUse) return fd;
  sockaddr_in ipv4 = {};
  ipv4.sin_family = AF_INET;
  ipv4.sin_port = both.sin6_port;
  return ListenOn(reinterpret_cast<const sockaddr*>(&ipv4), sizeof(ipv4), text);
}

absl::Status RemoveStaleSocket(const sockaddr_un& address, absl::string_view source) {
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
                                         ": stop it first, or give another unix:PATH to ", source)),
                        kExitInUse);
  }
  if (::unlink(address.sun_path) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno,
                             absl::StrCat("cannot remove the old socket ", address.sun_path));
}

}  // namespace

absl::StatusOr<ListeningSocket> ListenOnTcp(const HostAndPort& address, absl::string_view source) {
  const std::string text = absl::StrCat(AddressText(address), " (", source, ")");
  if (address.host.empty()) {
    ASSIGN_OR_RETURN(UniqueFd fd, ListenOnAny(address.port, text));
    return Listening(std::move(fd));
  }
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int code =
      ::getaddrinfo(address.host.c_str(), absl::StrCat(address.port).c_str(), &hints, &found);
  if (code != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot resolve ", text, ": ", gai_strerror(code)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  ASSIGN_OR_RETURN(UniqueFd fd, ListenOn(found->ai_addr, found->ai_addrlen, text));
  return Listening(std::move(fd));
}

absl::StatusOr<UniqueFd> ListenOnUnix(const std::string& path, absl::string_view source) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("not a path for a unix socket: ", path));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  RETURN_IF_ERROR(RemoveStaleSocket(address, source));
  ASSIGN_OR_RETURN(UniqueFd fd,
                   ListenOn(reinterpret_cast<const sockaddr*>(&address), sizeof(address),
                            absl::StrCat("unix:", path, " (", source, ")")));
  if (::chmod(path.c_str(), kSocketMode) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot set the mode of ", path));
  return fd;
}

}  // namespace backup
