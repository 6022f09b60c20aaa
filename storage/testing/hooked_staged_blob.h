#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "storage/blob_store.h"

namespace backup::storage {

// Another staged blob, and what its Commit() is to do instead. Used by one thread at a time.
class HookedStagedBlob final : public StagedBlob {
 public:
  using CommitHook = std::function<absl::Status(StagedBlob&)>;

  HookedStagedBlob(std::unique_ptr<StagedBlob> blob, CommitHook commit)
      : blob_(std::move(blob)), commit_(std::move(commit)) {}
  int64_t size_bytes() const override { return blob_->size_bytes(); }
  absl::Status Commit() override { return commit_(*blob_); }

 private:
  const std::unique_ptr<StagedBlob> blob_;
  const CommitHook commit_;
};

}  // namespace backup::storage
