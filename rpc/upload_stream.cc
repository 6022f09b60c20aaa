#include "rpc/upload_stream.h"

#include <utility>

#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "grpcpp/server_context.h"
#include "rpc/packed_message.h"

namespace backup::rpc {
namespace {

absl::Status CheckChunkSize(size_t size) {
  if (size <= kMaxChunkSize) return absl::OkStatus();
  return MakeError(Reason::kInvalidField, "a chunk has at most 2 MiB", "chunk");
}

}  // namespace

UploadStream::UploadStream(grpc::CallbackServerContext& call, StreamWatchdog& watchdog, Begin begin)
    : call_(call), watchdog_(watchdog), begin_(std::move(begin)) {
  own_wait_.emplace(watchdog_, call_);
  StartRead(&incoming_);
}

void UploadStream::OnReadDone(bool ok) {
  own_wait_.reset();
  bool read_on = false;
  std::function<void(bool)> when_decided;
  {
    MutexLock lock(mutex_);
    if (ok) waiting_.emplace_back().Swap(&incoming_);
    ended_ = !ok;
    read_on = reading_ = ok && waiting_.size() < kAhead;
    when_decided.swap(when_decided_);
    changed_.NotifyOne();
  }
  // Each may end in another call of this function, and in the end of the stream's life after it.
  if (const auto begin = std::exchange(begin_, nullptr)) begin(*this);
  if (when_decided) when_decided(!ok);
  if (read_on) StartRead(&incoming_);
}

void UploadStream::WhenDecided(std::function<void(bool)> then) {
  bool is_whole = false;
  {
    MutexLock lock(mutex_);
    is_whole = ended_ && waiting_.empty();
    if (waiting_.empty() && !ended_) {
      own_wait_.emplace(watchdog_, call_);
      when_decided_ = std::move(then);
      return;
    }
  }
  then(is_whole);
}

bool UploadStream::Next(grpc::ByteBuffer& message) {
  bool read_on = false;
  {
    const StreamWatchdog::Wait wait(watchdog_, call_);  // Its lock is never taken within ours.
    MutexLock lock(mutex_);
    while (waiting_.empty() && !ended_) changed_.Wait(mutex_);
    if (waiting_.empty()) return false;
    message.Swap(&waiting_.front());
    waiting_.pop_front();
    read_on = !reading_ && !ended_;
    reading_ = reading_ || read_on;
  }
  if (read_on) StartRead(&incoming_);
  received_bytes_ += message.Length();
  return true;
}

absl::StatusOr<v1::UploadFileHeader> ChunkSource::ReadHeader() {
  ASSIGN_OR_RETURN(const bool more, NextMessage());
  if (!more || !message_.has_header()) {
    return MakeError(Reason::kInvalidField, "the first message of an upload carries the header",
                     "header");
  }
  v1::UploadFileHeader header = std::move(*message_.mutable_header());
  RETURN_IF_ERROR(CheckChunkSize(header.first_chunk().size()));
  first_chunk_ = std::move(*header.mutable_first_chunk());
  header.clear_first_chunk();
  first_chunk_is_next_ = !first_chunk_.empty();
  return header;
}

absl::StatusOr<absl::string_view> ChunkSource::Read() {
  if (std::exchange(first_chunk_is_next_, false)) return absl::string_view(first_chunk_);
  while (true) {
    const absl::string_view piece = slices_.Next();
    if (!piece.empty()) return piece;
    ASSIGN_OR_RETURN(const bool more, NextMessage());
    if (!more) return absl::string_view();
    if (in_slices_) continue;
    if (!message_.has_chunk()) {
      return MakeError(Reason::kInvalidField,
                       "only the first message of an upload carries a header", "part");
    }
    RETURN_IF_ERROR(CheckChunkSize(message_.chunk().size()));
    if (!message_.chunk().empty()) return absl::string_view(message_.chunk());
  }
}

absl::StatusOr<bool> ChunkSource::NextMessage() {
  grpc::ByteBuffer buffer;
  in_slices_ = false;
  if (!stream_.Next(buffer)) return false;
  in_slices_ = slices_.Take(buffer);
  if (in_slices_) {
    RETURN_IF_ERROR(CheckChunkSize(slices_.size_bytes()));
    return true;
  }
  if (!Unpack(buffer, message_))
    return MakeError(Reason::kInvalidField, "a message of the upload cannot be read", "part");
  return true;
}

}  // namespace backup::rpc
