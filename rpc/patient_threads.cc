// gRPC's threads are waited for when the system has no room for another one. The linker sends the
// calls here that gRPC makes (--wrap, rpc/CMakeLists.txt); std::thread's are made within libstdc++,
// and fail at once (base/start_thread.h).
//
// gRPC 1.51 does not look whether a thread of its executor could be made (Executor::Enqueue in
// iomgr/executor.cc). It counts the thread all the same, and what is handed to it from then on is
// never done: some connections, and in the end all, are deaf until the process ends.

#include <pthread.h>

#include <cerrno>
#include <chrono>
#include <thread>

extern "C" {
// The linker's name.
int __real_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*),
                          void* argument);
}

namespace {

// Nobody tells when there is room again.
constexpr std::chrono::milliseconds kRetryInterval{10};
// gRPC may take a lack that lasts this long for what it is.
constexpr std::chrono::minutes kLongestWait{5};

}  // namespace

extern "C" int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                                     void* (*body)(void*), void* argument) {
  const auto end = std::chrono::steady_clock::now() + kLongestWait;
  while (true) {
    const int error = __real_pthread_create(thread, attributes, body, argument);
    if (error != EAGAIN || std::chrono::steady_clock::now() >= end) return error;
    std::this_thread::sleep_for(kRetryInterval);
  }
}
