#include "rpc/completion_queue.h"

#include <future>
#include <thread>

#include "gtest/gtest.h"

namespace backup::rpc {
namespace {

constexpr absl::Duration kNever = absl::Hours(1);

TEST(CompletionQueue, CallsAfterTheDelayOnItsOwnThread) {
  CompletionQueue queue;
  std::promise<std::thread::id> thread;
  queue.CallAfter(absl::Milliseconds(1), {}, [&] { thread.set_value(std::this_thread::get_id()); });
  EXPECT_NE(thread.get_future().get(), std::this_thread::get_id());
}

TEST(CompletionQueue, CallsAtOnceWhenItIsStopped) {
  CompletionQueue queue;
  std::stop_source stop;
  std::promise<void> called;
  queue.CallAfter(kNever, stop.get_token(), [&] { called.set_value(); });
  stop.request_stop();
  called.get_future().get();
}

TEST(CompletionQueue, CallsAtOnceIfItWasStoppedBefore) {
  CompletionQueue queue;
  std::stop_source stop;
  stop.request_stop();
  std::promise<void> called;
  queue.CallAfter(kNever, stop.get_token(), [&] { called.set_value(); });
  called.get_future().get();
}

}  // namespace
}  // namespace backup::rpc
