#include "services/backup/catalog_service.h"

#include "services/backup/download_stream.h"
#include "services/backup/handlers/delete_client.h"
#include "services/backup/handlers/delete_file.h"
#include "services/backup/handlers/delete_version.h"
#include "services/backup/handlers/get_client.h"
#include "services/backup/handlers/get_version.h"
#include "services/backup/handlers/list_clients.h"
#include "services/backup/handlers/list_files.h"
#include "services/backup/handlers/list_versions.h"
#include "services/backup/serve.h"

namespace backup {

CatalogServiceImpl::CatalogServiceImpl(const ServiceContext& context)
    : CatalogServiceWithDownloadStream(context.watchdog), context_(context) {}

grpc::Status CatalogServiceImpl::ServeDownload(grpc::ServerContext& call,
                                               rpc::DownloadStream& stream) {
  return backup::ServeDownload(context_, call, stream);
}

grpc::Status CatalogServiceImpl::ListClients(grpc::ServerContext* call,
                                             const v1::ListClientsRequest* request,
                                             v1::ListClientsResponse* response) {
  return ServeRead(*call, context_, "ListClients", *request, *response, handlers::ListClients);
}

grpc::Status CatalogServiceImpl::GetClient(grpc::ServerContext* call,
                                           const v1::GetClientRequest* request,
                                           v1::GetClientResponse* response) {
  return ServeRead(*call, context_, "GetClient", *request, *response, handlers::GetClient);
}

grpc::Status CatalogServiceImpl::ListFiles(grpc::ServerContext* call,
                                           const v1::ListFilesRequest* request,
                                           v1::ListFilesResponse* response) {
  return ServeRead(*call, context_, "ListFiles", *request, *response, handlers::ListFiles);
}

grpc::Status CatalogServiceImpl::ListVersions(grpc::ServerContext* call,
                                              const v1::ListVersionsRequest* request,
                                              v1::ListVersionsResponse* response) {
  return ServeRead(*call, context_, "ListVersions", *request, *response, handlers::ListVersions);
}

grpc::Status CatalogServiceImpl::GetVersion(grpc::ServerContext* call,
                                            const v1::GetVersionRequest* request,
                                            v1::GetVersionResponse* response) {
  return ServeRead(*call, context_, "GetVersion", *request, *response, handlers::GetVersion);
}

grpc::Status CatalogServiceImpl::DeleteClient(grpc::ServerContext* call,
                                              const v1::DeleteClientRequest* request,
                                              v1::DeleteClientResponse* response) {
  context_.LookAtClock();
  const grpc::Status status = ServeAudited(
      *call, context_, "DeleteClient", *request, *response, [&](storage::Catalog& catalog) {
        return handlers::DeleteClient(catalog, context_.clock, context_.trash, *request);
      });
  if (status.ok()) context_.wake_sweep();
  return status;
}

grpc::Status CatalogServiceImpl::DeleteFile(grpc::ServerContext* call,
                                            const v1::DeleteFileRequest* request,
                                            v1::DeleteFileResponse* response) {
  context_.LookAtClock();
  const grpc::Status status = ServeAudited(
      *call, context_, "DeleteFile", *request, *response, [&](storage::Catalog& catalog) {
        return handlers::DeleteFile(catalog, context_.clock, context_.trash, *request);
      });
  if (status.ok()) context_.wake_sweep();
  return status;
}

grpc::Status CatalogServiceImpl::DeleteVersion(grpc::ServerContext* call,
                                               const v1::DeleteVersionRequest* request,
                                               v1::DeleteVersionResponse* response) {
  context_.LookAtClock();
  const grpc::Status status = ServeAudited(
      *call, context_, "DeleteVersion", *request, *response, [&](storage::Catalog& catalog) {
        return handlers::Transact(catalog, [&] {
          return handlers::DeleteVersion::Prepare(context_.clock, context_.trash, *request);
        });
      });
  if (status.ok()) context_.wake_sweep();
  return status;
}

}  // namespace backup
