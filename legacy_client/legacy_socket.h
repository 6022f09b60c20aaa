#pragma once

#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/unique_fd.h"
#include "legacy_client/transfer_info.h"

namespace backup::legacy_client {

// A TCP connection whose every wait has a deadline. Unavailable means the server cannot be reached
// or has hung up; DeadlineExceeded that it moved no byte for the timeout. Used by one thread at a
// time.
class LegacySocket {
 public:
  static absl::StatusOr<LegacySocket> Connect(const Endpoint& server, absl::Duration timeout);

  // Writes all of `bytes`. With `more_follows` the kernel may hold them back for the next bytes.
  absl::Status Write(absl::string_view bytes, bool more_follows = false);
  // Fills `out`.
  absl::Status Read(std::span<char> out);
  // Waits until the server hangs up. DataLoss if it sends more instead.
  absl::Status ReadEnd();

 private:
  LegacySocket(UniqueFd fd, absl::Duration timeout) : fd_(std::move(fd)), timeout_(timeout) {}

  UniqueFd fd_;
  absl::Duration timeout_;
};

}  // namespace backup::legacy_client
