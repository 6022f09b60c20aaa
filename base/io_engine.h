#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/start_thread.h"

namespace backup {

// A read or write of one part of a file.
struct IoOperation {
  enum class Kind { kRead, kWrite };

  Kind kind = Kind::kRead;
  int fd = -1;
  char* data = nullptr;  // Only read from by a write.
  size_t size = 0;
  int64_t offset = 0;
};

// Who waits for an operation. Thread-safe.
class IoWaiter {
 public:
  // `result`: how many bytes were moved, which may be fewer than asked for, or a negative errno.
  // Called once for each operation that was started, on a thread of the engine, which it must not
  // block. When it has returned, the engine knows nothing of the waiter any more.
  virtual void Done(ssize_t result) = 0;

 protected:
  ~IoWaiter() = default;
};

// Does operations while whoever started them does something else. Thread-safe.
class IoEngine {
 public:
  // As many operations may be in flight in an engine at most: with the usual pieces so many MiB.
  static constexpr int kMaxInFlight = 64;

  // By io_uring, if the kernel has it and a sandbox allows it. Null otherwise, or if `start` cannot
  // make the one thread that it takes.
  static std::unique_ptr<IoEngine> TryMakeUring(const ThreadStarter& start = TryStartThread);
  // By threads, which are made as they are needed, and stay: kMaxThreads at most.
  static constexpr int kMaxThreads = 16;
  static std::unique_ptr<IoEngine> MakeThreads(ThreadStarter start = TryStartThread);
  // That of this process: io_uring if it can be, else threads. Made when it is first asked for, and
  // never destroyed.
  static IoEngine& Default();

  IoEngine() = default;
  // Nothing may be in flight.
  virtual ~IoEngine() = default;
  IoEngine(const IoEngine&) = delete;
  IoEngine& operator=(const IoEngine&) = delete;

  // Starts it; memory, file and waiter must last until the waiter was told. Never waits. False, and
  // the waiter is not told, if there is no room for another operation, or no thread for it: then it
  // is to be done without an engine.
  virtual bool TryStart(const IoOperation& operation, IoWaiter& waiter) = 0;
  // How it does that, for the log: "io_uring" or "threads".
  virtual const char* name() const = 0;
};

}  // namespace backup
