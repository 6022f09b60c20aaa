#include <liburing.h>

#include <cerrno>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/memory/memory.h"
#include "base/io_engine.h"
#include "base/mutex.h"
#include "glog/logging.h"

namespace backup {
namespace {

// One ring for the process: whoever starts an operation hands it to the kernel himself; a thread
// waits for whatever ends and tells who waits for it.
class UringEngine final : public IoEngine {
 public:
  UringEngine() = default;
  ~UringEngine() override {
    if (reaper_.joinable()) {
      {
        MutexLock lock(mutex_);
        io_uring_sqe* const entry = TakeEntry();
        CHECK(entry != nullptr) << "destroyed while operations are in flight";
        ::io_uring_prep_nop(entry);
        ::io_uring_sqe_set_data(entry, &ring_);  // The sign to end.
        SubmitAll();
      }
      reaper_.join();
    }
    if (has_ring_) ::io_uring_queue_exit(&ring_);
  }

  bool Open(const ThreadStarter& start) {
    // Refused by old kernels (ENOSYS), sandboxes and sysctl kernel.io_uring_disabled (EPERM), and
    // where memory may not be locked (ENOMEM).
    has_ring_ = ::io_uring_queue_init(kMaxInFlight, &ring_, 0) == 0;
    if (!has_ring_ || !CanReadAndWrite()) return false;
    std::optional<std::thread> reaper = start([this] { Reap(); });
    if (!reaper) return false;
    reaper_ = *std::move(reaper);
    return true;
  }

  bool TryStart(const IoOperation& operation, IoWaiter& waiter) override {
    MutexLock lock(mutex_);
    if (in_flight_ == kMaxInFlight) return false;
    io_uring_sqe* const entry = TakeEntry();
    if (entry == nullptr) return false;
    const auto size = static_cast<unsigned>(operation.size);
    const auto offset = static_cast<uint64_t>(operation.offset);
    if (operation.kind == IoOperation::Kind::kRead)
      ::io_uring_prep_read(entry, operation.fd, operation.data, size, offset);
    else
      ::io_uring_prep_write(entry, operation.fd, operation.data, size, offset);
    ::io_uring_sqe_set_data(entry, &waiter);
    ::io_uring_submit(&ring_);
    if (::io_uring_sq_ready(&ring_) == 0) {  // In their order: this one is the last.
      ++in_flight_;
      return true;
    }
    // The kernel takes no more now, and will look at the entry the next time: it must do nothing.
    ::io_uring_prep_nop(entry);
    ::io_uring_sqe_set_data(entry, nullptr);
    return false;
  }
  const char* name() const override { return "io_uring"; }

 private:
  // Null if there is no room. What the kernel did not take before, it is offered again.
  io_uring_sqe* TakeEntry() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_)) return entry;
    ::io_uring_submit(&ring_);
    return ::io_uring_get_sqe(&ring_);
  }
  void SubmitAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    while (::io_uring_sq_ready(&ring_) > 0) ::io_uring_submit(&ring_);
  }

  bool CanReadAndWrite() {
    io_uring_probe* const probe = ::io_uring_get_probe_ring(&ring_);
    if (probe == nullptr) return false;
    const bool can = ::io_uring_opcode_supported(probe, IORING_OP_READ) != 0 &&
                     ::io_uring_opcode_supported(probe, IORING_OP_WRITE) != 0;
    ::io_uring_free_probe(probe);
    return can;
  }

  void Reap() {
    while (true) {
      io_uring_cqe* done = nullptr;
      const int error = ::io_uring_wait_cqe(&ring_, &done);
      if (error == -EINTR || error == -EAGAIN) continue;
      CHECK_EQ(error, 0) << "io_uring";
      void* const data = ::io_uring_cqe_get_data(done);
      const ssize_t result = done->res;
      ::io_uring_cqe_seen(&ring_, done);
      if (data == &ring_) return;
      if (data == nullptr) continue;
      {
        // Also what orders this behind the start of the operation, for those who look at our
        // memory only.
        MutexLock lock(mutex_);
        --in_flight_;
      }
      static_cast<IoWaiter*>(data)->Done(result);
    }
  }

  // The kernel's side of submitting is guarded by mutex_; that of completing is the reaper's.
  io_uring ring_ = {};
  bool has_ring_ = false;
  Mutex mutex_;
  int in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread reaper_;
};

}  // namespace

std::unique_ptr<IoEngine> IoEngine::TryMakeUring(const ThreadStarter& start) {
  auto engine = std::make_unique<UringEngine>();
  if (!engine->Open(start)) return nullptr;
  return engine;
}

}  // namespace backup
