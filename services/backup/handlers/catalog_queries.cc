#include "services/backup/handlers/catalog_queries.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/sessions.h"

namespace backup::handlers {
namespace {

constexpr int64_t kMaxStaleSeconds = int64_t{100} * 366 * 24 * 60 * 60;

}  // namespace

absl::StatusOr<v1::ListClientsResponse> ListClients(storage::Catalog& catalog,
                                                    const v1::ListClientsRequest& request) {
  constexpr char kScope[] = "clients";
  ASSIGN_OR_RETURN(const int page_size, ParsePageSize(request.page_size()));
  ASSIGN_OR_RETURN(const std::string position, ParsePageToken(kScope, request.page_token()));
  const ClientId after = ClientId::FromBytes(position).value_or(ClientId());
  // One more than asked for tells whether there is a next page.
  ASSIGN_OR_RETURN(std::vector<storage::Client> clients, catalog.ListClients(after, page_size + 1));
  v1::ListClientsResponse response;
  const bool more = clients.size() > static_cast<size_t>(page_size);
  if (more) clients.pop_back();
  for (const storage::Client& client : clients) *response.add_clients() = ToProto(client);
  if (more) response.set_next_page_token(MakePageToken(kScope, clients.back().id.bytes()));
  return response;
}

absl::StatusOr<v1::ListStaleClientsResponse> ListStaleClients(
    storage::Catalog& catalog, const Clock& clock, const v1::ListStaleClientsRequest& request) {
  constexpr char kScope[] = "stale_clients";
  if (request.older_than().seconds() <= 0 || request.older_than().seconds() > kMaxStaleSeconds) {
    return MakeError(Reason::kInvalidField, "older_than must be 1 s to 100 years", "older_than");
  }
  ASSIGN_OR_RETURN(const int page_size, ParsePageSize(request.page_size()));
  ASSIGN_OR_RETURN(const std::string position, ParsePageToken(kScope, request.page_token()));
  const ClientId after = ClientId::FromBytes(position).value_or(ClientId());
  const absl::Time since = clock.Now() - absl::Seconds(request.older_than().seconds());
  // One more than asked for tells whether there is a next page.
  ASSIGN_OR_RETURN(std::vector<storage::Client> clients,
                   catalog.ListStaleClients(since, after, page_size + 1));
  v1::ListStaleClientsResponse response;
  const bool more = clients.size() > static_cast<size_t>(page_size);
  if (more) clients.pop_back();
  for (const storage::Client& client : clients) *response.add_clients() = ToProto(client);
  if (more) response.set_next_page_token(MakePageToken(kScope, clients.back().id.bytes()));
  return response;
}

absl::StatusOr<v1::GetClientResponse> GetClient(storage::Catalog& catalog,
                                                const v1::GetClientRequest& request) {
  v1::GetClientResponse response;
  if (!request.client_id().empty()) {
    ASSIGN_OR_RETURN(const ClientId id, ParseClientId(request.client_id()));
    ASSIGN_OR_RETURN(const storage::Client client, catalog.FindClient(id));
    *response.mutable_client() = ToProto(client);
  } else {
    ASSIGN_OR_RETURN(const std::string name, ParseName("name", request.name()));
    ASSIGN_OR_RETURN(const storage::Client client, catalog.FindClientByName(name));
    *response.mutable_client() = ToProto(client);
  }
  return response;
}

absl::StatusOr<v1::DeleteClientResponse> DeleteClient(storage::Catalog& catalog,
                                                      storage::BlobStore& blobs,
                                                      const v1::DeleteClientRequest& request) {
  ASSIGN_OR_RETURN(const ClientId id, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(const std::vector<BlobId> released, catalog.DeleteClient(id));
  DeleteReleased(blobs, released);
  return v1::DeleteClientResponse();
}

absl::StatusOr<v1::ListFilesResponse> ListFiles(storage::Catalog& catalog,
                                                const v1::ListFilesRequest& request) {
  ASSIGN_OR_RETURN(const ClientId id, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(const int page_size, ParsePageSize(request.page_size()));
  const std::string scope = absl::StrCat("files:", id.bytes());
  ASSIGN_OR_RETURN(const std::string after, ParsePageToken(scope, request.page_token()));
  ASSIGN_OR_RETURN(std::vector<storage::File> files, catalog.ListFiles(id, after, page_size + 1));
  v1::ListFilesResponse response;
  const bool more = files.size() > static_cast<size_t>(page_size);
  if (more) files.pop_back();
  for (const storage::File& file : files) *response.add_files() = ToProto(id, file);
  if (more) response.set_next_page_token(MakePageToken(scope, files.back().name));
  return response;
}

absl::StatusOr<v1::ListVersionsResponse> ListVersions(storage::Catalog& catalog,
                                                      const v1::ListVersionsRequest& request) {
  ASSIGN_OR_RETURN(const ClientId id, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(const std::string name, ParseName("file_name", request.file_name()));
  ASSIGN_OR_RETURN(const int page_size, ParsePageSize(request.page_size()));
  const std::string scope = absl::StrCat("versions:", id.bytes(), name);
  ASSIGN_OR_RETURN(const std::string position, ParsePageToken(scope, request.page_token()));
  int64_t before = 0;
  if (!position.empty() && !absl::SimpleAtoi(position, &before)) {
    return MakeError(Reason::kInvalidField,
                     "page_token must come from the previous page of the same list", "page_token");
  }
  ASSIGN_OR_RETURN(std::vector<storage::Version> versions,
                   catalog.ListVersions(id, name, before, page_size + 1));
  v1::ListVersionsResponse response;
  const bool more = versions.size() > static_cast<size_t>(page_size);
  if (more) versions.pop_back();
  for (const storage::Version& version : versions) *response.add_versions() = ToProto(version);
  if (more)
    response.set_next_page_token(MakePageToken(scope, absl::StrCat(versions.back().version_id)));
  return response;
}

absl::StatusOr<v1::GetVersionResponse> GetVersion(storage::Catalog& catalog,
                                                  const v1::GetVersionRequest& request) {
  ASSIGN_OR_RETURN(const ClientId id, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(const std::string name, ParseName("file_name", request.file_name()));
  ASSIGN_OR_RETURN(const storage::StoredVersion stored,
                   catalog.FindVersion(id, name, request.version_id(), /*with_content=*/false));
  v1::GetVersionResponse response;
  *response.mutable_version() = ToProto(stored.version);
  return response;
}

absl::StatusOr<v1::DeleteVersionResponse> DeleteVersion(storage::Catalog& catalog,
                                                        storage::BlobStore& blobs,
                                                        const v1::DeleteVersionRequest& request) {
  ASSIGN_OR_RETURN(const ClientId id, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(const std::string name, ParseName("file_name", request.file_name()));
  if (request.version_id() <= 0) {
    return MakeError(Reason::kInvalidField, "version_id must name one version", "version_id");
  }
  ASSIGN_OR_RETURN(const std::vector<BlobId> released,
                   catalog.DeleteVersion(id, name, request.version_id()));
  DeleteReleased(blobs, released);
  return v1::DeleteVersionResponse();
}

}  // namespace backup::handlers
