#pragma once

#include <memory>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "backup/v1/ingest.grpc.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "rpc/upload_call.h"

namespace backup::bridge {

// What calls are made with.
struct Stubs {
  explicit Stubs(const std::shared_ptr<grpc::Channel>& channel)
      : ingest(v1::IngestService::NewStub(channel)), whole_upload(channel) {}

  const std::unique_ptr<v1::IngestService::Stub> ingest;
  // A stream of one message is, on the wire, a unary call.
  grpc::TemplatedGenericStub<v1::UploadFileRequest, v1::UploadFileResponse> whole_upload;
};

// How long the upload of this file may take: longer with its size.
absl::Duration UploadDeadline(const v1::UploadFileHeader& header);
// Whether the content is segments, of which only the end of the stream tells how large they are.
bool InSegments(const v1::UploadFileHeader& header);

// The table of methods: for each its messages, its name in metrics, how long one try may take, and
// how a try is prepared.
namespace methods {

inline constexpr absl::Duration kUnaryDeadline = absl::Seconds(5);

template <typename RequestType, typename ResponseType, auto kPrepareAsync>
struct Unary {
  using Request = RequestType;
  using Response = ResponseType;
  static absl::Duration Deadline(const Request&) { return kUnaryDeadline; }
  static auto Prepare(Stubs& stubs, grpc::ClientContext* context, const Request& request,
                      grpc::CompletionQueue* queue) {
    return (*stubs.ingest.*kPrepareAsync)(context, request, queue);
  }
};

struct RegisterClient : Unary<v1::RegisterClientRequest, v1::RegisterClientResponse,
                              &v1::IngestService::Stub::PrepareAsyncRegisterClient> {
  static constexpr absl::string_view kName = "RegisterClient";
};
struct ExchangeKey : Unary<v1::ExchangeKeyRequest, v1::ExchangeKeyResponse,
                           &v1::IngestService::Stub::PrepareAsyncExchangeKey> {
  static constexpr absl::string_view kName = "ExchangeKey";
};
struct ResumeClient : Unary<v1::ResumeClientRequest, v1::ResumeClientResponse,
                            &v1::IngestService::Stub::PrepareAsyncResumeClient> {
  static constexpr absl::string_view kName = "ResumeClient";
};
struct ReportTransfer : Unary<v1::ReportTransferRequest, v1::ReportTransferResponse,
                              &v1::IngestService::Stub::PrepareAsyncReportTransfer> {
  static constexpr absl::string_view kName = "ReportTransfer";
};
struct ObserveClient : Unary<v1::ObserveClientRequest, v1::ObserveClientResponse,
                             &v1::IngestService::Stub::PrepareAsyncObserveClient> {
  static constexpr absl::string_view kName = "ObserveClient";
};
struct SyncBans : Unary<v1::SyncBansRequest, v1::SyncBansResponse,
                        &v1::IngestService::Stub::PrepareAsyncSyncBans> {
  static constexpr absl::string_view kName = "SyncBans";
};
// A whole file in one message: its header with all its content as the first chunk.
struct UploadWholeFile {
  using Request = v1::UploadFileRequest;
  using Response = v1::UploadFileResponse;
  static constexpr absl::string_view kName = "UploadFile";
  static absl::Duration Deadline(const Request& request) {
    return UploadDeadline(request.header());
  }
  static auto Prepare(Stubs& stubs, grpc::ClientContext* context, const Request& request,
                      grpc::CompletionQueue* queue) {
    return stubs.whole_upload.PrepareUnaryCall(context, rpc::UploadMethod::kPath, request, queue);
  }
};

}  // namespace methods
}  // namespace backup::bridge
