#include "bridge/loop_mailbox.h"

#include <unistd.h>

#include <cerrno>

#include "glog/logging.h"

namespace backup::bridge {

void LoopMailbox::AddServed(uint64_t number, Served served) {
  {
    MutexLock lock(mutex_);
    mail_.served.emplace_back(number, std::move(served));
    if (!IsFirst()) return;
  }
  Wake();
}

void LoopMailbox::AddTask(Task task) {
  {
    MutexLock lock(mutex_);
    mail_.tasks.push_back(std::move(task));
    if (!IsFirst()) return;
  }
  Wake();
}

void LoopMailbox::Wake() {
  const uint64_t one = 1;
  PCHECK(::write(wake_.get(), &one, sizeof(one)) == sizeof(one));
}

void LoopMailbox::ClearWake() {
  uint64_t count;
  PCHECK(::read(wake_.get(), &count, sizeof(count)) > 0 || errno == EAGAIN);
}

LoopMailbox::Mail LoopMailbox::Take() {
  MutexLock lock(mutex_);
  return std::exchange(mail_, {});
}

}  // namespace backup::bridge
