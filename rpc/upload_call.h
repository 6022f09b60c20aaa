#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "backup/v1/ingest.pb.h"
#include "base/byte_stream.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/sync_stream.h"

namespace backup::rpc {

// IngestService.UploadFile with its messages as they are on the wire: what a generated stub would
// send, without the copies that it makes of each chunk. Thread-safe.
class UploadMethod {
 public:
  static constexpr char kPath[] = "/backup.v1.IngestService/UploadFile";

  explicit UploadMethod(std::shared_ptr<grpc::ChannelInterface> channel);

 private:
  friend class UploadCall;
  const std::shared_ptr<grpc::ChannelInterface> channel_;
  const grpc::internal::RpcMethod method_;
};

// One call. Used by one thread at a time.
class UploadCall {
 public:
  // The call begins with the first message. `method` and `context` must outlive it.
  UploadCall(const UploadMethod& method, grpc::ClientContext& context);

  // The header and then chunks; WritesDone() after the last. False if the call is over: Finish()
  // tells why.
  bool WriteHeader(const v1::UploadFileHeader& header);
  bool WriteChunk(SharedPiece chunk);
  void WritesDone() { writer_->WritesDone(); }

  // Waits for the answer. To be called once, after a message was written.
  absl::StatusOr<v1::UploadFileResponse> Finish();

 private:
  v1::UploadFileResponse response_;
  const std::unique_ptr<grpc::ClientWriter<grpc::ByteBuffer>> writer_;
};

}  // namespace backup::rpc
