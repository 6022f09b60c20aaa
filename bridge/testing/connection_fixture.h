#pragma once

#include <sys/socket.h>

#include <memory>

#include "absl/strings/string_view.h"
#include "base/unique_fd.h"
#include "bridge/net/connection.h"
#include "glog/logging.h"
#include "gtest/gtest.h"

namespace backup::bridge {

// A connection, and the socket of its peer.
class ConnectionFixture : public ::testing::Test {
 protected:
  ConnectionFixture() { Connect(); }

  // A new connection.
  void Connect() {
    int fds[2];
    CHECK_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    peer_ = UniqueFd(fds[1]);
    connection_ = std::make_unique<Connection>(UniqueFd(fds[0]), "peer", 1);
  }

  void PeerSends(absl::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(peer_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      CHECK_GT(sent, 0);
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }

  UniqueFd peer_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace backup::bridge
