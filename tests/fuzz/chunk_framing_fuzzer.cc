// A message that is taken for just a chunk is one to generated code, too, with the same bytes,
// however gRPC cut it; and each that generated code writes is taken.

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "backup/v1/catalog.pb.h"
#include "glog/logging.h"
#include "rpc/chunk_framing.h"
#include "tests/fuzz/fuzz_target.h"

namespace backup::fuzz {
namespace {

using Message = v1::DownloadFileResponse;

// `first` bytes, and then as many each time as `size` says.
grpc::ByteBuffer Cut(absl::string_view bytes, size_t first, size_t size) {
  std::vector<grpc::Slice> slices;
  for (size_t taken = first; !bytes.empty(); taken = size) {
    const absl::string_view part = bytes.substr(0, taken);
    slices.emplace_back(std::string(part));
    bytes.remove_prefix(part.size());
  }
  return grpc::ByteBuffer(slices.data(), slices.size());
}

std::string All(rpc::ChunkSlices& slices) {
  std::string all;
  for (absl::string_view bytes = slices.Next(); !bytes.empty(); bytes = slices.Next())
    all.append(bytes.data(), bytes.size());
  return all;
}

// What is taken of a message in these cuts; nothing if it is not.
std::optional<std::string> Taken(absl::string_view message, size_t first, size_t size) {
  rpc::ChunkSlices slices(Message::kChunkFieldNumber);
  const bool is_taken = slices.Take(Cut(message, first, size));
  const size_t said = slices.size_bytes();
  const std::string all = All(slices);
  CHECK_EQ(all.size(), said);
  if (!is_taken) return std::nullopt;
  return all;
}

}  // namespace

void TryInput(absl::string_view bytes) {
  Input input(bytes);
  const size_t first = 1 + input.Below(16);
  const size_t size = 1 + input.Byte();
  const std::string rest(input.Rest());
  const auto taken = Taken(rest, first, size);
  if (taken) {
    Message message;
    CHECK(message.ParseFromString(rest));
    CHECK(message.chunk() == *taken);
  }
  Message message;
  message.set_chunk(rest);
  const std::string written = message.SerializeAsString();
  CHECK(rpc::ChunkPrefix(Message::kChunkFieldNumber, rest.size()) + rest == written);
  CHECK(*Taken(written, written.size(), size) == rest);
  // One whose first bytes came alone may be left to generated code.
  if (const auto cut = Taken(written, first, size); cut) CHECK(*cut == rest);
}

}  // namespace backup::fuzz
