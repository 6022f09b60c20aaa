#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "backup/v1/backup.pb.h"
#include "base/mutex.h"
#include "grpcpp/client_context.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/client_callback.h"

namespace backup::bridge {

// IngestService.UploadFile with its messages as they are on the wire: what a generated stub would
// send, without the copies that it makes of each chunk. While one message is on its way the caller
// can get the next. Every wait ends at the context's deadline. Used by one thread at a time.
class UploadCall final : private grpc::ClientBidiReactor<grpc::ByteBuffer, v1::UploadFileResponse> {
 public:
  using Stub = grpc::TemplatedGenericStub<grpc::ByteBuffer, v1::UploadFileResponse>;

  // Begins the call. `context` must outlive it.
  UploadCall(Stub& stub, grpc::ClientContext& context);
  // Cancels the call unless Finish() has returned.
  ~UploadCall() override;
  UploadCall(const UploadCall&) = delete;
  UploadCall& operator=(const UploadCall&) = delete;

  // Each waits for the message before to be on its way. False if the call is over: Finish() tells
  // why. WriteHeader() waits for the header itself too: until the service takes it, nothing of the
  // body is needed.
  bool WriteHeader(const v1::UploadFileHeader& header);
  // The only message: WritesDone() is included.
  bool WriteWhole(const v1::UploadFileHeader& header);
  bool WriteChunk(absl::string_view chunk);
  // No more messages.
  bool WritesDone();

  // Waits for the answer. `response` is valid if it is OK.
  grpc::Status Finish();
  const v1::UploadFileResponse& response() const { return response_; }

 private:
  void OnWriteDone(bool ok) override;
  void OnWritesDoneDone(bool ok) override { OnWriteDone(ok); }
  void OnDone(const grpc::Status& status) override;

  // Waits until nothing is being written; whether the call goes on.
  bool WaitUntilWritten();
  // The same, and then something is being written.
  bool BeginToWrite();
  bool Write(grpc::ByteBuffer message, bool is_last);

  grpc::ClientContext& context_;
  grpc::ByteBuffer message_;  // gRPC's, while it is being written.
  v1::UploadFileResponse response_;
  bool finished_ = false;

  Mutex mutex_;
  CondVar changed_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool failed_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::bridge
