#pragma once

#include <string>

#include "absl/time/time.h"
#include "base/metrics.h"
#include "bridge/connection.h"
#include "bridge/forwarder.h"
#include "bridge/wire/dialect.h"

namespace backup::bridge {

struct SessionOptions {
  BodyLimits body;
  // For a client that never reads.
  absl::Duration write_timeout = absl::Seconds(30);
  // How much of a refused body is read, and for how long, to keep the connection usable. After a
  // larger one it is closed.
  uint64_t drain_limit_bytes = uint64_t{64} << 20;
  absl::Duration drain_timeout = absl::Seconds(30);
  // Some clients register again and again if they dislike an answer.
  int max_registrations = 64;
  Metrics* metrics = nullptr;  // Null if nobody asks for them.
};

// What is to become of a connection once its requests were served.
struct Served {
  enum class Next {
    kKeep,    // Wait for the next request.
    kLinger,  // Close, but not while bytes are still coming: that would make the peer lose the last
              // answer.
    kClose,   // Close at once.
  };
  Next next = Next::kKeep;
  // An answer to be sent only if the client does not go on by itself (docs/wire-protocol.md, "Retry
  // notice").
  std::string lazy_answer;
};

// The conversation on one connection: one request after the other, each answered before the next is
// read. It remembers nothing of a request but that there was one. Used by one thread at a time.
class Session {
 public:
  // `forwarder` must outlive this. `connection` is used by nobody else while Serve() runs.
  Session(Connection& connection, Forwarder& forwarder, const SessionOptions& options)
      : connection_(connection), forwarder_(forwarder), options_(options) {}

  // Serves every request whose head was read ahead.
  Served Serve();

 private:
  Served ServeRequest(const wire::Dialect& dialect, const wire::DecodedHead& head);
  Forwarded Forward(const CallOrigin& origin, const wire::DecodedHead& head, ByteSource& body);
  // Reads what is left of a body that was not wanted, if it is not too much.
  Served::Next Settle(BodySource& body) const;
  Served Answer(const wire::Dialect& dialect, const wire::Request& request,
                const wire::Reply& reply, Served::Next next);
  Served RefuseUnknown(const wire::RequestHeader& header);
  Served RefuseMalformed(const wire::Dialect& dialect, const absl::Status& rule);

  Connection& connection_;
  Forwarder& forwarder_;
  const SessionOptions options_;
  int registrations_ = 0;
};

// Whether `bytes`, the first of a request, decide what it asks: a whole head, or one that no more
// bytes can make right.
bool HeadIsDecided(absl::string_view bytes);

// The general error, as the client that sent `bytes` understands it.
std::string EncodeGeneralError(absl::string_view bytes);

// One WARNING line if `bytes` are of another protocol that we know; whether they are.
bool WarnOfForeignProtocol(const Connection& connection, absl::string_view bytes);

}  // namespace backup::bridge
