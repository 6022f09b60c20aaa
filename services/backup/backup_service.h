#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "backup/v1/backup.grpc.pb.h"
#include "base/clock.h"
#include "base/idle_shutdown.h"
#include "base/worker_pool.h"
#include "services/backup/authorization.h"
#include "services/backup/call_gate.h"
#include "services/backup/client_trace.h"
#include "services/backup/crypto/master_key.h"
#include "services/backup/handlers/sessions.h"
#include "services/backup/handlers/upload_file.h"
#include "services/backup/service_metrics.h"
#include "services/backup/stream_watchdog.h"
#include "services/backup/upload_stream.h"
#include "storage/blob_store.h"
#include "storage/catalog.h"

namespace backup {

// Everything the RPC faces hand on to handlers; all of it outlives them.
struct ServiceContext {
  storage::Catalog& catalog;
  storage::BlobStore& blobs;
  const crypto::MasterKey& master_key;
  const Clock& clock;
  IdleShutdown& idle;
  StreamWatchdog& watchdog;
  CallGate& gate;
  storage::DuplicateNames duplicate_names = storage::DuplicateNames::kReject;
  handlers::KeyPolicy keys;
  handlers::UploadPolicy uploads;
  ServiceMetrics metrics = {};
  ClientTrace* trace = nullptr;            // Null if nobody can watch.
  Authorization* authorization = nullptr;  // Null if every caller may do everything.
  // Only this machine can call: then whoever does may stand for old clients.
  bool callers_are_local = true;
};

// The RPC faces of backup.proto: unpack, call the handler, pack; they decide nothing. Thread-safe.

// What a backup client does, many at a time: on gRPC's callback interface, which serves twice the
// calls of the blocking one. Handlers that need nothing but the catalog run as its work
// (Catalog::Start), those that block on threads of our own. An upload's messages come as they are
// on the wire (UploadStream).
class IngestServiceFace final
    : public v1::IngestService::WithCallbackMethod_RegisterClient<
          v1::IngestService::WithCallbackMethod_ExchangeKey<
              v1::IngestService::WithCallbackMethod_ResumeClient<
                  v1::IngestService::WithCallbackMethod_ReportTransfer<
                      v1::IngestService::WithCallbackMethod_ObserveClient<
                          v1::IngestService::WithRawCallbackMethod_UploadFile<
                              v1::IngestService::Service>>>>>> {
 public:
  explicit IngestServiceFace(const ServiceContext& context);
  grpc::ServerUnaryReactor* RegisterClient(grpc::CallbackServerContext* call,
                                           const v1::RegisterClientRequest* request,
                                           v1::RegisterClientResponse* response) override;
  grpc::ServerUnaryReactor* ExchangeKey(grpc::CallbackServerContext* call,
                                        const v1::ExchangeKeyRequest* request,
                                        v1::ExchangeKeyResponse* response) override;
  grpc::ServerUnaryReactor* ResumeClient(grpc::CallbackServerContext* call,
                                         const v1::ResumeClientRequest* request,
                                         v1::ResumeClientResponse* response) override;
  grpc::ServerUnaryReactor* ReportTransfer(grpc::CallbackServerContext* call,
                                           const v1::ReportTransferRequest* request,
                                           v1::ReportTransferResponse* response) override;
  grpc::ServerUnaryReactor* ObserveClient(grpc::CallbackServerContext* call,
                                          const v1::ObserveClientRequest* request,
                                          v1::ObserveClientResponse* response) override;
  grpc::ServerReadReactor<grpc::ByteBuffer>* UploadFile(grpc::CallbackServerContext* call,
                                                        grpc::ByteBuffer* response) override;

 private:
  struct Upload;

  void BeginUpload(const std::shared_ptr<Upload>& upload);
  // By a thread of its own, or, of one that is whole and small, by the catalog's.
  void SubmitUpload(const std::shared_ptr<Upload>& upload);
  void StartUpload(const std::shared_ptr<Upload>& upload);
  absl::StatusOr<v1::UploadFileResponse> HandleUpload(Upload& upload,
                                                      const handlers::UploadPolicy& policy);

  const ServiceContext& context_;
  handlers::UploadPolicy started_uploads_;
  // Apart, so that uploads that wait for their clients hold nobody up.
  WorkerPool calls_;
  WorkerPool uploads_;
};

// DownloadFile is in download_stream.h.
class CatalogServiceFace final : public v1::CatalogService::Service {
 public:
  explicit CatalogServiceFace(const ServiceContext& context);
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
  grpc::Status DeleteVersion(grpc::ServerContext* call, const v1::DeleteVersionRequest* request,
                             v1::DeleteVersionResponse* response) override;

 private:
  const ServiceContext& context_;
};

}  // namespace backup
