#include "storage/postgres/testing/cutting_proxy.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "glog/logging.h"

namespace backup::storage::postgres {
namespace {

// Between two looks whether it was told to stop.
constexpr int kPollMilliseconds = 50;
// What the server says to a commit: CommandComplete with its tag.
constexpr absl::string_view kCommitted("COMMIT\0", 7);

struct sockaddr_un AddressOf(const std::string& path) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  CHECK_LT(path.size(), sizeof(address.sun_path));
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

// Passes on what came. Empty at the end.
std::string Receive(int fd) {
  std::string bytes(1 << 16, '\0');
  const ssize_t size = ::recv(fd, bytes.data(), bytes.size(), 0);
  bytes.resize(size < 0 ? 0 : static_cast<size_t>(size));
  return bytes;
}

bool SendAll(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

}  // namespace

CuttingProxy::CuttingProxy(std::string server)
    : server_(std::move(server)), listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const struct sockaddr_un address = AddressOf(folder_.path() + "/.s.PGSQL.5432");
  PCHECK(::bind(listener_.get(), reinterpret_cast<const struct sockaddr*>(&address),
                sizeof(address)) == 0);
  PCHECK(::listen(listener_.get(), 16) == 0);
  acceptor_ = std::jthread([this] { Accept(); });
}

CuttingProxy::~CuttingProxy() {
  is_stopped_ = true;
  acceptor_.join();
}

void CuttingProxy::Accept() {
  struct pollfd listener = {listener_.get(), POLLIN, 0};
  while (!is_stopped_) {
    if (::poll(&listener, 1, kPollMilliseconds) <= 0) continue;
    const int client = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) continue;
    connections_.emplace_back([this, client] { Serve(UniqueFd(client)); });
  }
  connections_.clear();
}

void CuttingProxy::Serve(const UniqueFd& client) {
  const UniqueFd server(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const struct sockaddr_un address = AddressOf(server_);
  if (::connect(server.get(), reinterpret_cast<const struct sockaddr*>(&address),
                sizeof(address)) != 0)
    return;
  struct pollfd sockets[] = {{client.get(), POLLIN, 0}, {server.get(), POLLIN, 0}};
  while (!is_stopped_) {
    if (::poll(sockets, 2, kPollMilliseconds) <= 0) continue;
    for (int i = 0; i < 2; ++i) {
      if (sockets[i].revents == 0) continue;
      const std::string bytes = Receive(sockets[i].fd);
      if (bytes.empty()) return;
      const bool commits = i == 1 && absl::StrContains(bytes, kCommitted);
      if (commits && loses_commit_.exchange(false)) return;
      if (!SendAll(sockets[1 - i].fd, bytes)) return;
    }
  }
}

}  // namespace backup::storage::postgres
