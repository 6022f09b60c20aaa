#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "services/backup/handlers/converters.h"
#include "storage/catalog/catalog.h"

// What handlers and jobs that put things into the trash, take them back and purge them have in
// common.
namespace backup::handlers {

// What becomes of what is deleted.
struct TrashPolicy {
  absl::Duration retention;  // For so long it can be taken back; zero: it is gone for good at once.

  bool for_good() const { return retention == absl::ZeroDuration(); }
};

// What is deleted now.
storage::Deletion DeletionNow(const Clock& clock, const TrashPolicy& policy);
// Says in an answer until when it can be taken back; nothing if it cannot.
template <typename Response>
void SetPurgeTime(const storage::Deletion& deletion, const TrashPolicy& policy,
                  Response& response) {
  if (!deletion.for_good) SetTime(deletion.time + policy.retention, *response.mutable_purge_time());
}

// Purges what was deleted until some time, of all clients or of one, in steps that keep nobody else
// waiting. Used by one thread at a time.
class Purge {
 public:
  struct Counts {
    int64_t versions = 0;
    int64_t clients = 0;

    friend bool operator==(const Counts&, const Counts&) = default;
  };

  // `catalog` must outlive this. `client` unset: all.
  Purge(storage::Catalog& catalog, const std::optional<ClientId>& client)
      : catalog_(catalog), filter_{client, std::nullopt} {}

  // Purges at most about `limit` versions that were deleted at `deleted_by` or before; after an
  // error, what went before is done. What must be kept for longer than until `now`, or has such a
  // time while the clock is not trusted (storage::ClockNote), is passed over.
  absl::StatusOr<Counts> Step(absl::Time deleted_by, absl::Time now, int limit);
  // Nothing was left at the last step.
  bool is_done() const { return is_done_; }

 private:
  absl::StatusOr<Counts> PurgeVersions(absl::Time deleted_by, absl::Time now, int limit);
  absl::StatusOr<Counts> PurgeClient(absl::Time deleted_by, absl::Time now, int limit);
  // The client of the last step, if there is more of it, or the next one that is due.
  absl::StatusOr<std::optional<storage::Client>> NextClient(absl::Time deleted_by);

  storage::Catalog& catalog_;
  const storage::TrashFilter filter_;
  // Behind which it goes on.
  storage::TrashPosition<int64_t> version_;
  storage::TrashPosition<ClientId> client_;
  std::optional<storage::Client> client_on_the_way_;
  bool versions_are_done_ = false;
  bool is_done_ = false;
};

}  // namespace backup::handlers
