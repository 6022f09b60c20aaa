#include "storage/s3/testing/loopback_server.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"

namespace backup::storage::s3 {

bool SendAll(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

LoopbackServer::LoopbackServer(Serve serve)
    : serve_(std::move(serve)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  PCHECK(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  PCHECK(::listen(listener_.get(), SOMAXCONN) == 0);
  PCHECK(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  port_ = ntohs(address.sin_port);
  acceptor_ = std::jthread([this] { Accept(); });
}

LoopbackServer::~LoopbackServer() {
  is_stopped_ = true;
  acceptor_.join();
}

std::string LoopbackServer::endpoint() const { return absl::StrCat("http://127.0.0.1:", port_); }

void LoopbackServer::Accept() {
  while (!is_stopped_) {
    pollfd wait = {listener_.get(), POLLIN, 0};
    if (::poll(&wait, 1, kPollMilliseconds) <= 0) continue;
    const int client = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (client >= 0) connections_.emplace_back([this, client] { serve_(UniqueFd(client)); });
  }
  connections_.clear();
}

}  // namespace backup::storage::s3
