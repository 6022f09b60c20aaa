// What the linker makes of a call of pthread_create(), which gRPC makes as this does.

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <optional>
#include <thread>

#include "gtest/gtest.h"

extern "C" {
// The linker's name: what does not wait.
int __real_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*),
                          void* argument);
}

namespace backup::rpc {
namespace {

constexpr size_t kStackBytes = size_t{4} << 30;
constexpr size_t kSpareBytes = size_t{1} << 30;  // For all else.
constexpr std::chrono::milliseconds kSomeTries(50);

// While it is there, this process has no room for a stack of kStackBytes.
class NoRoom {
 public:
  NoRoom() {
    size_t used_pages = 0;
    std::ifstream("/proc/self/statm") >> used_pages;
    const size_t used = used_pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
    EXPECT_EQ(getrlimit(RLIMIT_AS, &before_), 0);
    const rlimit limit = {used + kSpareBytes, before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
  }
  ~NoRoom() { EXPECT_EQ(setrlimit(RLIMIT_AS, &before_), 0); }
  NoRoom(const NoRoom&) = delete;
  NoRoom& operator=(const NoRoom&) = delete;

 private:
  rlimit before_ = {};
};

TEST(PatientThreadsTest, AThreadForWhichThereIsNoRoomIsMadeOnceThereIs) {
  pthread_attr_t large;
  ASSERT_EQ(pthread_attr_init(&large), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&large, kStackBytes), 0);
  void* (*const nothing)(void*) = [](void*) -> void* { return nullptr; };
  std::optional<NoRoom> no_room(std::in_place);
  pthread_t thread = {};
  ASSERT_EQ(__real_pthread_create(&thread, &large, nothing, nullptr), EAGAIN);

  std::atomic<bool> is_over = false;
  std::thread maker([&] {
    const int error = pthread_create(&thread, &large, nothing, nullptr);
    is_over = true;
    EXPECT_EQ(error, 0);
    if (error == 0) pthread_join(thread, nullptr);
  });
  std::this_thread::sleep_for(kSomeTries);
  EXPECT_FALSE(is_over);
  no_room.reset();
  maker.join();
  pthread_attr_destroy(&large);
}

}  // namespace
}  // namespace backup::rpc
