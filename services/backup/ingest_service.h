#pragma once

#include <memory>

#include "backup/v1/ingest.grpc.pb.h"
#include "base/worker_pool.h"
#include "rpc/upload_stream.h"
#include "services/backup/service_context.h"

namespace backup {

// What a backup client does, many at a time: on gRPC's callback interface, which serves twice the
// calls of the blocking one. Calls are prepared on gRPC's threads and answered by the catalog's, so
// that no thread waits for a transaction; files that are large or still coming have threads of our
// own. An upload's messages come as they are on the wire (rpc::UploadStream). Thread-safe.
class IngestServiceImpl final
    : public v1::IngestService::WithCallbackMethod_RegisterClient<
          v1::IngestService::WithCallbackMethod_ExchangeKey<
              v1::IngestService::WithCallbackMethod_ResumeClient<
                  v1::IngestService::WithCallbackMethod_ReportTransfer<
                      v1::IngestService::WithCallbackMethod_ObserveClient<
                          v1::IngestService::WithRawCallbackMethod_UploadFile<
                              v1::IngestService::Service>>>>>> {
 public:
  // `context` must outlive this.
  explicit IngestServiceImpl(const ServiceContext& context);
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
  // Seldom enough for the synchronous pool.
  grpc::Status SyncBans(grpc::ServerContext* call, const v1::SyncBansRequest* request,
                        v1::SyncBansResponse* response) override;
  grpc::ServerReadReactor<grpc::ByteBuffer>* UploadFile(grpc::CallbackServerContext* call,
                                                        grpc::ByteBuffer* response) override;

 private:
  struct Upload;

  void BeginUpload(const std::shared_ptr<Upload>& upload);
  // Prepares a small upload that is whole on this thread, and answers from the catalog's.
  void StartUpload(const std::shared_ptr<Upload>& upload);
  // Does everything on a thread of our own.
  void RunUpload(const std::shared_ptr<Upload>& upload);

  const ServiceContext& context_;
  const handlers::UploadResources upload_resources_;
  // Apart, so that uploads that wait for their clients hold nobody up.
  WorkerPool calls_;
  WorkerPool uploads_;
};

}  // namespace backup
