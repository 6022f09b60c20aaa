#include "services/backup/handlers/undelete_file.h"

#include <string>
#include <vector>

#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/quotas.h"

namespace backup::handlers {

namespace {

// Takes these versions of a file back, or none of them: reason CLIENT_QUOTA. Returns how many.
absl::StatusOr<int64_t> Undelete(storage::Catalog& catalog, const ClientId& client,
                                 const std::string& name, const std::vector<int64_t>& ids) {
  return catalog.Run([&](storage::Transaction& transaction) -> absl::StatusOr<int64_t> {
    ASSIGN_OR_RETURN(const std::vector<storage::QuotaUse> quotas,
                     transaction.ListQuotasFor(client, name));
    ASSIGN_OR_RETURN(const int64_t undeleted, transaction.UndeleteVersions(ids));
    RETURN_IF_ERROR(CheckGrowth(transaction, quotas, client, name));
    return undeleted;
  });
}

}  // namespace

absl::StatusOr<v1::UndeleteFileResponse> UndeleteFile(storage::Catalog& catalog,
                                                      const v1::UndeleteFileRequest& request) {
  ASSIGN_OR_RETURN(const ClientId client, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(const std::string name, ParseName("file_name", request.file_name()));
  v1::UndeleteFileResponse response;
  storage::TrashPosition<int64_t> after;
  // From the newest version on: none comes in that is sent and deleted meanwhile.
  while (true) {
    ASSIGN_OR_RETURN(
        const std::vector<storage::Version> versions,
        catalog.Read(
            [&](storage::Snapshot& snapshot) -> absl::StatusOr<std::vector<storage::Version>> {
              RETURN_IF_ERROR(snapshot.FindClient(client).status());
              return snapshot.ListTrashedVersions({client, name}, after,
                                                  storage::Transaction::kMaxDeletedVersions);
            }));
    if (versions.empty()) break;
    std::vector<int64_t> ids;
    for (const storage::Version& version : versions) ids.push_back(version.version_id);
    ASSIGN_OR_RETURN(const int64_t undeleted, Undelete(catalog, client, name, ids));
    response.set_version_count(response.version_count() + undeleted);
    after.id = versions.back().version_id;
  }
  if (response.version_count() > 0) return response;
  // Reason FILE_NOT_FOUND unless the file is there.
  RETURN_IF_ERROR(catalog
                      .Read([&](storage::Snapshot& snapshot) {
                        return snapshot.ListVersions(client, name, 0, /*limit=*/1);
                      })
                      .status());
  return response;
}

}  // namespace backup::handlers
