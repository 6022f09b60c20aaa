#include "bridge/upload_call.h"

#include <iterator>
#include <string>
#include <utility>

#include "glog/logging.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "grpcpp/support/slice.h"

namespace backup::bridge {
namespace {

constexpr char kMethod[] = "/backup.v1.IngestService/UploadFile";

// What stands before a chunk's bytes in its message: the field's number and type (2: bytes), and
// the size as a varint, 7 bits a byte, least significant first
// (protobuf.dev/programming-guides/encoding).
std::string ChunkPrefix(size_t size) {
  std::string prefix(1, static_cast<char>(v1::UploadFileRequest::kChunkFieldNumber << 3 | 2));
  for (; size > 0x7F; size >>= 7) prefix.push_back(static_cast<char>(size | 0x80));
  prefix.push_back(static_cast<char>(size));
  return prefix;
}

grpc::ByteBuffer Serialize(const v1::UploadFileHeader& header) {
  v1::UploadFileRequest request;
  *request.mutable_header() = header;
  grpc::ByteBuffer message;
  bool own_buffer = false;
  const grpc::Status packed =
      grpc::SerializationTraits<v1::UploadFileRequest>::Serialize(request, &message, &own_buffer);
  CHECK(packed.ok()) << packed.error_message();
  return message;
}

}  // namespace

UploadCall::UploadCall(Stub& stub, grpc::ClientContext& context) : context_(context) {
  // Sent along with the first message.
  context.set_initial_metadata_corked(true);
  stub.PrepareBidiStreamingCall(&context, kMethod, {}, this);
  AddHold();  // Until Finish(): writes are started from outside of gRPC's calls.
  StartRead(&response_);
  StartCall();
}

UploadCall::~UploadCall() {
  if (finished_) return;
  context_.TryCancel();
  static_cast<void>(Finish());
}

bool UploadCall::WriteHeader(const v1::UploadFileHeader& header) {
  return Write(Serialize(header), /*is_last=*/false) && WaitUntilWritten();
}

bool UploadCall::WriteWhole(const v1::UploadFileHeader& header) {
  return Write(Serialize(header), /*is_last=*/true);
}

bool UploadCall::WriteChunk(absl::string_view chunk) {
  const std::string prefix = ChunkPrefix(chunk.size());
  const grpc::Slice slices[] = {grpc::Slice(prefix), grpc::Slice(chunk.data(), chunk.size())};
  return Write(grpc::ByteBuffer(slices, std::size(slices)), /*is_last=*/false);
}

bool UploadCall::WritesDone() {
  if (!BeginToWrite()) return false;
  StartWritesDone();
  return true;
}

grpc::Status UploadCall::Finish() {
  if (!std::exchange(finished_, true)) RemoveHold();
  MutexLock lock(mutex_);
  while (!done_) changed_.Wait(mutex_);
  return status_;
}

bool UploadCall::Write(grpc::ByteBuffer message, bool is_last) {
  if (!BeginToWrite()) return false;
  message_.Swap(&message);
  if (is_last)
    StartWriteLast(&message_, {});
  else
    StartWrite(&message_);
  return true;
}

bool UploadCall::WaitUntilWritten() {
  MutexLock lock(mutex_);
  while (writing_ && !failed_) changed_.Wait(mutex_);
  return !failed_;
}

bool UploadCall::BeginToWrite() {
  if (!WaitUntilWritten()) return false;
  MutexLock lock(mutex_);
  writing_ = true;
  return true;
}

void UploadCall::OnWriteDone(bool ok) {
  MutexLock lock(mutex_);
  writing_ = false;
  failed_ = failed_ || !ok;
  changed_.NotifyAll();
}

void UploadCall::OnDone(const grpc::Status& status) {
  MutexLock lock(mutex_);
  status_ = status;
  done_ = true;
  changed_.NotifyAll();
}

}  // namespace backup::bridge
