#include "content/compression.h"

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "content/chunker.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::content {
namespace {

using testing::HasReason;
using testing::IsOkAndHolds;
using testing::PseudoRandomBytes;

std::string Text(size_t size) {
  std::string text;
  for (size_t i = 0; text.size() < size; ++i) absl::StrAppend(&text, "line ", i * i, " of text\n");
  text.resize(size);
  return text;
}

std::vector<absl::string_view> Cut(absl::string_view bytes, size_t piece) {
  std::vector<absl::string_view> parts;
  for (size_t at = 0; at < bytes.size(); at += piece) parts.push_back(bytes.substr(at, piece));
  return parts;
}

std::string Frame(absl::string_view bytes, int level = 3) {
  return Compress(Cut(bytes, bytes.size()), level).value();
}

int64_t Size(absl::string_view bytes) { return static_cast<int64_t>(bytes.size()); }

// The header of a frame of one segment that says how large its content is, as zstd's format has it.
std::string FrameHeader(uint64_t size) {
  std::string header("\x28\xB5\x2F\xFD\xE0", 5);
  for (int i = 0; i < 8; ++i) header.push_back(static_cast<char>(size >> (8 * i)));
  return header;
}

TEST(Compression, IsReadFromItsFlag) {
  EXPECT_EQ(ParseCompression("auto")->when, CompressionPolicy::When::kAuto);
  EXPECT_EQ(ParseCompression("off")->when, CompressionPolicy::When::kNever);
  for (const int level : {1, 19}) {
    EXPECT_EQ(ParseCompression(absl::StrCat(level))->when, CompressionPolicy::When::kAlways);
    EXPECT_EQ(ParseCompression(absl::StrCat(level))->level, level);
  }
  for (const char* const text : {"", "0", "20", "-1", "3x", "AUTO", "99999999999999"})
    EXPECT_FALSE(ParseCompression(text)) << text;
}

TEST(Compression, GivesBackWhatItCompressedHoweverItIsCut) {
  for (const size_t size : {size_t{100}, size_t{16384}, kMinChunkSize, kMaxChunkSize}) {
    const std::string text = Text(size);
    for (const int level : {1, 3}) {
      for (const size_t piece : {size, size / 3 + 1}) {
        const auto frame = Compress(Cut(text, piece), level);
        ASSERT_TRUE(frame) << size;
        EXPECT_LE(frame->size(), size - size / 16);
        const auto bytes = Decompress(*frame, Size(text));
        ASSERT_OK(bytes);
        EXPECT_TRUE(*bytes == text) << size;
      }
    }
  }
}

TEST(Compression, IsGivenUpIfItBringsLessThanASixteenth) {
  for (const size_t size : {size_t{1}, size_t{15}, size_t{1000}, kMaxChunkSize})
    EXPECT_FALSE(Compress(Cut(PseudoRandomBytes(size), 65536), 3)) << size;
  EXPECT_FALSE(Compress({}, 3));
  // A twentieth of it would shrink to nothing.
  EXPECT_FALSE(Compress(Cut(PseudoRandomBytes(95'000) + std::string(5'000, 'a'), 65536), 3));
  EXPECT_TRUE(Compress(Cut(PseudoRandomBytes(90'000) + std::string(10'000, 'a'), 65536), 3));
}

TEST(Compression, IsDoneByMoreThreadsThanThereAreCompressors) {
  const std::string text = Text(200'000);
  std::atomic<int> right = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&] {
      for (const int level : {1, 9, 3}) {
        if (Decompress(Frame(text, level), Size(text)).value_or("") == text) ++right;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 48);
}

TEST(Compression, IsGuessedFromASample) {
  for (const size_t size : {size_t{200}, size_t{5000}, size_t{1} << 20}) {
    EXPECT_TRUE(MayShrink(Cut(Text(size), 4096))) << size;
    EXPECT_FALSE(MayShrink(Cut(PseudoRandomBytes(size), 4096))) << size;
  }
  EXPECT_FALSE(MayShrink({}));
  // Only the end of it is text, or only the beginning.
  const std::string noise = PseudoRandomBytes(1 << 20);
  EXPECT_TRUE(MayShrink(Cut(noise + Text(1 << 20), 65536)));
  EXPECT_TRUE(MayShrink(Cut(Text(1 << 20) + noise, 1 << 20)));
}

TEST(Decompression, RefusesAnotherSize) {
  const std::string text = Text(5000);
  const std::string frame = Frame(text);
  for (const int64_t size : {0, 1, 4999, 5001, 1 << 20})
    EXPECT_THAT(Decompress(frame, size), HasReason(Reason::kBlobDamaged)) << size;
}

TEST(Decompression, RefusesBombsBeforeAnythingIsAllocated) {
  // A frame that says of itself that it has terabytes, or more than 4 GiB in a few bytes.
  for (const uint64_t size : {uint64_t{1} << 42, (uint64_t{1} << 32) + 5000, ~uint64_t{0}})
    EXPECT_THAT(Decompress(FrameHeader(size) + Frame(Text(5000)).substr(5), 5000),
                HasReason(Reason::kBlobDamaged));
  // 4 MiB of zeros where 5000 bytes are expected, whatever its header says.
  std::string zeros = Frame(std::string(kMaxChunkSize, '\0'));
  EXPECT_LT(zeros.size(), 1000);
  EXPECT_THAT(Decompress(zeros, 5000), HasReason(Reason::kBlobDamaged));
  ASSERT_EQ(static_cast<uint8_t>(zeros[4]), 0x80);  // A window, then the size in 4 bytes.
  zeros.replace(6, 4, std::string("\x88\x13\0\0", 4));
  EXPECT_THAT(Decompress(zeros, 5000), HasReason(Reason::kBlobDamaged));
}

TEST(Decompression, RefusesWhatIsCutOrFollowedByAnything) {
  const std::string text = Text(5000);
  const std::string frame = Frame(text);
  for (size_t size = 0; size < frame.size(); ++size)
    EXPECT_THAT(Decompress(frame.substr(0, size), 5000), HasReason(Reason::kBlobDamaged)) << size;
  EXPECT_THAT(Decompress(frame + "x", 5000), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Decompress(frame + frame, 5000), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Decompress(frame + frame, 10000), HasReason(Reason::kBlobDamaged));
  const std::string skippable("\x50\x2A\x4D\x18\x00\x00\x00\x00", 8);
  EXPECT_THAT(Decompress(skippable + frame, 5000), HasReason(Reason::kBlobDamaged));
}

// zstd's frames have no checksum here: some damage yields other bytes, which the id tells apart.
TEST(Decompression, YieldsTheSizeOrAnErrorHoweverTheFrameIsDamaged) {
  std::mt19937 random(17);
  const std::string frame = Frame(Text(5000));
  for (int round = 0; round < 20'000; ++round) {
    std::string damaged = frame;
    for (uint32_t i = random() % 4 + 1; i > 0; --i)
      damaged[random() % damaged.size()] = static_cast<char>(random());
    if (random() % 4 == 0) damaged.resize(random() % damaged.size());
    const auto bytes = Decompress(damaged, 5000);
    if (bytes.ok()) {
      EXPECT_EQ(bytes->size(), 5000);
    } else {
      EXPECT_THAT(bytes, HasReason(Reason::kBlobDamaged));
    }
  }
}

}  // namespace
}  // namespace backup::content
