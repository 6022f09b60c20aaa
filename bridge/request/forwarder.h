#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "bridge/request/client_order.h"
#include "bridge/request/legacy_profiles.h"
#include "bridge/request/translation.h"
#include "bridge/service/backend_client.h"
#include "bridge/upload/upload_content.h"
#include "bridge/wire/message.h"

namespace backup::bridge {

// The content of a file that has come whole; of other requests: nothing.
struct WholeContent {
  absl::string_view bytes;
  std::optional<uint64_t> plaintext_size = std::nullopt;  // If it is relied on.
};

// A request of the wire as one call to the service, and its answer as one of the wire: the only
// place that knows both. The service decides; errors become what the protocol has for them.
// Thread-safe.
class Forwarder {
 public:
  using Done = std::function<void(Forwarded)>;

  // `corrupt_checksums`: answer wrong checksums on purpose; `faults_injected` counts them.
  Forwarder(BackendClient& backend, bool corrupt_checksums, Counter faults_injected = {});

  // The place in the line of the client whose request has come whole.
  ClientOrder::Place TakePlace(const ClientId& id) { return order_.Take(id); }

  // Forwards a request that has come whole. It is sent when `place` is the first in its line, if it
  // has one, and leaves then with the answer. Origin, request and content must live until `done`
  // was called, which happens on any thread, perhaps before this returns. It must not block.
  void Forward(const CallOrigin& origin, const wire::Request& request, Sender sender,
               ClientOrder::Place place, const WholeContent& content, Done done);

  // Forwards a file whose content is still coming; waits for it and for the answer. The content
  // takes its place in the line when it has come. The sender has an id.
  Forwarded ForwardStream(const CallOrigin& origin, const wire::SendFile& file, Sender sender,
                          const UploadContent& content);

  LegacyProfiles& profiles() { return profiles_; }

  // Notes on the client's record which rule of the protocol it broke, if the service can be asked
  // now and is not asked too often. Waits for nothing.
  void ReportProtocolError(const CallOrigin& origin, const ClientId& id, absl::string_view rule);

 private:
  Translation MakeTranslation(Sender sender);

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
