#include "services/backup/handlers/list_files.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/page_tokens.h"

namespace backup::handlers {

absl::StatusOr<v1::ListFilesResponse> ListFiles(storage::Snapshot& snapshot,
                                                const v1::ListFilesRequest& request) {
  ASSIGN_OR_RETURN(const ClientId id, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(const int page_size, ParsePageSize(request.page_size()));
  const std::string scope = absl::StrCat("files:", id.bytes());
  ASSIGN_OR_RETURN(const std::string after, ParsePageToken(scope, request.page_token()));
  ASSIGN_OR_RETURN(std::vector<storage::File> files, snapshot.ListFiles(id, after, page_size + 1));
  v1::ListFilesResponse response;
  const bool more = CutToPage(files, page_size);
  for (const storage::File& file : files) *response.add_files() = ToProto(id, file);
  if (more) response.set_next_page_token(MakePageToken(scope, files.back().name));
  return response;
}

}  // namespace backup::handlers
