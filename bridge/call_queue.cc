#include "bridge/call_queue.h"

#include "glog/logging.h"

namespace backup::bridge {

CallQueue::CallQueue()
    : thread_([this] {
        void* tag = nullptr;
        bool ok = false;
        while (completions_.Next(&tag, &ok)) {
          auto& event = *static_cast<Event*>(tag);
          CHECK(event.ready_.load(std::memory_order_acquire));
          event.Happen();
        }
      }) {}

CallQueue::~CallQueue() {
  completions_.Shutdown();
  thread_.join();
}

}  // namespace backup::bridge
