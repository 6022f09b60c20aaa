#pragma once

#include <functional>
#include <optional>

#include "absl/container/node_hash_map.h"
#include "absl/status/statusor.h"
#include "backup/v1/types.pb.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "bridge/service/backend_client.h"

namespace backup::bridge {

// The words of v1::LegacyProfile that the bridge also reads.
inline constexpr char kStreamFraming[] = "stream";
inline constexpr char kBlockFraming[] = "blocks of ";  // And so many bytes.
inline constexpr char kManyRequests[] = "many requests a connection";
inline constexpr char kOneRequest[] = "one request a connection";

// The clients' records as far as the bridge has asked for them or made them: a bounded cache, so
// that a client's requests need no look-up each. Thread-safe.
class LegacyProfiles {
 public:
  // `backend` must outlive this.
  explicit LegacyProfiles(BackendClient& backend) : backend_(backend) {}

  // What the cache has; nothing if the service would have to be asked.
  std::optional<v1::LegacyProfile> FindCached(const ClientId& id);

  // Asks the service, for all that is known; all empty if it has no such client. `done` gets that,
  // or an error if it cannot be asked, on the channels' queue, which it must not block. `origin`
  // and this must live until then.
  using Done = std::function<void(absl::StatusOr<v1::LegacyProfile>)>;
  void Find(const CallOrigin& origin, const ClientId& id, Policy policy, Done done);

  // Adds what was observed; returns all that is known if the service does not know it yet.
  std::optional<v1::LegacyProfile> Observe(const ClientId& id, const v1::LegacyProfile& observed);
  // The service has been told all of it.
  void MarkReported(const ClientId& id);

 private:
  struct Entry {
    v1::LegacyProfile profile;
    bool reported = false;
  };

  absl::StatusOr<v1::LegacyProfile> Keep(const ClientId& id,
                                         absl::StatusOr<v1::ObserveClientResponse> response);
  // Room for one more.
  void MakeRoom() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  BackendClient& backend_;
  Mutex mutex_;
  absl::node_hash_map<ClientId, Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::bridge
