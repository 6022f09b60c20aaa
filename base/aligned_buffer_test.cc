#include "base/aligned_buffer.h"

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"

namespace backup {
namespace {

TEST(AlignedBuffer, IsAlignedAndAllOfItCanBeWritten) {
  const AlignedBuffer buffer = TakeAlignedBuffer(3 * kBufferAlignment);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.get()) % kBufferAlignment, 0u);
  buffer.get()[3 * kBufferAlignment - 1] = 'x';
}

TEST(AlignedBuffer, ThatCameBackIsGivenOutAgain) {
  AlignedBuffer first = TakeAlignedBuffer(kBufferAlignment);
  char* const address = first.get();
  first.reset();
  EXPECT_EQ(TakeAlignedBuffer(kBufferAlignment).get(), address);
  const AlignedBuffer other_size = TakeAlignedBuffer(2 * kBufferAlignment);
  EXPECT_NE(other_size.get(), address);
}

TEST(AlignedBuffer, IsCountedAsUsedAndThenAsIdle) {
  const BufferBytes before = CountBufferBytes();
  AlignedBuffer buffer = TakeAlignedBuffer(5 * kBufferAlignment);
  EXPECT_EQ(CountBufferBytes().used, before.used + 5 * kBufferAlignment);
  buffer.reset();
  EXPECT_EQ(CountBufferBytes().used, before.used);
  EXPECT_EQ(CountBufferBytes().idle, before.idle + 5 * kBufferAlignment);
  buffer = TakeAlignedBuffer(5 * kBufferAlignment);
  EXPECT_EQ(CountBufferBytes().idle, before.idle);
}

TEST(AlignedBuffer, IsNotKeptBeyondTheLimit) {
  constexpr size_t kSize = size_t{1} << 20;
  std::vector<AlignedBuffer> buffers;
  for (size_t i = 0; i < 2 * kMaxIdleBufferBytes / kSize; ++i)
    buffers.push_back(TakeAlignedBuffer(kSize));
  for (AlignedBuffer& buffer : buffers) buffer.get()[0] = 'x';
  buffers.clear();
  // What is kept still says 'x'; what is new is zero.
  size_t kept = 0;
  for (size_t i = 0; i < 2 * kMaxIdleBufferBytes / kSize; ++i) {
    buffers.push_back(TakeAlignedBuffer(kSize));
    kept += buffers.back().get()[0] == 'x' ? 1 : 0;
  }
  EXPECT_GT(kept, 0u);
  EXPECT_LE(kept, kMaxIdleBufferBytes / kSize);
}

}  // namespace
}  // namespace backup
