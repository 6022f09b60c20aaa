#include "storage/memory/memory_catalog.h"

#include <utility>

#include "storage/memory/memory_transaction.h"

namespace backup::storage {

void MemoryCatalog::Submit(Work work, Done done) {
  absl::Status result;
  {
    MutexLock lock(mutex_);
    MemoryState changed = state_;
    MemoryTransaction transaction(changed);
    result = work(transaction);
    if (result.ok()) state_ = std::move(changed);
  }
  done(result);
}

absl::Status MemoryCatalog::ReadSnapshot(const std::function<absl::Status(Snapshot&)>& read) {
  MemoryState state;
  {
    MutexLock lock(mutex_);
    state = state_;
  }
  MemoryTransaction snapshot(state);
  return read(snapshot);
}

}  // namespace backup::storage
