#include "services/backup/handlers/undelete_file.h"

#include <string>
#include <vector>

#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"

namespace backup::handlers {

absl::StatusOr<v1::UndeleteFileResponse> UndeleteFile(storage::Catalog& catalog,
                                                      const v1::UndeleteFileRequest& request) {
  ASSIGN_OR_RETURN(const ClientId client, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(const std::string name, ParseName("file_name", request.file_name()));
  v1::UndeleteFileResponse response;
  storage::TrashPosition<int64_t> after;
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
    ASSIGN_OR_RETURN(const int64_t undeleted, catalog.Run([&](storage::Transaction& transaction) {
      return transaction.UndeleteVersions(ids);
    }));
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
