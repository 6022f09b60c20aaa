#include "storage/memory/memory_blob_store.h"

#include <vector>

#include "base/error.h"
#include "base/status_macros.h"

namespace backup::storage {

absl::StatusOr<int64_t> MemoryBlobStore::Put(const BlobId& id, ByteSource& source,
                                             std::optional<int64_t>) {
  StringSink bytes;
  ASSIGN_OR_RETURN(const int64_t size, CopyAll(source, bytes));
  MutexLock lock(mutex_);
  if (!blobs_.emplace(id, bytes.bytes()).second)
    return MakeError(Reason::kStorageIo, "there is a blob of this id");
  return size;
}

absl::StatusOr<std::unique_ptr<RandomAccess>> MemoryBlobStore::Open(const BlobId& id) const {
  MutexLock lock(mutex_);
  const auto found = blobs_.find(id);
  if (found == blobs_.end()) return absl::NotFoundError("there is no such blob");
  return std::make_unique<StringAccess>(found->second);
}

absl::StatusOr<bool> MemoryBlobStore::Delete(const BlobId& id) {
  MutexLock lock(mutex_);
  return blobs_.erase(id) > 0;
}

absl::Status MemoryBlobStore::List(
    const std::function<absl::Status(const BlobInfo&)>& visit) const {
  std::vector<BlobInfo> infos;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, bytes] : blobs_)
      infos.push_back({id, static_cast<int64_t>(bytes.size())});
  }
  for (const BlobInfo& info : infos) RETURN_IF_ERROR(visit(info));
  return absl::OkStatus();
}

}  // namespace backup::storage
