// Timed waits go by the kernel's monotonic clock: docs/adr/0023-waits-are-monotonic.md. The linker
// sends the calls here that all parts of a program make (--wrap, base/CMakeLists.txt).
//
// Abseil, in which gRPC's timers wait, waits until an absolute time on the wall clock. Whoever sets
// that back by an hour makes each such wait last an hour longer, and no deadline of gRPC comes.
//
// std::condition_variable goes by the monotonic clock as it is. But libfaketime, in tests, answers
// for that clock too, and not for this wait.

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdint>

extern "C" {
// The linker's names.
long __real_syscall(long number, ...);
int __real_pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex,
                                  clockid_t clock, const timespec* deadline);
}

namespace {

constexpr int64_t kNanosPerSecond = 1'000'000'000;
// No sum below leaves int64_t.
constexpr int64_t kLongestWaitSeconds = int64_t{80} * 366 * 24 * 60 * 60;

// The arguments of FUTEX_WAIT_BITSET that are changed.
constexpr int kOperation = 1;
constexpr int kDeadline = 3;
constexpr int kArguments = 6;

int64_t Nanos(const timespec& time) {
  return std::clamp<int64_t>(time.tv_sec, 0, kLongestWaitSeconds) * kNanosPerSecond + time.tv_nsec;
}

// A deadline on the C library's `clock`, on the kernel's monotonic one.
timespec ToMonotonic(clockid_t clock, const timespec& deadline) {
  timespec now = {};
  ::clock_gettime(clock, &now);
  timespec kernels_now = {};
  __real_syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &kernels_now);
  const int64_t nanos = std::max<int64_t>(Nanos(kernels_now) + Nanos(deadline) - Nanos(now), 0);
  return {nanos / kNanosPerSecond, nanos % kNanosPerSecond};
}

}  // namespace

extern "C" long __wrap_syscall(long number, ...) {
  long arguments[kArguments];
  va_list list;
  va_start(list, number);
  for (long& argument : arguments) argument = va_arg(list, long);
  va_end(list);
  timespec deadline = {};
  long& operation = arguments[kOperation];
  const bool waits =
      number == SYS_futex && arguments[kDeadline] != 0 &&
      (operation & ~FUTEX_PRIVATE_FLAG) == (FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME);
  if (waits) {
    deadline =
        ToMonotonic(CLOCK_REALTIME, *reinterpret_cast<const timespec*>(arguments[kDeadline]));
    arguments[kDeadline] = reinterpret_cast<long>(&deadline);
    operation &= ~FUTEX_CLOCK_REALTIME;
  }
  return __real_syscall(number, arguments[0], arguments[1], arguments[2], arguments[3],
                        arguments[4], arguments[5]);
}

extern "C" int __wrap_pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex,
                                             clockid_t clock, const timespec* deadline) {
  const timespec monotonic = ToMonotonic(clock, *deadline);
  return __real_pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, &monotonic);
}
