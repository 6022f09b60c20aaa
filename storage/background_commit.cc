#include "storage/background_commit.h"

#include <utility>

namespace backup::storage {

BackgroundCommit::~BackgroundCommit() {
  if (thread_) thread_->join();
}

void BackgroundCommit::Begin(std::unique_ptr<StagedBlob> blob) {
  blob_ = std::move(blob);
  thread_ = start_([this] { result_ = blob_->Commit(); });
  if (!thread_) result_ = blob_->Commit();
}

absl::Status BackgroundCommit::Finish() {
  if (thread_) thread_->join();
  thread_.reset();
  blob_.reset();
  return std::exchange(result_, absl::OkStatus());
}

}  // namespace backup::storage
