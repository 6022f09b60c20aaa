#include "storage/background_commit.h"

#include <latch>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "storage/memory/memory_blob_store.h"
#include "storage/testing/hooked_staged_blob.h"
#include "storage/testing/ids.h"

namespace backup::storage {
namespace {

class BackgroundCommitTest : public ::testing::Test {
 protected:
  std::unique_ptr<StagedBlob> Stage(HookedStagedBlob::CommitHook commit) {
    StringSource source("bytes");
    return std::make_unique<HookedStagedBlob>(store_.Stage(id_, source, std::nullopt).value(),
                                              std::move(commit));
  }

  MemoryBlobStore store_;
  const BlobId id_ = IdOf<BlobId>(1);
};

TEST_F(BackgroundCommitTest, GoesOnWhileTheMediumIsWaitedFor) {
  std::latch may_end(1);
  BackgroundCommit commit;
  commit.Begin(Stage([&](StagedBlob& blob) {
    may_end.wait();
    return blob.Commit();
  }));
  EXPECT_THAT(store_.Open(id_), testing::StatusIs(absl::StatusCode::kNotFound));
  may_end.count_down();
  EXPECT_OK(commit.Finish());
  EXPECT_OK(store_.Open(id_));
}

TEST_F(BackgroundCommitTest, TellsAFailureOnce) {
  BackgroundCommit commit;
  EXPECT_OK(commit.Finish());
  commit.Begin(Stage([](StagedBlob&) { return absl::DataLossError("no medium"); }));
  EXPECT_THAT(commit.Finish(), testing::StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_OK(commit.Finish());
  EXPECT_THAT(store_.Open(id_), testing::StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(BackgroundCommitTest, CommitsItselfWithoutAThread) {
  BackgroundCommit commit([](const auto&) { return std::nullopt; });
  commit.Begin(Stage([](StagedBlob& blob) { return blob.Commit(); }));
  EXPECT_OK(store_.Open(id_));
  EXPECT_OK(commit.Finish());
}

TEST_F(BackgroundCommitTest, WaitsAtItsEnd) {
  {
    BackgroundCommit commit;
    commit.Begin(Stage([](StagedBlob& blob) { return blob.Commit(); }));
  }
  EXPECT_OK(store_.Open(id_));
}

}  // namespace
}  // namespace backup::storage
