#pragma once

#include <functional>
#include <optional>

#include "absl/status/status.h"
#include "base/byte_stream.h"
#include "bridge/backend_client.h"
#include "bridge/legacy_profiles.h"
#include "bridge/wire/message.h"

namespace backup::bridge {

struct Forwarded {
  wire::Reply reply;
  absl::Status outcome;  // What the service, or the body, said.
};

// The content of a file request: one ciphertext, or segments (UploadFileHeader).
struct FileContent {
  ByteSource& bytes;
  uint64_t size = 0;                                // Of the one ciphertext.
  std::optional<int> segment_count = std::nullopt;  // 0: as many as come.
};

// A request of the wire as one call to the service, and its answer as one of the wire: the only
// place that knows both. The service decides; errors become what the protocol has for them.
// Thread-safe.
class Forwarder {
 public:
  // `corrupt_checksums`: answer wrong checksums on purpose; `faults_injected` counts them.
  Forwarder(BackendClient& backend, bool corrupt_checksums, Counter faults_injected = {})
      : backend_(backend),
        profiles_(backend),
        corrupt_checksums_(corrupt_checksums),
        faults_injected_(faults_injected) {}

  // `observed` is what the request shows of its sender. Requests other than files do not touch
  // `content`.
  Forwarded Forward(const CallOrigin& origin, const wire::Request& request,
                    const LegacyProfile& observed, const FileContent& content);

  // Forward() without its waits, for requests that came whole: starts the call and returns at once.
  // `content` is a file's; `request` must live until `done` was called, which happens on any thread
  // and may be before this returns. `done` gets nothing if Forward() has to be called after all:
  // because the service is away, or for a second call. It must not block.
  void Start(const CallOrigin& origin, const wire::Request& request, LegacyProfile observed,
             absl::string_view content, std::function<void(std::optional<Forwarded>)> done);

  // What is known of how the client speaks: LegacyProfiles::Find().
  absl::StatusOr<LegacyProfile> FindProfile(const CallOrigin& origin, const ClientId& id) {
    return profiles_.Find(origin, id);
  }
  // The same as far as it is known without asking the service.
  std::optional<LegacyProfile> FindCachedProfile(const ClientId& id) {
    return profiles_.FindCached(id);
  }
  // Notes on the client's record which rule of the protocol it broke, if the service can be asked.
  void ReportProtocolError(const CallOrigin& origin, const ClientId& id, absl::string_view rule);

 private:
  BackendClient& backend_;
  LegacyProfiles profiles_;
  const bool corrupt_checksums_;
  const Counter faults_injected_;
};

}  // namespace backup::bridge
