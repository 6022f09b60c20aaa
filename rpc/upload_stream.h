#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backup/v1/ingest.pb.h"
#include "base/byte_stream.h"
#include "base/mutex.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "rpc/chunk_framing.h"
#include "rpc/stream_watchdog.h"

namespace backup::rpc {

// One UploadFile call on gRPC's callback interface, for a handler that blocks: messages arrive on
// gRPC's threads, as they are on the wire, and a few wait for the handler. Deletes itself when the
// call is over, which is some time after Finish().
class UploadStream final : public grpc::ServerReadReactor<grpc::ByteBuffer> {
 public:
  using Begin = std::function<void(UploadStream&)>;

  // Calls `begin` once, on a thread of gRPC's, as soon as there is something for the handler to do.
  // `watchdog`, which must outlive the call, cancels it if the peer is silent for too long.
  static UploadStream* Start(grpc::CallbackServerContext& call, StreamWatchdog& watchdog,
                             Begin begin) {
    return new UploadStream(call, watchdog, std::move(begin));
  }

  // Waits for the next message; false at the end of the stream, whatever ended it. By one thread at
  // a time, before Finish().
  bool Next(grpc::ByteBuffer& message);
  // Calls `then` once, on a thread of gRPC's or this one: with true as soon as the stream is at its
  // end with no message left, so that Next() will not wait, or with false as soon as there is a
  // message. Not while Next() waits.
  void WhenDecided(std::function<void(bool)> then);
  // Of the messages that Next() brought; for the same thread.
  size_t received_bytes() const { return received_bytes_; }

 private:
  UploadStream(grpc::CallbackServerContext& call, StreamWatchdog& watchdog, Begin begin);

  // Messages that wait, at most.
  static constexpr size_t kAhead = 2;

  void OnReadDone(bool ok) override;
  void OnDone() override { delete this; }

  grpc::CallbackServerContext& call_;
  StreamWatchdog& watchdog_;
  std::optional<StreamWatchdog::Wait> own_wait_;  // While no handler waits.
  Begin begin_;
  grpc::ByteBuffer incoming_;  // gRPC's, while it reads.
  size_t received_bytes_ = 0;

  Mutex mutex_;
  CondVar changed_;
  std::function<void(bool)> when_decided_ ABSL_GUARDED_BY(mutex_);
  std::deque<grpc::ByteBuffer> waiting_ ABSL_GUARDED_BY(mutex_);
  bool reading_ ABSL_GUARDED_BY(mutex_) = true;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

// What comes on an upload: its header, then the bytes of its chunks, which are not copied out of
// what gRPC received. End of stream is no proof of a whole upload: the handler counts. Used by one
// thread at a time.
class ChunkSource final : public ByteSource {
 public:
  explicit ChunkSource(UploadStream& stream) : stream_(stream) {}

  // To be called first. Reason INVALID_FIELD if the first message carries no header.
  absl::StatusOr<v1::UploadFileHeader> ReadHeader();
  // What came with the header.
  absl::string_view first_chunk() const { return first_chunk_; }
  absl::StatusOr<absl::string_view> Read() override;

 private:
  // Takes the next message apart: into slices_ if it is a chunk in the form that every encoder
  // gives it, else into message_. False at the end of the stream.
  absl::StatusOr<bool> NextMessage();

  UploadStream& stream_;
  v1::UploadFileRequest message_;
  std::string first_chunk_;
  bool first_chunk_is_next_ = false;
  rpc::ChunkSlices slices_{v1::UploadFileRequest::kChunkFieldNumber};
  bool in_slices_ = false;  // What is left of the last message, rather than in message_.
};

}  // namespace backup::rpc
