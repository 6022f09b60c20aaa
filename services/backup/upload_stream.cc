#include "services/backup/upload_stream.h"

#include <cstdint>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "grpcpp/server_context.h"
#include "services/backup/limits.h"

namespace backup {
namespace {

// Protobuf's wire format: a field of type bytes begins with its number and type, and its size as a
// varint, 7 bits a byte, least significant first (protobuf.dev/programming-guides/encoding).
constexpr uint8_t kBytesType = 2;
constexpr uint8_t kChunkTag = v1::UploadFileRequest::kChunkFieldNumber << 3 | kBytesType;
constexpr size_t kMaxVarintSize = 4;  // Of sizes below 2^28, as those of messages are.

absl::string_view View(const grpc::Slice& slice) {
  return absl::string_view(reinterpret_cast<const char*>(slice.begin()), slice.size());
}

// How many bytes come before the chunk's own in a message of `message_size` bytes that begins with
// `begin`; nothing if it is not just one chunk, or cannot be told.
std::optional<size_t> ChunkPrefixSize(absl::string_view begin, size_t message_size) {
  if (begin.empty() || static_cast<uint8_t>(begin[0]) != kChunkTag) return std::nullopt;
  size_t chunk_size = 0;
  for (size_t i = 1; i < begin.size() && i <= kMaxVarintSize; ++i) {
    const auto byte = static_cast<uint8_t>(begin[i]);
    chunk_size |= size_t{byte & 0x7FU} << (7 * (i - 1));
    if ((byte & 0x80) != 0) continue;
    if (i + 1 + chunk_size != message_size) return std::nullopt;
    return i + 1;
  }
  return std::nullopt;
}

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
    while (next_slice_ < slices_.size()) {
      const absl::string_view piece = View(slices_[next_slice_++]).substr(std::exchange(skip_, 0));
      if (!piece.empty()) return piece;
    }
    ASSIGN_OR_RETURN(const bool more, NextMessage());
    if (!more) return absl::string_view();
    if (!slices_.empty()) continue;
    if (!message_.has_chunk()) {
      return MakeError(Reason::kInvalidField,
                       "only the first message of an upload carries a header", "part");
    }
    RETURN_IF_ERROR(CheckChunkSize(message_.chunk().size()));
    if (!message_.chunk().empty()) return absl::string_view(message_.chunk());
  }
}

absl::StatusOr<bool> ChunkSource::NextMessage() {
  slices_.clear();
  next_slice_ = 0;
  grpc::ByteBuffer buffer;
  if (!stream_.Next(buffer)) return false;
  const bool dumped = buffer.Dump(&slices_).ok();
  const std::optional<size_t> prefix_size =
      dumped && !slices_.empty() ? ChunkPrefixSize(View(slices_.front()), buffer.Length())
                                 : std::nullopt;
  if (prefix_size) {
    skip_ = *prefix_size;
    RETURN_IF_ERROR(CheckChunkSize(buffer.Length() - skip_));
    return true;
  }
  slices_.clear();
  if (!grpc::SerializationTraits<v1::UploadFileRequest>::Deserialize(&buffer, &message_).ok())
    return MakeError(Reason::kInvalidField, "a message of the upload cannot be read", "part");
  return true;
}

}  // namespace backup
