#include "services/backup/backup_service.h"

#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "services/backup/handlers/catalog_queries.h"
#include "services/backup/handlers/download_file.h"
#include "services/backup/limits.h"
#include "services/backup/rpc_scope.h"
#include "services/backup/trace.h"

namespace backup {
namespace {

// Threads of handlers that are not needed end after so long.
constexpr absl::Duration kThreadIdleTime = absl::Seconds(10);

// A unary call: log line, trace, handler, answer. `handler` takes the request and returns an
// absl::StatusOr.
template <typename Request, typename Response, typename Handler>
grpc::Status Serve(grpc::ServerContextBase* call, const ServiceContext& context, const char* rpc,
                   const Request& request, Response* response, const Handler& handler) {
  RpcScope scope(*call, context, rpc);
  scope.add_received(request.ByteSizeLong());
  if (!scope.admitted().ok()) return scope.Finish(scope.admitted());
  if constexpr (requires { request.client_id(); }) scope.set_client(request.client_id());
  if constexpr (requires { Request::Outcome_Name(request.outcome()); })
    scope.set_verdict(Request::Outcome_Name(request.outcome()));
  VLOG(2) << rpc << " " << TraceText(request);
  absl::StatusOr<Response> result = handler(request);
  if (!result.ok()) return scope.Finish(result.status());
  VLOG(2) << rpc << " answers " << TraceText(*result);
  *response = *std::move(result);
  scope.add_sent(response->ByteSizeLong());
  return scope.Finish(absl::OkStatus());
}

}  // namespace

IngestServiceFace::IngestServiceFace(const ServiceContext& context)
    : context_(context),
      calls_(kMaxCallThreads, kThreadIdleTime),
      uploads_(kMaxUploadThreads, kThreadIdleTime) {}

#define CALLBACK_UNARY(Rpc, ...)                                                                  \
  grpc::ServerUnaryReactor* IngestServiceFace::Rpc(grpc::CallbackServerContext* call,             \
                                                   const v1::Rpc##Request* request,               \
                                                   v1::Rpc##Response* response) {                 \
    grpc::ServerUnaryReactor* const reactor = call->DefaultReactor();                             \
    calls_.Submit([=, this] {                                                                     \
      reactor->Finish(Serve(                                                                      \
          call, context_, #Rpc, *request, response,                                               \
          [&](const v1::Rpc##Request& message) { return handlers::Rpc(__VA_ARGS__, message); })); \
    });                                                                                           \
    return reactor;                                                                               \
  }

CALLBACK_UNARY(RegisterClient, context_.catalog, context_.clock, context_.duplicate_names)
CALLBACK_UNARY(ExchangeKey, context_.catalog, context_.master_key, context_.clock, context_.keys)
CALLBACK_UNARY(ResumeClient, context_.catalog, context_.master_key, context_.clock, context_.keys)
CALLBACK_UNARY(ReportTransfer, context_.catalog, context_.blobs, context_.clock,
               context_.uploads.corrupt_checksums)
CALLBACK_UNARY(ObserveClient, context_.catalog, context_.clock)

#undef CALLBACK_UNARY

grpc::ServerReadReactor<grpc::ByteBuffer>* IngestServiceFace::UploadFile(
    grpc::CallbackServerContext* call, grpc::ByteBuffer* response) {
  return UploadStream::Start(*call, context_.watchdog, [=, this](UploadStream& stream) {
    uploads_.Submit([=, this, &stream] { stream.Finish(ServeUpload(*call, stream, *response)); });
  });
}

grpc::Status IngestServiceFace::ServeUpload(grpc::CallbackServerContext& call, UploadStream& stream,
                                            grpc::ByteBuffer& response) {
  RpcScope scope(call, context_, "UploadFile");
  if (!scope.admitted().ok()) return scope.Finish(scope.admitted());
  ChunkSource chunks(stream);
  const absl::StatusOr<v1::UploadFileHeader> header = chunks.ReadHeader();
  if (!header.ok()) return scope.Finish(header.status());
  scope.set_client(header->client_id());
  VLOG(2) << "UploadFile " << TraceText(*header);
  const absl::StatusOr<v1::UploadFileResponse> result =
      handlers::UploadFile(context_.catalog, context_.blobs, context_.master_key, context_.clock,
                           context_.uploads, *header, chunks);
  scope.add_received(stream.received_bytes());
  if (!result.ok()) return scope.Finish(result.status());
  scope.add_bytes(result->encoded_size());
  VLOG(2) << "UploadFile answers " << TraceText(*result);
  bool own_buffer = false;
  const grpc::Status packed =
      grpc::SerializationTraits<v1::UploadFileResponse>::Serialize(*result, &response, &own_buffer);
  scope.add_sent(response.Length());
  return packed.ok() ? scope.Finish(absl::OkStatus()) : packed;
}

#define UNARY(Rpc, ...)                                                                            \
  grpc::Status CatalogServiceFace::Rpc(grpc::ServerContext* call, const v1::Rpc##Request* request, \
                                       v1::Rpc##Response* response) {                              \
    return Serve(call, context_, #Rpc, *request, response, [&](const v1::Rpc##Request& message) {  \
      return handlers::Rpc(__VA_ARGS__, message);                                                  \
    });                                                                                            \
  }

UNARY(ListClients, context_.catalog)
UNARY(GetClient, context_.catalog)
UNARY(DeleteClient, context_.catalog, context_.blobs)
UNARY(ListFiles, context_.catalog)
UNARY(ListVersions, context_.catalog)
UNARY(GetVersion, context_.catalog)
UNARY(DeleteVersion, context_.catalog, context_.blobs)

#undef UNARY

grpc::Status CatalogServiceFace::DownloadFile(
    grpc::ServerContext* call, const v1::DownloadFileRequest* request,
    grpc::ServerWriter<v1::DownloadFileResponse>* stream) {
  RpcScope scope(*call, context_, "DownloadFile");
  if (!scope.admitted().ok()) return scope.Finish(scope.admitted());
  scope.set_client(request->client_id());
  scope.add_received(request->ByteSizeLong());
  VLOG(2) << "DownloadFile " << TraceText(*request);
  const absl::StatusOr<handlers::Download> download =
      handlers::DownloadFile(context_.catalog, context_.blobs, context_.master_key, *request);
  if (!download.ok()) return scope.Finish(download.status());
  v1::DownloadFileResponse message;
  *message.mutable_version() = download->version;
  const auto write = [&] {
    scope.add_sent(message.ByteSizeLong());
    const StreamWatchdog::Wait wait(context_.watchdog, *call);
    return stream->Write(message);
  };
  while (write()) {
    const absl::StatusOr<absl::string_view> piece = download->bytes->Read();
    if (!piece.ok()) return scope.Finish(piece.status());
    if (piece->empty()) return scope.Finish(absl::OkStatus());
    message.set_chunk(piece->data(), piece->size());
    scope.add_bytes(static_cast<int64_t>(piece->size()));
  }
  return scope.Finish(absl::CancelledError("the caller is gone"));
}

}  // namespace backup
