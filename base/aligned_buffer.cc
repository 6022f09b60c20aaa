#include "base/aligned_buffer.h"

#include <sys/mman.h>

#include <map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "glog/logging.h"

namespace backup {
namespace {

// Thread-safe.
class BufferPool {
 public:
  char* Take(size_t size) {
    {
      MutexLock lock(mutex_);
      bytes_.used += size;
      std::vector<char*>& idle = idle_[size];
      if (!idle.empty()) {
        char* const buffer = idle.back();
        idle.pop_back();
        bytes_.idle -= size;
        return buffer;
      }
    }
    void* const buffer =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    PCHECK(buffer != MAP_FAILED) << "out of memory";
    return static_cast<char*>(buffer);
  }

  void Return(char* buffer, size_t size) {
    {
      MutexLock lock(mutex_);
      bytes_.used -= size;
      if (bytes_.idle + size <= kMaxIdleBufferBytes) {
        idle_[size].push_back(buffer);
        bytes_.idle += size;
        return;
      }
    }
    PCHECK(::munmap(buffer, size) == 0);
  }

  BufferBytes bytes() const {
    MutexLock lock(mutex_);
    return bytes_;
  }

 private:
  mutable Mutex mutex_;
  std::map<size_t, std::vector<char*>> idle_ ABSL_GUARDED_BY(mutex_);
  BufferBytes bytes_ ABSL_GUARDED_BY(mutex_);
};

BufferPool& Pool() {
  static BufferPool& pool = *new BufferPool;  // Never freed: used until the process ends.
  return pool;
}

}  // namespace

void ReturnToPool::operator()(char* buffer) const { Pool().Return(buffer, size); }

AlignedBuffer TakeAlignedBuffer(size_t size) {
  CHECK(size > 0 && size % kBufferAlignment == 0);
  return AlignedBuffer(Pool().Take(size), ReturnToPool{size});
}

BufferBytes CountBufferBytes() { return Pool().bytes(); }

}  // namespace backup
