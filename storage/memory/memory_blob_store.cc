#include "storage/memory/memory_blob_store.h"

#include <iterator>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/status_macros.h"

namespace backup::storage {

class MemoryBlobStore::Staged final : public StagedBlob {
 public:
  Staged(MemoryBlobStore& store, const BlobId& id, std::string bytes)
      : store_(store), id_(id), bytes_(std::move(bytes)) {}
  int64_t size_bytes() const override { return std::ssize(bytes_); }
  absl::Status Commit() override {
    MutexLock lock(store_.mutex_);
    if (!store_.blobs_.emplace(id_, bytes_).second)
      return MakeError(Reason::kStorageIo, "there is a blob of this id");
    return absl::OkStatus();
  }

 private:
  MemoryBlobStore& store_;
  const BlobId id_;
  const std::string bytes_;
};

absl::StatusOr<std::unique_ptr<StagedBlob>> MemoryBlobStore::Stage(const BlobId& id,
                                                                   ByteSource& source,
                                                                   std::optional<int64_t>) {
  StringSink bytes;
  RETURN_IF_ERROR(CopyAll(source, bytes).status());
  return std::make_unique<Staged>(*this, id, bytes.bytes());
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
