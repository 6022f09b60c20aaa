#include "services/backupctl/removal.h"

#include <cstddef>
#include <optional>

#include "base/error.h"
#include "base/ids.h"
#include "base/status_macros.h"

namespace backup::ctl {
namespace {

constexpr int kPageSize = 1000;

}  // namespace

absl::StatusOr<FileChoice> FileChoice::Parse(const std::vector<std::string>& names) {
  FileChoice choice;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(Glob pattern, Glob::Parse(name));
    choice.patterns_.push_back(std::move(pattern));
  }
  choice.fitted_.resize(choice.patterns_.size());
  return choice;
}

bool FileChoice::Matches(absl::string_view name) {
  bool is_meant = false;
  for (size_t i = 0; i < patterns_.size(); ++i) {
    if (!patterns_[i].Matches(name)) continue;
    is_meant = true;
    fitted_[i] = true;
  }
  return is_meant;
}

absl::Status FileChoice::CheckAllFitted(absl::string_view where) const {
  for (size_t i = 0; i < patterns_.size(); ++i) {
    if (fitted_[i]) continue;
    return MakeError(Reason::kFileNotFound,
                     absl::StrCat("there is no file ", patterns_[i].text(), " ", where),
                     patterns_[i].text());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> FateOfDeleted(Connection& connection) {
  ASSIGN_OR_RETURN(
      const v1::GetStatusResponse status,
      connection.CallUnary(connection.admin(), &v1::AdminService::StubInterface::GetStatus,
                           v1::GetStatusRequest()));
  if (status.trash_retention_seconds() == 0) return std::string(", for good");
  return absl::StrCat(", into the trash for ",
                      absl::FormatDuration(absl::Seconds(status.trash_retention_seconds())));
}

absl::Status ForEachVersion(Connection& connection, const std::string& client_id,
                            const std::string& file_name,
                            const std::function<void(const v1::FileVersion&)>& use) {
  v1::ListVersionsRequest request;
  request.set_client_id(client_id);
  request.set_file_name(file_name);
  request.set_page_size(kPageSize);
  do {
    ASSIGN_OR_RETURN(
        const v1::ListVersionsResponse page,
        connection.CallUnary(connection.catalog(), &v1::CatalogService::StubInterface::ListVersions,
                             request));
    for (const v1::FileVersion& version : page.versions()) use(version);
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

absl::Status ForEachFile(Connection& connection, const std::string& client_id,
                         const std::function<void(const v1::File&)>& use) {
  v1::ListFilesRequest request;
  request.set_client_id(client_id);
  request.set_page_size(kPageSize);
  do {
    ASSIGN_OR_RETURN(const v1::ListFilesResponse page,
                     connection.CallUnary(connection.catalog(),
                                          &v1::CatalogService::StubInterface::ListFiles, request));
    for (const v1::File& file : page.files()) use(file);
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

absl::Status ForEachTrashPage(Connection& connection, const std::string& client_id,
                              const std::function<void(const v1::ListTrashResponse&)>& use) {
  v1::ListTrashRequest request;
  request.set_client_id(client_id);
  request.set_page_size(kPageSize);
  do {
    ASSIGN_OR_RETURN(
        const v1::ListTrashResponse page,
        connection.CallUnary(connection.lifecycle(),
                             &v1::LifecycleService::StubInterface::ListTrash, request));
    use(page);
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

absl::StatusOr<std::string> FindClientId(Connection& connection, const std::string& text) {
  if (FromUuid<ClientId>(text)) return text;
  const absl::StatusOr<v1::Client> client = connection.FindClient(text);
  if (client.ok()) return client->client_id();
  if (ReasonOf(client.status()) != Reason::kClientNotFound) return client.status();
  std::string id;  // Of the one that was deleted last.
  RETURN_IF_ERROR(ForEachTrashPage(connection, "", [&](const v1::ListTrashResponse& page) {
    for (const v1::TrashedClient& trashed : page.clients()) {
      if (trashed.client().name() == text) id = trashed.client().client_id();
    }
  }));
  return id.empty() ? absl::StatusOr<std::string>(client.status()) : id;
}

}  // namespace backup::ctl
