#include "storage/s3/noted_reads.h"

#include <algorithm>
#include <utility>

namespace backup::storage::s3 {

void NotedReads::Note(const BlobId& id, const std::string& key, int64_t offset,
                      int64_t size_bytes) {
  if (offset < 0 || size_bytes <= 0) return;
  const int64_t begin = offset / kBlock * kBlock;
  const int64_t size =
      std::min(kMaxSize, (offset - begin + size_bytes + kBlock - 1) / kBlock * kBlock);
  std::list<Noted> old;
  MutexLock lock(mutex_);
  old = TakeOld();
  const bool is_known =
      std::any_of(noted_.begin(), noted_.end(), [&](const Noted& noted) { return noted.id == id; });
  if (is_known || noted_.size() >= kMaxNoted || !memory_->TryTake(Stretch::MemoryOf(size))) return;
  noted_.push_back({id, std::chrono::steady_clock::now(),
                    std::make_shared<Stretch>(client_, memory_, key, begin, size,
                                              /*object_size=*/std::nullopt)});
}

std::shared_ptr<Stretch> NotedReads::Take(const BlobId& id) {
  std::list<Noted> old;
  MutexLock lock(mutex_);
  old = TakeOld();
  const auto found = std::find_if(noted_.begin(), noted_.end(),
                                  [&](const Noted& noted) { return noted.id == id; });
  if (found == noted_.end()) return nullptr;
  std::shared_ptr<Stretch> stretch = std::move(found->stretch);
  noted_.erase(found);
  return stretch;
}

std::list<NotedReads::Noted> NotedReads::TakeOld() {
  const auto oldest = std::chrono::steady_clock::now() - kMaxAge;
  const auto end = std::find_if(noted_.begin(), noted_.end(),
                                [&](const Noted& noted) { return noted.time >= oldest; });
  std::list<Noted> old;
  old.splice(old.begin(), noted_, noted_.begin(), end);
  return old;
}

}  // namespace backup::storage::s3
