#include "services/backup/ingest_service.h"

#include <iterator>
#include <optional>
#include <utility>

#include "base/status_macros.h"
#include "glog/logging.h"
#include "rpc/packed_message.h"
#include "services/backup/handlers/bans.h"
#include "services/backup/handlers/exchange_key.h"
#include "services/backup/handlers/observe_client.h"
#include "services/backup/handlers/register_client.h"
#include "services/backup/handlers/report_transfer.h"
#include "services/backup/handlers/resume_client.h"
#include "services/backup/limits.h"
#include "services/backup/rpc_scope.h"
#include "services/backup/serve.h"
#include "services/backup/trace.h"

namespace backup {
namespace {

// Threads of handlers that are not needed end after so long.
constexpr absl::Duration kThreadIdleTime = absl::Seconds(10);

}  // namespace

IngestServiceImpl::IngestServiceImpl(const ServiceContext& context)
    : context_(context),
      upload_resources_(context.upload_resources()),
      calls_(kMaxCallThreads, kThreadIdleTime),
      uploads_(kMaxUploadThreads, kThreadIdleTime) {}

grpc::ServerUnaryReactor* IngestServiceImpl::RegisterClient(
    grpc::CallbackServerContext* call, const v1::RegisterClientRequest* request,
    v1::RegisterClientResponse* response) {
  return StartCall(*call, context_, calls_, "RegisterClient", *request, *response, [=, this] {
    return handlers::RegisterClient::Prepare(context_.clock, context_.duplicate_names, *request);
  });
}

grpc::ServerUnaryReactor* IngestServiceImpl::ExchangeKey(grpc::CallbackServerContext* call,
                                                         const v1::ExchangeKeyRequest* request,
                                                         v1::ExchangeKeyResponse* response) {
  return StartCall(
      *call, context_, calls_, "ExchangeKey", *request, *response,
      [=, this] {
        return handlers::ExchangeKey::Prepare(context_.catalog, context_.master_key, context_.clock,
                                              context_.keys, *request);
      },
      [](const handlers::ExchangeKey& handler, RpcScope& scope) {
        if (handler.adopted()) scope.set_remark("taken in: nobody registered it here");
      });
}

grpc::ServerUnaryReactor* IngestServiceImpl::ResumeClient(grpc::CallbackServerContext* call,
                                                          const v1::ResumeClientRequest* request,
                                                          v1::ResumeClientResponse* response) {
  return StartCall(*call, context_, calls_, "ResumeClient", *request, *response, [=, this] {
    return handlers::ResumeClient::Prepare(context_.catalog, context_.master_key, context_.clock,
                                           context_.keys, *request);
  });
}

grpc::ServerUnaryReactor* IngestServiceImpl::ReportTransfer(
    grpc::CallbackServerContext* call, const v1::ReportTransferRequest* request,
    v1::ReportTransferResponse* response) {
  return StartCall(
      *call, context_, calls_, "ReportTransfer", *request, *response,
      [=, this] {
        return handlers::ReportTransfer::Prepare(context_.clock, context_.uploads.corrupt_checksums,
                                                 *request);
      },
      [this](const handlers::ReportTransfer& handler, RpcScope& scope) {
        if (!handler.changed()) scope.set_verdict("");  // Clients that try again say it twice.
        if (handler.may_have_dropped_a_blob()) context_.wake_sweep();
      });
}

grpc::ServerUnaryReactor* IngestServiceImpl::ObserveClient(grpc::CallbackServerContext* call,
                                                           const v1::ObserveClientRequest* request,
                                                           v1::ObserveClientResponse* response) {
  return StartCall(*call, context_, calls_, "ObserveClient", *request, *response, [=, this] {
    return handlers::ObserveClient::Prepare(context_.clock, *request);
  });
}

// One upload, from its first message on. Used by one thread at a time.
struct IngestServiceImpl::Upload {
  Upload(grpc::CallbackServerContext& call, const ServiceContext& context,
         rpc::UploadStream& message_stream, grpc::ByteBuffer& packed_response)
      : scope(std::in_place, call, context, "UploadFile"),
        stream(message_stream),
        chunks(message_stream),
        response(packed_response) {}

  // The last that may be done with it.
  void Finish(const absl::StatusOr<v1::UploadFileResponse>& result) {
    const grpc::Status status = Pack(result);
    scope.reset();
    stream.Finish(status);
  }

  std::optional<RpcScope> scope;
  rpc::UploadStream& stream;
  rpc::ChunkSource chunks;
  v1::UploadFileHeader header;

 private:
  grpc::Status Pack(const absl::StatusOr<v1::UploadFileResponse>& result) {
    scope->add_received(stream.received_bytes());
    if (!result.ok()) return scope->Finish(result.status());
    scope->add_bytes(result->encoded_size());
    VLOG(2) << "UploadFile answers " << TraceText(*result);
    response = rpc::Pack(*result);
    scope->add_sent(response.Length());
    return scope->Finish(absl::OkStatus());
  }

  grpc::ByteBuffer& response;
};

grpc::Status IngestServiceImpl::SyncBans(grpc::ServerContext* call,
                                         const v1::SyncBansRequest* request,
                                         v1::SyncBansResponse* response) {
  const auto read = [this](storage::Snapshot& snapshot, const v1::SyncBansRequest& message) {
    return handlers::SyncBans(snapshot, context_.clock.Now(), message);
  };
  if (request->earned().empty())
    return ServeRead(*call, context_, "SyncBans", *request, *response, read);
  return ServeAudited(
      *call, context_, "SyncBans", *request, *response,
      [&](storage::Catalog& catalog) -> absl::StatusOr<v1::SyncBansResponse> {
        RETURN_IF_ERROR(handlers::Transact(catalog, [&] {
                          return handlers::NoteEarnedBans::Prepare(context_.clock.Now(),
                                                                   CallerOf(*call), *request);
                        }).status());
        return catalog.Read([&](storage::Snapshot& snapshot) { return read(snapshot, *request); });
      });
}

grpc::ServerReadReactor<grpc::ByteBuffer>* IngestServiceImpl::UploadFile(
    grpc::CallbackServerContext* call, grpc::ByteBuffer* response) {
  return rpc::UploadStream::Start(*call, context_.watchdog, [=, this](rpc::UploadStream& stream) {
    BeginUpload(std::make_shared<Upload>(*call, context_, stream, *response));
  });
}

void IngestServiceImpl::BeginUpload(const std::shared_ptr<Upload>& upload) {
  const absl::Status& admitted = upload->scope->admitted();
  if (!admitted.ok()) return upload->Finish(admitted);
  absl::StatusOr<v1::UploadFileHeader> header = upload->chunks.ReadHeader();
  if (!header.ok()) return upload->Finish(header.status());
  upload->header = *std::move(header);
  upload->scope->set_client(upload->header.client_id());
  VLOG(2) << "UploadFile " << TraceText(upload->header);
  const bool may_be_started =
      handlers::UploadFile::IsQuick(upload->header, context_.uploads) &&
      upload->header.encoded_size() == std::ssize(upload->chunks.first_chunk());
  if (!may_be_started) return RunUpload(upload);
  upload->stream.WhenDecided(
      [=, this](bool is_whole) { is_whole ? StartUpload(upload) : RunUpload(upload); });
}

void IngestServiceImpl::StartUpload(const std::shared_ptr<Upload>& upload) {
  const std::optional<int64_t> version_id = context_.version_ids.TryTake();
  if (!version_id) return RunUpload(upload);
  absl::StatusOr<handlers::UploadFile> prepared = handlers::UploadFile::PrepareQuick(
      upload_resources_, upload->header, upload->chunks, *version_id);
  if (!prepared.ok()) return upload->Finish(prepared.status());
  const auto handler = std::make_shared<handlers::UploadFile>(*std::move(prepared));
  context_.catalog.Submit(
      [handler](storage::Transaction& transaction) { return handler->Apply(transaction); },
      [handler, upload](const absl::Status& committed) {
        upload->Finish(handler->Respond(committed));
      });
}

void IngestServiceImpl::RunUpload(const std::shared_ptr<Upload>& upload) {
  uploads_.Submit([=, this] {
    upload->Finish(handlers::StoreUpload(upload_resources_, upload->header, upload->chunks));
  });
}

}  // namespace backup
