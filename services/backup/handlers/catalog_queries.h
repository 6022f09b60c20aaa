#pragma once

#include "absl/status/statusor.h"
#include "backup/v1/admin.pb.h"
#include "backup/v1/backup.pb.h"
#include "base/clock.h"
#include "storage/blob_store.h"
#include "storage/catalog.h"

// The unary RPCs of CatalogService, and the listing of AdminService. Thread-safe as far as what
// they are given is.
namespace backup::handlers {

absl::StatusOr<v1::ListClientsResponse> ListClients(storage::Catalog& catalog,
                                                    const v1::ListClientsRequest& request);
absl::StatusOr<v1::ListStaleClientsResponse> ListStaleClients(
    storage::Catalog& catalog, const Clock& clock, const v1::ListStaleClientsRequest& request);
absl::StatusOr<v1::GetClientResponse> GetClient(storage::Catalog& catalog,
                                                const v1::GetClientRequest& request);
absl::StatusOr<v1::DeleteClientResponse> DeleteClient(storage::Catalog& catalog,
                                                      storage::BlobStore& blobs,
                                                      const v1::DeleteClientRequest& request);
absl::StatusOr<v1::ListFilesResponse> ListFiles(storage::Catalog& catalog,
                                                const v1::ListFilesRequest& request);
absl::StatusOr<v1::ListVersionsResponse> ListVersions(storage::Catalog& catalog,
                                                      const v1::ListVersionsRequest& request);
absl::StatusOr<v1::GetVersionResponse> GetVersion(storage::Catalog& catalog,
                                                  const v1::GetVersionRequest& request);
absl::StatusOr<v1::DeleteVersionResponse> DeleteVersion(storage::Catalog& catalog,
                                                        storage::BlobStore& blobs,
                                                        const v1::DeleteVersionRequest& request);

}  // namespace backup::handlers
