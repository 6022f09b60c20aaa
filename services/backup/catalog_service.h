#pragma once

#include "rpc/download_stream.h"
#include "services/backup/service_context.h"

namespace backup {

// What is stored, and reading it back. Thread-safe.
class CatalogServiceImpl final : public rpc::CatalogServiceWithDownloadStream {
 public:
  // `context` must outlive this.
  explicit CatalogServiceImpl(const ServiceContext& context);
  grpc::Status ListClients(grpc::ServerContext* call, const v1::ListClientsRequest* request,
                           v1::ListClientsResponse* response) override;
  grpc::Status GetClient(grpc::ServerContext* call, const v1::GetClientRequest* request,
                         v1::GetClientResponse* response) override;
  grpc::Status DeleteClient(grpc::ServerContext* call, const v1::DeleteClientRequest* request,
                            v1::DeleteClientResponse* response) override;
  grpc::Status ListFiles(grpc::ServerContext* call, const v1::ListFilesRequest* request,
                         v1::ListFilesResponse* response) override;
  grpc::Status ListVersions(grpc::ServerContext* call, const v1::ListVersionsRequest* request,
                            v1::ListVersionsResponse* response) override;
  grpc::Status GetVersion(grpc::ServerContext* call, const v1::GetVersionRequest* request,
                          v1::GetVersionResponse* response) override;
  grpc::Status DeleteFile(grpc::ServerContext* call, const v1::DeleteFileRequest* request,
                          v1::DeleteFileResponse* response) override;
  grpc::Status DeleteVersion(grpc::ServerContext* call, const v1::DeleteVersionRequest* request,
                             v1::DeleteVersionResponse* response) override;

 private:
  grpc::Status ServeDownload(grpc::ServerContext& call, rpc::DownloadStream& stream) override;

  const ServiceContext& context_;
};

}  // namespace backup
