#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "rpc/acceptor.h"
#include "services/backup/admin_service.h"
#include "services/backup/catalog_service.h"
#include "services/backup/ingest_service.h"
#include "services/backup/lifecycle_service.h"
#include "services/backup/service_context.h"

namespace backup {

struct ServerOptions {
  bool reflection = true;
  std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
};

// The gRPC server around the services: acceptor, health, reflection, limits. Thread-safe.
class Server {
 public:
  // Serves on `acceptor` at once.
  static absl::StatusOr<std::unique_ptr<Server>> Start(std::unique_ptr<rpc::Acceptor> acceptor,
                                                       const ServiceContext& context,
                                                       ServiceInfo info,
                                                       const ServerOptions& options);
  ~Server();

  int bound_port() const { return acceptor_->bound_port(); }
  const std::string& bound_address() const { return acceptor_->bound_address(); }

  // No new calls: they are refused with reason DRAINING. Those in flight may finish within
  // `timeout`, then they are cancelled, and nobody waits for the store any more. Whoever calls
  // after that is hung up on (UNAVAILABLE).
  void Drain(absl::Duration timeout);

 private:
  Server(std::unique_ptr<rpc::Acceptor> acceptor, const ServiceContext& context, ServiceInfo info);

  const std::unique_ptr<rpc::Acceptor> acceptor_;
  rpc::DrainGate& gate_;
  storage::BlobStore& blobs_;
  IngestServiceImpl ingest_;
  CatalogServiceImpl catalog_;
  LifecycleServiceImpl lifecycle_;
  AdminServiceImpl admin_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace backup
