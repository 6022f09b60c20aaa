#include "storage/s3/unfinished_uploads.h"

#include <tuple>
#include <utility>

#include "base/status_macros.h"

namespace backup::storage::s3 {

absl::Status ListUploads(S3Client& client, absl::string_view prefix,
                         const std::function<absl::Status(const ListedUpload&)>& visit) {
  UploadPage page;
  do {
    Query query = {{"prefix", std::string(prefix)}, {"uploads", ""}};
    if (!page.next_key.empty()) {
      query.emplace_back("key-marker", page.next_key);
      query.emplace_back("upload-id-marker", page.next_upload);
    }
    ASSIGN_OR_RETURN(const HttpAnswer answer, client.Call({.operation = Operation::kListUploads,
                                                           .query = std::move(query)}));
    absl::StatusOr<UploadPage> listed = ParseUploadPage(answer.body);
    if (!listed.ok()) return Senseless("list uploads of parts", listed.status().message());
    // Whoever gives the same page again would be asked for ever.
    const bool goes_on =
        listed->next_key.empty() || std::tie(page.next_key, page.next_upload) !=
                                        std::tie(listed->next_key, listed->next_upload);
    if (!goes_on || listed->next_key < page.next_key)
      return Senseless("list uploads of parts", "it does not go on");
    page = *std::move(listed);
    for (const ListedUpload& upload : page.uploads) RETURN_IF_ERROR(visit(upload));
  } while (!page.next_key.empty());
  return absl::OkStatus();
}

absl::Status AbortUploads(S3Client& client, absl::string_view key, absl::string_view spared) {
  return ListUploads(client, key, [&](const ListedUpload& upload) {
    if (upload.key != key || upload.upload_id == spared) return absl::OkStatus();
    const absl::Status aborted = client
                                     .Call({.operation = Operation::kAbortUpload,
                                            .key = upload.key,
                                            .query = {{"uploadId", upload.upload_id}}})
                                     .status();
    return absl::IsNotFound(aborted) ? absl::OkStatus() : aborted;
  });
}

}  // namespace backup::storage::s3
