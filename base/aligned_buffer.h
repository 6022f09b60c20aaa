#pragma once

#include <cstddef>
#include <memory>

namespace backup {

// Memory that is aligned as direct I/O wants it, on every common device. Comes from a pool of its
// own and goes back there: glibc's heap, asked again and again for aligned memory, grows by holes.
// Zero only when it is new, and taken from the system as it is used.
struct ReturnToPool {
  size_t size = 0;
  void operator()(char* buffer) const;
};
using AlignedBuffer = std::unique_ptr<char, ReturnToPool>;

inline constexpr size_t kBufferAlignment = 4096;
// Unused memory of at most this size is kept for the next buffers.
inline constexpr size_t kMaxIdleBufferBytes = size_t{32} << 20;

// `size` is a multiple of kBufferAlignment; few different ones are best. Thread-safe.
AlignedBuffer TakeAlignedBuffer(size_t size);

struct BufferBytes {
  size_t used = 0;  // By whoever took them.
  size_t idle = 0;  // Kept for the next.
};
// Of all such buffers of the process. Thread-safe.
BufferBytes CountBufferBytes();

}  // namespace backup
