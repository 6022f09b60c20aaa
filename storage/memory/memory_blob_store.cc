#include "storage/memory/memory_blob_store.h"

#include <cstring>
#include <vector>

#include "base/status_macros.h"

namespace backup::storage {

absl::StatusOr<StoredBlob> MemoryBlobStore::Put(ByteSource& source, std::optional<int64_t>) {
  StringSink bytes;
  ASSIGN_OR_RETURN(const int64_t size, CopyAll(source, bytes));
  MutexLock lock(mutex_);
  char id_bytes[BlobId::kSize] = {};
  std::memcpy(id_bytes, &next_id_, sizeof(next_id_));
  ++next_id_;
  const BlobId id = *BlobId::FromBytes(absl::string_view(id_bytes, sizeof(id_bytes)));
  blobs_[id] = {bytes.bytes(), clock_.Now()};
  return StoredBlob{id, size};
}

absl::StatusOr<std::unique_ptr<RandomAccess>> MemoryBlobStore::Open(const BlobId& id) const {
  MutexLock lock(mutex_);
  const auto found = blobs_.find(id);
  if (found == blobs_.end()) return absl::NotFoundError("there is no such blob");
  return std::make_unique<StringAccess>(found->second.bytes);
}

absl::Status MemoryBlobStore::Delete(const BlobId& id) {
  MutexLock lock(mutex_);
  blobs_.erase(id);
  return absl::OkStatus();
}

absl::Status MemoryBlobStore::ForEach(
    const std::function<absl::Status(const BlobInfo&)>& visit) const {
  std::vector<BlobInfo> infos;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, blob] : blobs_) {
      infos.push_back({id, static_cast<int64_t>(blob.bytes.size()), blob.create_time});
    }
  }
  for (const BlobInfo& info : infos) RETURN_IF_ERROR(visit(info));
  return absl::OkStatus();
}

}  // namespace backup::storage
