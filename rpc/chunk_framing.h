#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"

namespace backup::rpc {

// What one message of an upload or a download carries at most, and room for it with its framing.
inline constexpr size_t kMaxChunkSize = kMaxPieceSize;
inline constexpr int kMaxMessageSize = static_cast<int>(kMaxChunkSize) + (64 << 10);

// A message whose only field is a chunk, that is, of type bytes, as it is on the wire: so that
// chunks are sent and received without the copies that generated code makes of them. Field numbers
// are below 16, and sizes below 2^28.

// What stands before the bytes of a chunk of `size` bytes.
std::string ChunkPrefix(int field_number, size_t size);

// How many bytes come before the chunk's own in a message of `message_size` bytes that begins with
// `begin`; nothing if it is not just one chunk, or cannot be told.
std::optional<size_t> ChunkPrefixSize(int field_number, absl::string_view begin,
                                      size_t message_size);

// The bytes of received messages that are just a chunk, as gRPC received them. Used by one thread
// at a time.
class ChunkSlices {
 public:
  explicit ChunkSlices(int field_number) : field_number_(field_number) {}

  // Goes on with `message` instead of the one before. False if that is not just a chunk in the form
  // that every encoder gives it: then there are no bytes, and generated code has to read it.
  bool Take(const grpc::ByteBuffer& message);
  // Of the whole chunk.
  size_t size_bytes() const { return size_bytes_; }
  // The next bytes, valid until the next Take(); empty at the end of the chunk.
  absl::string_view Next();

 private:
  const int field_number_;
  size_t size_bytes_ = 0;
  std::vector<grpc::Slice> slices_;
  size_t next_ = 0;  // Of slices_ ...
  size_t skip_ = 0;  // ... without its first bytes.
};

}  // namespace backup::rpc
