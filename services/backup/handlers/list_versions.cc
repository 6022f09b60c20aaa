#include "services/backup/handlers/list_versions.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/page_tokens.h"

namespace backup::handlers {

absl::StatusOr<v1::ListVersionsResponse> ListVersions(storage::Snapshot& snapshot,
                                                      const v1::ListVersionsRequest& request) {
  ASSIGN_OR_RETURN(const ClientId id, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(const std::string name, ParseName("file_name", request.file_name()));
  ASSIGN_OR_RETURN(const int page_size, ParsePageSize(request.page_size()));
  const std::string scope = absl::StrCat("versions:", id.bytes(), name);
  ASSIGN_OR_RETURN(const std::string position, ParsePageToken(scope, request.page_token()));
  int64_t before = 0;
  if (!position.empty() && !absl::SimpleAtoi(position, &before)) return WrongPageToken();
  ASSIGN_OR_RETURN(std::vector<storage::Version> versions,
                   snapshot.ListVersions(id, name, before, page_size + 1));
  v1::ListVersionsResponse response;
  const bool more = CutToPage(versions, page_size);
  for (const storage::Version& version : versions) *response.add_versions() = ToProto(version);
  if (more)
    response.set_next_page_token(MakePageToken(scope, absl::StrCat(versions.back().version_id)));
  return response;
}

}  // namespace backup::handlers
