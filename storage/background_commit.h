#pragma once

#include <memory>
#include <optional>
#include <thread>

#include "absl/status/status.h"
#include "base/start_thread.h"
#include "storage/blob_store.h"

namespace backup::storage {

// Commits a staged blob while its owner goes on. Used by one thread at a time.
class BackgroundCommit {
 public:
  explicit BackgroundCommit(ThreadStarter start = TryStartThread) : start_(std::move(start)) {}
  // Waits for the commit that goes on.
  ~BackgroundCommit();
  BackgroundCommit(const BackgroundCommit&) = delete;
  BackgroundCommit& operator=(const BackgroundCommit&) = delete;

  // Begins StagedBlob::Commit(); without a thread to be had it does it itself. Not while another
  // one goes on.
  void Begin(std::unique_ptr<StagedBlob> blob);
  // Waits until it is done; what became of it, or OK if there was none since the last call.
  absl::Status Finish();

 private:
  const ThreadStarter start_;
  std::unique_ptr<StagedBlob> blob_;
  absl::Status result_;  // The thread's, as long as there is one.
  std::optional<std::thread> thread_;
};

}  // namespace backup::storage
