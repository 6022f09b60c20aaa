#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <string>
#include <thread>

#include "absl/strings/string_view.h"
#include "base/unique_fd.h"

namespace backup::storage::s3 {

// Between two looks whether a server was told to stop.
inline constexpr int kPollMilliseconds = 50;

// False if the other side has ended.
bool SendAll(int fd, absl::string_view bytes);

// Listens on a free port of 127.0.0.1, with a thread for each connection. Its end waits for them.
class LoopbackServer {
 public:
  // Called for each connection, by its thread; must return soon after is_stopped().
  using Serve = std::function<void(UniqueFd client)>;

  explicit LoopbackServer(Serve serve);
  ~LoopbackServer();
  LoopbackServer(const LoopbackServer&) = delete;
  LoopbackServer& operator=(const LoopbackServer&) = delete;

  int port() const { return port_; }
  std::string endpoint() const;
  const std::atomic<bool>& is_stopped() const { return is_stopped_; }

 private:
  void Accept();

  const Serve serve_;
  const UniqueFd listener_;
  int port_ = 0;
  std::atomic<bool> is_stopped_ = false;
  std::list<std::jthread> connections_;  // The acceptor's.
  std::jthread acceptor_;
};

}  // namespace backup::storage::s3
