#pragma once

#include <functional>

#include "base/mutex.h"
#include "storage/catalog/catalog.h"
#include "storage/memory/memory_state.h"

namespace backup::storage {

// A catalog in memory, for tests. Runs works and their `done` on the thread that submits them. Each
// transaction copies the state, so keep it small. Thread-safe.
class MemoryCatalog final : public Catalog {
 public:
  void Submit(Work work, Done done) override;

 private:
  absl::Status ReadSnapshot(const std::function<absl::Status(Snapshot&)>& read) override;

  Mutex mutex_;
  MemoryState state_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace backup::storage
