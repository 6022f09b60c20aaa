#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "bridge/net/body_source.h"
#include "bridge/request/client_order.h"
#include "bridge/request/legacy_profiles.h"
#include "bridge/request/translation.h"
#include "bridge/service/backend_client.h"
#include "bridge/wire/message.h"

namespace backup::bridge {

// The content of a file that is passed on as it comes: one ciphertext, or segments
// (UploadFileHeader).
struct StreamedContent {
  Body& bytes;
  uint64_t size = 0;                                // Of the one ciphertext.
  std::optional<int> segment_count = std::nullopt;  // 0: as many as come.
};

// A request of the wire as one call to the service, and its answer as one of the wire: the only
// place that knows both. The service decides; errors become what the protocol has for them.
// Thread-safe.
class Forwarder {
 public:
  using Done = std::function<void(Forwarded)>;

  // `corrupt_checksums`: answer wrong checksums on purpose; `faults_injected` counts them.
  Forwarder(BackendClient& backend, bool corrupt_checksums, Counter faults_injected = {});

  // The place in the line of the client whose request has come whole; none if it is no client's,
  // because it registers.
  ClientOrder::Place TakePlace(const wire::Request& request);
  ClientOrder::Place TakePlace(const ClientId& id) { return order_.Take(id); }

  // Forwards a request that has come whole: `content` is all of a file's. It is sent when `place`
  // is the first in its line, and leaves then with the answer. `observed` is what the request shows
  // of its sender. Origin, request and content must live until `done` was called, which happens on
  // any thread, perhaps before this returns. It must not block.
  void Forward(const CallOrigin& origin, const wire::Request& request, ClientOrder::Place place,
               v1::LegacyProfile observed, absl::string_view content, Done done);

  // Forwards a file whose content is still coming; waits for it and for the answer. The content
  // takes its place in the line when it has come.
  Forwarded ForwardStream(const CallOrigin& origin, const wire::Request& request,
                          v1::LegacyProfile observed, const StreamedContent& content);

  LegacyProfiles& profiles() { return profiles_; }

  // Notes on the client's record which rule of the protocol it broke, if the service can be asked
  // now and is not asked too often. Waits for nothing.
  void ReportProtocolError(const CallOrigin& origin, const ClientId& id, absl::string_view rule);

 private:
  Translation MakeTranslation(const wire::Request& request, v1::LegacyProfile observed);

  BackendClient& backend_;
  LegacyProfiles profiles_;
  ClientOrder order_;
  const bool corrupt_checksums_;
  const Counter faults_injected_;
  // Shared with them, because nobody waits for their end.
  const std::shared_ptr<std::atomic<int>> reports_in_flight_ =
      std::make_shared<std::atomic<int>>(0);
};

}  // namespace backup::bridge
