#include "storage/testing/faulty_blob_store.h"

#include <utility>

#include "base/status_macros.h"
#include "storage/testing/hooked_staged_blob.h"

namespace backup::storage {
namespace {

class FaultySource final : public ByteSource {
 public:
  FaultySource(ByteSource& source, const FaultyBlobStore::Fault& fault)
      : source_(source), fault_(fault) {}

  absl::StatusOr<absl::string_view> Read() override {
    ASSIGN_OR_RETURN(const absl::string_view piece, source_.Read());
    size_bytes_ += static_cast<int64_t>(piece.size());
    if (size_bytes_ > fault_.after_bytes) return fault_.error;
    return piece;
  }

 private:
  ByteSource& source_;
  const FaultyBlobStore::Fault& fault_;
  int64_t size_bytes_ = 0;
};

}  // namespace

absl::Status FaultyBlobStore::CountCall() const {
  MutexLock lock(mutex_);
  if (calls_ == fault_.after_calls) return fault_.error;
  ++calls_;
  return absl::OkStatus();
}

absl::Status FaultyBlobStore::CountCommit() {
  MutexLock lock(mutex_);
  if (commits_ == fault_.after_commits) return fault_.error;
  ++commits_;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<StagedBlob>> FaultyBlobStore::Stage(
    const BlobId& id, ByteSource& source, std::optional<int64_t> expected_size) {
  RETURN_IF_ERROR(CountCall());
  FaultySource faulty(source, fault_);
  ASSIGN_OR_RETURN(auto staged, store_.Stage(id, faulty, expected_size));
  return std::make_unique<HookedStagedBlob>(std::move(staged), [this](StagedBlob& blob) {
    RETURN_IF_ERROR(CountCommit());
    return blob.Commit();
  });
}

absl::StatusOr<std::unique_ptr<RandomAccess>> FaultyBlobStore::Open(const BlobId& id) const {
  RETURN_IF_ERROR(CountCall());
  return store_.Open(id);
}

absl::StatusOr<bool> FaultyBlobStore::Delete(const BlobId& id) {
  RETURN_IF_ERROR(CountCall());
  return store_.Delete(id);
}

absl::Status FaultyBlobStore::SyncDeletes() {
  RETURN_IF_ERROR(CountCall());
  return store_.SyncDeletes();
}

absl::Status FaultyBlobStore::List(
    const std::function<absl::Status(const BlobInfo&)>& visit) const {
  RETURN_IF_ERROR(CountCall());
  return store_.List(visit);
}

}  // namespace backup::storage
