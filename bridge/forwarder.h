#pragma once

#include "absl/status/status.h"
#include "base/byte_stream.h"
#include "bridge/backend_client.h"
#include "bridge/wire/message.h"

namespace backup::bridge {

struct Forwarded {
  wire::Reply reply;
  absl::Status outcome;  // What the service, or the body, said.
};

// A request of the wire as one call to the service, and its answer as one of the wire: the only
// place that knows both. The service decides; errors become what the protocol has for them.
// Thread-safe.
class Forwarder {
 public:
  // `corrupt_checksums`: answer wrong checksums on purpose.
  Forwarder(BackendClient& backend, bool corrupt_checksums)
      : backend_(backend), corrupt_checksums_(corrupt_checksums) {}

  // `body` yields the content of a file request, `body_size` bytes; other requests do not touch it.
  Forwarded Forward(const CallOrigin& origin, const wire::Request& request, ByteSource& body,
                    uint64_t body_size);

 private:
  BackendClient& backend_;
  const bool corrupt_checksums_;
};

}  // namespace backup::bridge
