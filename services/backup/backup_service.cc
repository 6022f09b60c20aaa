#include "services/backup/backup_service.h"

#include <chrono>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "grpcpp/support/method_handler.h"
#include "services/backup/download_stream.h"
#include "services/backup/handlers/catalog_queries.h"
#include "services/backup/limits.h"
#include "services/backup/rpc_scope.h"
#include "services/backup/trace.h"

namespace backup {
namespace {

// Threads of handlers that are not needed end after so long.
constexpr absl::Duration kThreadIdleTime = absl::Seconds(10);

// What is known of a call from its request, for its log line.
template <typename Request>
void Note(const Request& request, const char* rpc, RpcScope& scope) {
  scope.add_received(request.ByteSizeLong());
  if constexpr (requires { request.client_id(); }) scope.set_client(request.client_id());
  if constexpr (requires { Request::Outcome_Name(request.outcome()); })
    scope.set_verdict(Request::Outcome_Name(request.outcome()));
  VLOG(2) << rpc << " " << TraceText(request);
}

// The answer that is in what a handler returned.
template <typename Response>
Response AnswerIn(Response&& result, RpcScope&) {
  return std::move(result);
}
v1::ReportTransferResponse AnswerIn(handlers::ReportedTransfer&& result, RpcScope& scope) {
  if (!result.changed) scope.set_verdict("");  // Clients that try again say it twice.
  return std::move(result.response);
}

// Answers a unary call with what its handler returned.
template <typename Result, typename Response>
grpc::Status Answer(absl::StatusOr<Result> result, const char* rpc, RpcScope& scope,
                    Response* response) {
  if (!result.ok()) return scope.Finish(result.status());
  *response = AnswerIn(*std::move(result), scope);
  VLOG(2) << rpc << " answers " << TraceText(*response);
  scope.add_sent(response->ByteSizeLong());
  return scope.Finish(absl::OkStatus());
}

// A unary call: log line, trace, handler, answer. `handler` takes the request and returns an
// absl::StatusOr.
template <typename Request, typename Response, typename Handler>
grpc::Status Serve(grpc::ServerContextBase* call, const ServiceContext& context, const char* rpc,
                   const Request& request, Response* response, const Handler& handler) {
  RpcScope scope(*call, context, rpc);
  if (!scope.admitted().ok()) return scope.Finish(scope.admitted());
  Note(request, rpc, scope);
  return Answer(handler(request), rpc, scope, response);
}

// Starts `handler`, which takes nothing and returns an absl::StatusOr<Result>, as work of the
// catalog's, so that no thread waits for its commit. `answer` gets what it returned once that is
// durable, or the error that undid it.
template <typename Result, typename Handler, typename Answer>
void StartHandler(storage::Catalog& catalog, Handler handler, Answer answer) {
  const auto result = std::make_shared<absl::StatusOr<Result>>();
  catalog.Start([=] { *result = handler(); },
                [=](const absl::Status& committed) {
                  answer(committed.ok() ? std::move(*result) : committed);
                });
}

// Serve() without a thread that waits; finishes `reactor`.
template <typename Request, typename Response, typename Handler>
void StartServing(grpc::CallbackServerContext* call, grpc::ServerUnaryReactor* reactor,
                  const ServiceContext& context, const char* rpc, const Request* request,
                  Response* response, Handler handler) {
  const auto scope = std::make_shared<std::optional<RpcScope>>(std::in_place, *call, context, rpc);
  const auto finish = [=](const grpc::Status& status) {
    scope->reset();
    reactor->Finish(status);  // What belongs to the call may end with this.
  };
  if (!(*scope)->admitted().ok()) return finish((*scope)->Finish((*scope)->admitted()));
  Note(*request, rpc, **scope);
  using Result = typename std::invoke_result_t<Handler, const Request&>::value_type;
  StartHandler<Result>(
      context.catalog, [=] { return handler(*request); },
      [=](absl::StatusOr<Result> result) {
        finish(Answer(std::move(result), rpc, **scope, response));
      });
}

}  // namespace

IngestServiceFace::IngestServiceFace(const ServiceContext& context)
    : context_(context),
      started_uploads_(context.uploads),
      calls_(kMaxCallThreads, kThreadIdleTime),
      uploads_(kMaxUploadThreads, kThreadIdleTime) {
  started_uploads_.phases.commit = {};  // They are not committed when their handlers return.
}

#define STARTED_UNARY(Rpc, ...)                                                                   \
  grpc::ServerUnaryReactor* IngestServiceFace::Rpc(grpc::CallbackServerContext* call,             \
                                                   const v1::Rpc##Request* request,               \
                                                   v1::Rpc##Response* response) {                 \
    grpc::ServerUnaryReactor* const reactor = call->DefaultReactor();                             \
    StartServing(                                                                                 \
        call, reactor, context_, #Rpc, request, response,                                         \
        [this](const v1::Rpc##Request& message) { return handlers::Rpc(__VA_ARGS__, message); }); \
    return reactor;                                                                               \
  }

STARTED_UNARY(RegisterClient, context_.catalog, context_.clock, context_.duplicate_names)
STARTED_UNARY(ExchangeKey, context_.catalog, context_.master_key, context_.clock, context_.keys)
STARTED_UNARY(ResumeClient, context_.catalog, context_.master_key, context_.clock, context_.keys)
STARTED_UNARY(ObserveClient, context_.catalog, context_.clock)

#undef STARTED_UNARY

grpc::ServerUnaryReactor* IngestServiceFace::ReportTransfer(
    grpc::CallbackServerContext* call, const v1::ReportTransferRequest* request,
    v1::ReportTransferResponse* response) {
  grpc::ServerUnaryReactor* const reactor = call->DefaultReactor();
  const auto handler = [this](const v1::ReportTransferRequest& message) {
    return handlers::ReportTransfer(context_.catalog, context_.blobs, context_.clock,
                                    context_.uploads.corrupt_checksums, message);
  };
  if (handlers::StaysInCatalog(*request)) {
    StartServing(call, reactor, context_, "ReportTransfer", request, response, handler);
  } else {
    calls_.Submit([=, this] {
      reactor->Finish(Serve(call, context_, "ReportTransfer", *request, response, handler));
    });
  }
  return reactor;
}

// One upload, from its first message on. Used by one thread at a time.
struct IngestServiceFace::Upload {
  Upload(grpc::CallbackServerContext& call, const ServiceContext& context,
         UploadStream& message_stream, grpc::ByteBuffer& packed_response)
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
  UploadStream& stream;
  ChunkSource chunks;
  v1::UploadFileHeader header;

 private:
  grpc::Status Pack(const absl::StatusOr<v1::UploadFileResponse>& result) {
    scope->add_received(stream.received_bytes());
    if (!result.ok()) return scope->Finish(result.status());
    scope->add_bytes(result->encoded_size());
    VLOG(2) << "UploadFile answers " << TraceText(*result);
    bool own_buffer = false;
    const grpc::Status packed = grpc::SerializationTraits<v1::UploadFileResponse>::Serialize(
        *result, &response, &own_buffer);
    scope->add_sent(response.Length());
    return packed.ok() ? scope->Finish(absl::OkStatus()) : packed;
  }

  grpc::ByteBuffer& response;
};

grpc::ServerReadReactor<grpc::ByteBuffer>* IngestServiceFace::UploadFile(
    grpc::CallbackServerContext* call, grpc::ByteBuffer* response) {
  return UploadStream::Start(*call, context_.watchdog, [=, this](UploadStream& stream) {
    BeginUpload(std::make_shared<Upload>(*call, context_, stream, *response));
  });
}

void IngestServiceFace::BeginUpload(const std::shared_ptr<Upload>& upload) {
  const absl::Status& admitted = upload->scope->admitted();
  if (!admitted.ok()) return upload->Finish(admitted);
  absl::StatusOr<v1::UploadFileHeader> header = upload->chunks.ReadHeader();
  if (!header.ok()) return upload->Finish(header.status());
  upload->header = *std::move(header);
  upload->scope->set_client(upload->header.client_id());
  VLOG(2) << "UploadFile " << TraceText(upload->header);
  const bool may_be_started =
      handlers::StaysInCatalog(upload->header, context_.uploads) &&
      upload->header.encoded_size() == std::ssize(upload->chunks.first_chunk());
  if (!may_be_started) return SubmitUpload(upload);
  upload->stream.WhenDecided(
      [=, this](bool is_whole) { is_whole ? StartUpload(upload) : SubmitUpload(upload); });
}

absl::StatusOr<v1::UploadFileResponse> IngestServiceFace::HandleUpload(
    Upload& upload, const handlers::UploadPolicy& policy) {
  return handlers::UploadFile(context_.catalog, context_.blobs, context_.master_key, context_.clock,
                              policy, upload.header, upload.chunks);
}

void IngestServiceFace::SubmitUpload(const std::shared_ptr<Upload>& upload) {
  uploads_.Submit([=, this] { upload->Finish(HandleUpload(*upload, context_.uploads)); });
}

void IngestServiceFace::StartUpload(const std::shared_ptr<Upload>& upload) {
  StartHandler<v1::UploadFileResponse>(
      context_.catalog, [=, this] { return HandleUpload(*upload, started_uploads_); },
      [=, this, begin = std::chrono::steady_clock::now()](
          const absl::StatusOr<v1::UploadFileResponse>& result) {
        if (result.ok()) {
          context_.uploads.phases.commit.Observe(
              absl::FromChrono(std::chrono::steady_clock::now() - begin));
        }
        upload->Finish(result);
      });
}

CatalogServiceFace::CatalogServiceFace(const ServiceContext& context) : context_(context) {
  // As the generated WithSplitStreamingMethod_DownloadFile does it, but for the type of messages.
  const int method = v1::DownloadFileRequest::descriptor()
                         ->file()
                         ->FindServiceByName("CatalogService")
                         ->FindMethodByName("DownloadFile")
                         ->index();
  MarkMethodStreamed(
      method,
      new grpc::internal::SplitServerStreamingHandler<v1::DownloadFileRequest, grpc::ByteBuffer>(
          [this](grpc::ServerContext* call, DownloadStream* stream) {
            return ServeDownload(context_, *call, *stream);
          }));
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

}  // namespace backup
