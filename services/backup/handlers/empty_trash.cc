#include "services/backup/handlers/empty_trash.h"

#include <optional>

#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/trash.h"

namespace backup::handlers {
namespace {

// Steps between two reports: at about 10 ms each, a report a second at most.
constexpr int kStepsPerReport = 100;

}  // namespace

absl::Status EmptyTrash(storage::Catalog& catalog, const Clock& clock,
                        const v1::EmptyTrashRequest& request,
                        const std::function<absl::Status(const v1::EmptyTrashResponse&)>& report) {
  std::optional<ClientId> client;
  if (!request.client_id().empty()) {
    ASSIGN_OR_RETURN(client, ParseClientId(request.client_id()));
  }
  const absl::Time deleted_by = clock.Now();
  v1::EmptyTrashResponse progress;
  Purge purge(catalog, client);
  for (int steps = 1; !purge.is_done(); ++steps) {
    ASSIGN_OR_RETURN(const Purge::Counts step,
                     purge.Step(deleted_by, storage::Transaction::kMaxDeletedVersions));
    progress.set_version_count(progress.version_count() + step.versions);
    progress.set_client_count(progress.client_count() + step.clients);
    if (steps % kStepsPerReport == 0) RETURN_IF_ERROR(report(progress));
  }
  return report(progress);
}

}  // namespace backup::handlers
