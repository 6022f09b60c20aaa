#include "services/backup/handlers/list_trash.h"

#include "base/error.h"
#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/page_tokens.h"

namespace backup::handlers {

absl::StatusOr<v1::ListTrashResponse> ListTrash(storage::Snapshot& /*snapshot*/,
                                                const v1::ListTrashRequest& request) {
  if (!request.client_id().empty()) RETURN_IF_ERROR(ParseClientId(request.client_id()).status());
  if (request.client_id().empty() && !request.file_name().empty())
    return MakeError(Reason::kInvalidField, "file_name needs client_id", "file_name");
  RETURN_IF_ERROR(ParsePageSize(request.page_size()).status());
  RETURN_IF_ERROR(ParsePageToken("trash", request.page_token()).status());
  return v1::ListTrashResponse();  // What is deleted is gone for good at once.
}

}  // namespace backup::handlers
