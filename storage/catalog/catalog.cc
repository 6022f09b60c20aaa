#include "storage/catalog/catalog.h"

#include "base/mutex.h"

namespace backup::storage {

absl::Status Catalog::Await(const std::function<void(Done)>& submit) {
  absl::Status result;
  // A lock of its own: with one for all, those that a commit wakes would only queue up for it.
  Mutex mutex;
  CondVar finished;
  bool done = false;
  submit([&](const absl::Status& committed) {
    MutexLock lock(mutex);
    result = committed;
    done = true;
    finished.NotifyOne();
  });
  MutexLock lock(mutex);
  while (!done) finished.Wait(mutex);
  return result;
}

absl::Status Catalog::CopyTo(const std::string& /*path*/, const std::function<void()>& /*pause*/,
                             const std::stop_token& /*token*/) {
  return absl::UnimplementedError("the catalog is in no file");
}

absl::Status Catalog::Check(const std::function<void()>& /*pause*/,
                            const std::stop_token& /*token*/) {
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Catalog::SizeBytes() {
  return absl::UnimplementedError("the catalog is in a file, or in memory");
}

}  // namespace backup::storage
