#include "services/backup/handlers/empty_trash.h"

#include <limits>
#include <optional>
#include <vector>

#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/trash.h"

namespace backup::handlers {
namespace {

// Steps between two reports: at about 10 ms each, a report a second at most.
constexpr int kStepsPerReport = 100;
// Entries of the trash that are read at once.
constexpr int kPage = 1000;

// When the last of what is in the trash was put there, by what its entry says: later than `now` if
// the clock was ahead then. At least `now`.
absl::StatusOr<absl::Time> EndOfTrash(storage::Catalog& catalog,
                                      const std::optional<ClientId>& client, absl::Time now) {
  storage::TrashPosition<int64_t> last{now, std::numeric_limits<int64_t>::max()};
  for (bool is_end = false; !is_end;) {
    ASSIGN_OR_RETURN(const std::vector<storage::Version> page,
                     catalog.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ListTrashedVersions({client, std::nullopt}, last, kPage);
                     }));
    is_end = page.empty();
    if (!is_end) last = {*page.back().delete_time, page.back().version_id};
  }
  storage::TrashPosition<ClientId> last_client{last.delete_time, ClientId()};
  for (bool is_end = false; !is_end;) {
    ASSIGN_OR_RETURN(const std::vector<storage::Client> page,
                     catalog.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ListTrashedClients(last_client, kPage);
                     }));
    is_end = page.empty();
    if (!is_end) last_client = {*page.back().delete_time, page.back().id};
  }
  return last_client.delete_time;
}

}  // namespace

absl::Status EmptyTrash(storage::Catalog& catalog, const Clock& clock,
                        const v1::EmptyTrashRequest& request,
                        const std::function<absl::Status(const v1::EmptyTrashResponse&)>& report) {
  std::optional<ClientId> client;
  if (!request.client_id().empty()) {
    ASSIGN_OR_RETURN(client, ParseClientId(request.client_id()));
  }
  ASSIGN_OR_RETURN(const absl::Time deleted_by, EndOfTrash(catalog, client, clock.Now()));
  v1::EmptyTrashResponse progress;
  Purge purge(catalog, client);
  for (int steps = 1; !purge.is_done(); ++steps) {
    ASSIGN_OR_RETURN(
        const Purge::Counts step,
        purge.Step(deleted_by, clock.Now(), storage::Transaction::kMaxDeletedVersions));
    progress.set_version_count(progress.version_count() + step.versions);
    progress.set_client_count(progress.client_count() + step.clients);
    if (steps % kStepsPerReport == 0) RETURN_IF_ERROR(report(progress));
  }
  return report(progress);
}

}  // namespace backup::handlers
