#pragma once

#include <string>
#include <utility>

#include "base/ip_network.h"
#include "base/unique_fd.h"

namespace backup::bridge {

// A listening socket whose connections are taken without waiting. Used by one thread at a time.
class AcceptingSocket {
 public:
  enum class Result {
    kAccepted,
    kNone,       // Nobody waits.
    kFailed,     // This one is gone already.
    kReserved,   // It was closed: the last descriptors are for the process.
    kExhausted,  // The system has no room for one more: who waits goes on waiting.
  };
  struct Accepted {
    Result result = Result::kNone;
    UniqueFd socket = {};    // Non-blocking.
    IpAddress address = {};  // Of the peer.
    std::string peer = "";   // For the log: "1.2.3.4:5".
  };

  // `socket` listens and does not block.
  explicit AcceptingSocket(UniqueFd socket);

  int fd() const { return socket_.get(); }
  bool is_open() const { return socket_.valid(); }
  Accepted Accept();
  void Close() { socket_.Reset(); }

 private:
  UniqueFd socket_;
  const int first_reserved_;
};

}  // namespace backup::bridge
