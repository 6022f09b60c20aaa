#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "legacy_client/frames.h"
#include "legacy_client/key_pair.h"

namespace backup::bench {

// What one old client says, session after session, and what it makes of the answers; it has no
// socket. Request() and Take() alternate. Used by one thread at a time.
class SessionClient {
 public:
  // Every session registers a name of its own, which begins with `prefix`. `key_pair` must outlive
  // this.
  SessionClient(std::string prefix, const legacy_client::KeyPair& key_pair);

  // The next request, whole.
  std::string Request() const;
  // Its answer, which must be the right one. DataLoss if a checksum is wrong, or anything else that
  // can be told; Internal if the request is refused.
  absl::Status Take(const legacy_client::Answer& answer);

  // What Request() is.
  legacy_client::RequestKind asked() const { return asked_; }
  bool is_between_sessions() const { return asked_ == legacy_client::RequestKind::REGISTER; }
  // How many came to their end.
  int64_t sessions() const { return sessions_; }

 private:
  std::string FileRequest() const;
  absl::Status CheckFile(const legacy_client::AnswerValues& received) const;

  const std::string prefix_;
  const legacy_client::KeyPair& key_pair_;
  const std::string public_key_;
  int64_t sessions_ = 0;
  // Of the session at hand: how far it is, and what was learned.
  legacy_client::RequestKind asked_ = legacy_client::RequestKind::REGISTER;
  ClientId id_;
  std::string content_;
};

}  // namespace backup::bench
