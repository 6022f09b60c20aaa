#include "services/backupctl/restore.h"

#include <chrono>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "services/backupctl/exit_code.h"
#include "services/backupctl/progress_bar.h"
#include "services/backupctl/transfer.h"

namespace backup::ctl {
namespace {

using std::chrono::steady_clock;

constexpr int kPageSize = 1000;
constexpr int kMaxTries = 3;
constexpr absl::Duration kFirstBackOff = absl::Milliseconds(500);

// Whether what befell one file would befall all.
bool EndsEverything(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
         absl::IsCancelled(status) || absl::IsResourceExhausted(status);
}

absl::StatusOr<std::string> RestoreOnce(Connection& connection, const v1::FileVersion& version,
                                        RestoreFolder& folder, ProgressBar& progress) {
  ASSIGN_OR_RETURN(const std::string name, TextToName(version.file_name()));
  ASSIGN_OR_RETURN(const std::unique_ptr<OutputFile> file, folder.NewFile(version.size_bytes()));
  RETURN_IF_ERROR(Download(connection, version, *file, progress));
  return folder.Place(*file, name);
}

// Rides through a restart of the service.
absl::StatusOr<std::string> RestoreFile(Connection& connection, const v1::FileVersion& version,
                                        RestoreFolder& folder, ProgressBar& progress) {
  absl::Duration back_off = kFirstBackOff;
  for (int attempt = 1;; ++attempt) {
    absl::StatusOr<std::string> path = RestoreOnce(connection, version, folder, progress);
    if (!absl::IsUnavailable(path.status()) || attempt == kMaxTries) return path;
    if (connection.interrupt().WaitFor(back_off)) return connection.interrupt().Check();
    back_off *= 2;
  }
}

absl::Status RestorePage(Connection& connection, const v1::ListFilesResponse& page,
                         RestoreFolder& folder, Output& output, ProgressBar& progress,
                         RestoreSummary& summary) {
  for (const v1::File& file : page.files()) {
    RETURN_IF_ERROR(connection.interrupt().Check());
    if (!file.has_newest_verified()) {
      ++summary.unverified;
      continue;
    }
    const absl::StatusOr<std::string> path =
        RestoreFile(connection, file.newest_verified(), folder, progress);
    if (EndsEverything(path.status())) return path.status();
    if (!path.ok()) {
      ++summary.failed;
      progress.Hide();
      output.Problem(
          absl::StrCat("cannot restore ", file.file_name(), ": ", ErrorLine(path.status())));
      continue;
    }
    ++summary.files;
    summary.bytes += file.newest_verified().size_bytes();
    if (output.json()) {
      output.Json(nlohmann::json{{"restored",
                                  {{"file_name", file.file_name()},
                                   {"version_id", file.newest_verified().version_id()},
                                   {"size_bytes", file.newest_verified().size_bytes()},
                                   {"path", *path}}}});
    }
  }
  return absl::OkStatus();
}

absl::Status RestoreAll(Connection& connection, const std::string& client_id, RestoreFolder& folder,
                        Output& output, RestoreSummary& summary) {
  ProgressBar progress(output.progress(), "restoring", /*total_bytes=*/0);
  v1::ListFilesRequest request;
  request.set_client_id(client_id);
  request.set_page_size(kPageSize);
  do {
    ASSIGN_OR_RETURN(const v1::ListFilesResponse page,
                     connection.CallUnary(connection.catalog(),
                                          &v1::CatalogService::StubInterface::ListFiles, request));
    RETURN_IF_ERROR(RestorePage(connection, page, folder, output, progress, summary));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return folder.Sync();
}

}  // namespace

absl::StatusOr<RestoreSummary> Restore(Connection& connection, const std::string& client_id,
                                       RestoreFolder& folder, Output& output) {
  const auto start = steady_clock::now();
  RestoreSummary summary;
  const absl::Status status = RestoreAll(connection, client_id, folder, output, summary);
  summary.elapsed = absl::FromChrono(steady_clock::now() - start);
  if (status.ok()) return summary;
  return absl::Status(status.code(), absl::StrCat(ErrorLine(status),
                                                  "; the restore is not complete: ", summary.files,
                                                  " files were restored before"));
}

}  // namespace backup::ctl
