#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "base/status_macros.h"
#include "storage/blob_store.h"
#include "storage/testing/hooked_staged_blob.h"

namespace backup::testing {

// Passes calls on to another store, with something happening at the worst moment: before a blob is
// opened, or after one was put. Set up before calls are made.
class HookedBlobStore final : public storage::BlobStore {
 public:
  using Hook = std::function<void(const BlobId&)>;

  explicit HookedBlobStore(storage::BlobStore& store) : store_(store) {}

  Hook before_open = [](const BlobId&) {};
  Hook after_put = [](const BlobId&) {};

  absl::StatusOr<std::unique_ptr<storage::StagedBlob>> Stage(
      const BlobId& id, ByteSource& source, std::optional<int64_t> expected_size) override {
    ASSIGN_OR_RETURN(auto staged, store_.Stage(id, source, expected_size));
    const auto commit = [this, id](storage::StagedBlob& blob) {
      RETURN_IF_ERROR(blob.Commit());
      Call(after_put, id);
      return absl::OkStatus();
    };
    return std::make_unique<storage::HookedStagedBlob>(std::move(staged), commit);
  }
  absl::StatusOr<std::unique_ptr<RandomAccess>> Open(const BlobId& id) const override {
    Call(before_open, id);
    return store_.Open(id);
  }
  absl::StatusOr<bool> Delete(const BlobId& id) override { return store_.Delete(id); }
  absl::Status SyncDeletes() override { return store_.SyncDeletes(); }
  absl::Status List(
      const std::function<absl::Status(const storage::BlobInfo&)>& visit) const override {
    return store_.List(visit);
  }

 private:
  // A hook may put another one in its place.
  static void Call(Hook hook, const BlobId& id) { hook(id); }

  storage::BlobStore& store_;
};

}  // namespace backup::testing
