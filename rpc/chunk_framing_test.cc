#include "rpc/chunk_framing.h"

#include <string>

#include "backup/v1/catalog.pb.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "gtest/gtest.h"

namespace backup::rpc {
namespace {

using Message = v1::DownloadFileResponse;

constexpr int kField = Message::kChunkFieldNumber;
constexpr size_t kSizes[] = {0, 1, 127, 128, 16383, 16384, size_t{2} << 20};

Message MessageOf(const std::string& chunk) {
  Message message;
  message.set_chunk(chunk);
  return message;
}

grpc::ByteBuffer Cut(const std::string& bytes, size_t slice_size) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < bytes.size(); at += slice_size)
    slices.emplace_back(bytes.substr(at, slice_size));
  return grpc::ByteBuffer(slices.data(), slices.size());
}

std::string All(ChunkSlices& slices) {
  std::string all;
  for (absl::string_view bytes = slices.Next(); !bytes.empty(); bytes = slices.Next())
    all.append(bytes.data(), bytes.size());
  return all;
}

TEST(ChunkFraming, IsWhatGeneratedCodeWrites) {
  for (const size_t size : kSizes) {
    const std::string chunk(size, 'x');
    EXPECT_TRUE(ChunkPrefix(kField, size) + chunk == MessageOf(chunk).SerializeAsString()) << size;
  }
}

TEST(ChunkFraming, IsTakenApartHoweverItArrives) {
  ChunkSlices slices(kField);
  for (const size_t size : kSizes) {
    const std::string chunk(size, 'x');
    const std::string bytes = MessageOf(chunk).SerializeAsString();
    for (const size_t slice_size : {size_t{5}, size_t{1000}, bytes.size()}) {
      if (size > 20000 && slice_size == 5) continue;
      ASSERT_TRUE(slices.Take(Cut(bytes, slice_size))) << size;
      EXPECT_EQ(slices.size_bytes(), size);
      EXPECT_TRUE(All(slices) == chunk) << size;
    }
  }
}

TEST(ChunkFraming, LeavesWhatIsNotJustAChunkToGeneratedCode) {
  ChunkSlices slices(kField);
  Message version;
  version.mutable_version()->set_file_name("name");
  const std::string chunk = MessageOf("chunk").SerializeAsString();
  for (const std::string& bytes :
       {version.SerializeAsString(), chunk + chunk, chunk + "\x20\x01", chunk.substr(0, 4),
        std::string("\x12\xFF\xFF\xFF\xFF\x01"), std::string()}) {
    EXPECT_FALSE(slices.Take(Cut(bytes, 100))) << bytes;
    EXPECT_EQ(slices.Next(), "");
  }
  EXPECT_FALSE(ChunkPrefixSize(kField, chunk.substr(0, 1), chunk.size()).has_value());
}

}  // namespace
}  // namespace backup::rpc
