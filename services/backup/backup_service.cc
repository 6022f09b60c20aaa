#include "services/backup/backup_service.h"

#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "services/backup/handlers/catalog_queries.h"
#include "services/backup/handlers/download_file.h"
#include "services/backup/limits.h"
#include "services/backup/rpc_scope.h"
#include "services/backup/trace.h"

namespace backup {
namespace {

// A unary call: log line, trace, handler, answer. `handler` takes the request and returns an
// absl::StatusOr.
template <typename Request, typename Response, typename Handler>
grpc::Status Serve(grpc::ServerContext* call, const ServiceContext& context, const char* rpc,
                   const Request& request, Response* response, const Handler& handler) {
  RpcScope scope(*call, context, rpc);
  if (!scope.admitted().ok()) return scope.Finish(scope.admitted());
  if constexpr (requires { request.client_id(); }) scope.set_client(request.client_id());
  if constexpr (requires { Request::Outcome_Name(request.outcome()); })
    scope.set_verdict(Request::Outcome_Name(request.outcome()));
  VLOG(2) << rpc << " " << TraceText(request);
  absl::StatusOr<Response> result = handler(request);
  if (!result.ok()) return scope.Finish(result.status());
  VLOG(2) << rpc << " answers " << TraceText(*result);
  *response = *std::move(result);
  return scope.Finish(absl::OkStatus());
}

// The chunks that follow an upload's header. End of stream is no proof of a whole upload: the
// handler counts.
class ChunkSource final : public ByteSource {
 public:
  ChunkSource(grpc::ServerReader<v1::UploadFileRequest>& stream, StreamWatchdog& watchdog,
              grpc::ServerContext& call)
      : stream_(stream), watchdog_(watchdog), call_(call) {}
  // The next message, whatever it is; false at the end of the stream.
  bool Next(v1::UploadFileRequest& message) {
    const StreamWatchdog::Wait wait(watchdog_, call_);
    return stream_.Read(&message);
  }
  absl::StatusOr<absl::string_view> Read() override {
    while (Next(message_)) {
      if (!message_.has_chunk()) {
        return MakeError(Reason::kInvalidField,
                         "only the first message of an upload carries a header", "part");
      }
      if (message_.chunk().size() > kMaxChunkSize) {
        return MakeError(Reason::kInvalidField, "a chunk has at most 2 MiB", "chunk");
      }
      if (!message_.chunk().empty()) return absl::string_view(message_.chunk());
    }
    return absl::string_view();
  }

 private:
  grpc::ServerReader<v1::UploadFileRequest>& stream_;
  StreamWatchdog& watchdog_;
  grpc::ServerContext& call_;
  v1::UploadFileRequest message_;
};

}  // namespace

#define UNARY(Face, Rpc, ...)                                                                     \
  grpc::Status Face::Rpc(grpc::ServerContext* call, const v1::Rpc##Request* request,              \
                         v1::Rpc##Response* response) {                                           \
    return Serve(call, context_, #Rpc, *request, response, [&](const v1::Rpc##Request& message) { \
      return handlers::Rpc(__VA_ARGS__, message);                                                 \
    });                                                                                           \
  }

UNARY(IngestServiceFace, RegisterClient, context_.catalog, context_.clock, context_.duplicate_names)
UNARY(IngestServiceFace, ExchangeKey, context_.catalog, context_.master_key, context_.clock,
      context_.keys)
UNARY(IngestServiceFace, ResumeClient, context_.catalog, context_.master_key, context_.clock,
      context_.keys)
UNARY(IngestServiceFace, ReportTransfer, context_.catalog, context_.blobs, context_.clock,
      context_.uploads.corrupt_checksums)
UNARY(IngestServiceFace, ObserveClient, context_.catalog, context_.clock)
UNARY(CatalogServiceFace, ListClients, context_.catalog)
UNARY(CatalogServiceFace, GetClient, context_.catalog)
UNARY(CatalogServiceFace, DeleteClient, context_.catalog, context_.blobs)
UNARY(CatalogServiceFace, ListFiles, context_.catalog)
UNARY(CatalogServiceFace, ListVersions, context_.catalog)
UNARY(CatalogServiceFace, GetVersion, context_.catalog)
UNARY(CatalogServiceFace, DeleteVersion, context_.catalog, context_.blobs)

#undef UNARY

grpc::Status IngestServiceFace::UploadFile(grpc::ServerContext* call,
                                           grpc::ServerReader<v1::UploadFileRequest>* stream,
                                           v1::UploadFileResponse* response) {
  RpcScope scope(*call, context_, "UploadFile");
  if (!scope.admitted().ok()) return scope.Finish(scope.admitted());
  ChunkSource chunks(*stream, context_.watchdog, *call);
  v1::UploadFileRequest first;
  if (!chunks.Next(first) || !first.has_header()) {
    return scope.Finish(MakeError(Reason::kInvalidField,
                                  "the first message of an upload carries the header", "header"));
  }
  scope.set_client(first.header().client_id());
  VLOG(2) << "UploadFile " << TraceText(first.header());
  absl::StatusOr<v1::UploadFileResponse> result =
      handlers::UploadFile(context_.catalog, context_.blobs, context_.master_key, context_.clock,
                           context_.uploads, first.header(), chunks);
  if (!result.ok()) return scope.Finish(result.status());
  scope.add_bytes(result->encoded_size());
  VLOG(2) << "UploadFile answers " << TraceText(*result);
  *response = *std::move(result);
  return scope.Finish(absl::OkStatus());
}

grpc::Status CatalogServiceFace::DownloadFile(
    grpc::ServerContext* call, const v1::DownloadFileRequest* request,
    grpc::ServerWriter<v1::DownloadFileResponse>* stream) {
  RpcScope scope(*call, context_, "DownloadFile");
  if (!scope.admitted().ok()) return scope.Finish(scope.admitted());
  scope.set_client(request->client_id());
  VLOG(2) << "DownloadFile " << TraceText(*request);
  const absl::StatusOr<handlers::Download> download =
      handlers::DownloadFile(context_.catalog, context_.blobs, context_.master_key, *request);
  if (!download.ok()) return scope.Finish(download.status());
  v1::DownloadFileResponse message;
  *message.mutable_version() = download->version;
  const auto write = [&] {
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
