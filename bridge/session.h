#pragma once

#include <string>

#include "bridge/connection.h"
#include "bridge/forwarder.h"
#include "bridge/wire/dialect.h"

namespace backup::bridge {

// What to do with a connection next.
struct NextStep {
  enum class Kind { kWaitForRequest, kAnswerLater, kClose };
  Kind kind = Kind::kWaitForRequest;
  std::string answer;  // kAnswerLater: send this unless the client's next bytes come first.
};

// Serves the requests of one connection, one after the other: read, forward, answer. It knows
// neither sockets' waiting nor which dialect it serves. Stateless between requests; thread-safe as
// far as the forwarder is.
class Session {
 public:
  explicit Session(Forwarder& forwarder) : forwarder_(forwarder) {}

  // Whether there is something to serve: a whole head, or bytes that can never become one.
  static bool IsReady(absl::string_view buffered);

  // Serves every request whose head is buffered.
  NextStep Serve(Connection& connection);

  // The answer of last resort, in whatever dialect the bytes so far are.
  static std::string GeneralErrorFor(absl::string_view buffered);

 private:
  NextStep ServeOne(Connection& connection);
  NextStep Refuse(Connection& connection, const absl::Status& why);

  Forwarder& forwarder_;
};

}  // namespace backup::bridge
