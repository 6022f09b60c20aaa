#include "bridge/call_queue.h"

namespace backup::bridge {

CallQueue::CallQueue()
    : thread_([this] {
        void* tag = nullptr;
        bool ok = false;
        while (completions_.Next(&tag, &ok)) static_cast<Event*>(tag)->Happen();
      }) {}

CallQueue::~CallQueue() {
  completions_.Shutdown();
  thread_.join();
}

}  // namespace backup::bridge
