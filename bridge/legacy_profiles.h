#pragma once

#include <optional>
#include <string>

#include "absl/container/node_hash_map.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "bridge/backend_client.h"

namespace backup::bridge {

// What is known of how a client speaks; the fields of v1::LegacyProfile that the bridge fills in.
// Empty or 0: not known.
struct LegacyProfile {
  std::string family;
  int header_version = 0;
  std::string framing;
  std::string file_style;
  std::string connection_style;

  // Takes over what `observed` knows. Who has ever sent many requests on a connection does.
  void Merge(const LegacyProfile& observed);

  friend bool operator==(const LegacyProfile&, const LegacyProfile&) = default;
};

// The words of LegacyProfile that the bridge also reads.
inline constexpr char kStreamFraming[] = "stream";
inline constexpr char kBlockFraming[] = "blocks of 1024 bytes";
inline constexpr char kManyRequests[] = "many requests a connection";
inline constexpr char kOneRequest[] = "one request a connection";

// The clients' records as far as the bridge has asked for them or made them: a bounded cache, so
// that a client's requests need no look-up each. Thread-safe.
class LegacyProfiles {
 public:
  // `backend` must outlive this.
  explicit LegacyProfiles(BackendClient& backend) : backend_(backend) {}

  // What the cache has, else what the service has; all unknown if it has no such client. An error
  // if it cannot be asked.
  absl::StatusOr<LegacyProfile> Find(const CallOrigin& origin, const ClientId& id);

  // What the cache has; nothing if the service would have to be asked.
  std::optional<LegacyProfile> FindCached(const ClientId& id);

  // Adds what was observed; returns all that is known if the service does not know it yet.
  std::optional<LegacyProfile> Observe(const ClientId& id, const LegacyProfile& observed);
  // The service has been told all of it.
  void MarkReported(const ClientId& id);

 private:
  struct Entry {
    LegacyProfile profile;
    bool reported = false;
  };

  // Room for one more.
  void MakeRoom() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  BackendClient& backend_;
  Mutex mutex_;
  absl::node_hash_map<ClientId, Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

v1::LegacyProfile ToProto(const LegacyProfile& profile);

}  // namespace backup::bridge
