#include "services/backup/jobs/purge_trash.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "services/backup/jobs/runner.h"
#include "storage/memory/memory_catalog.h"
#include "storage/sqlite/sqlite_catalog.h"
#include "storage/testing/ids.h"
#include "storage/testing/repeating_catalog.h"
#include "storage/testing/temp_folder.h"

namespace backup::jobs {
namespace {

using storage::IdOf;
using storage::Transaction;
using testing::IsOkAndHolds;

constexpr absl::Duration kRetention = absl::Hours(168);

class PurgeTrashTest : public ::testing::Test {
 protected:
  explicit PurgeTrashTest(
      std::unique_ptr<storage::Catalog> catalog =
          std::make_unique<storage::RepeatingCatalog>(std::make_unique<storage::MemoryCatalog>()))
      : catalog_(std::move(catalog)) {
    for (const uint8_t id : {1, 2}) {
      Run([&](Transaction& transaction) {
        return transaction
            .RegisterClient(absl::StrCat("client ", id), IdOf<ClientId>(id),
                            storage::DuplicateNames::kReject, clock_.Now())
            .status();
      });
    }
  }

  void Run(const storage::Catalog::Work& work) { ASSERT_OK(catalog_->Run(work)); }
  int64_t Add(uint8_t client, const std::string& file_name) {
    storage::Version version;
    version.client_id = IdOf<ClientId>(client);
    version.file_name = file_name;
    version.version_id = ++last_version_;
    version.size_bytes = 5;
    version.sha256 = std::string(32, 's');
    version.receive_time = clock_.Now();
    Run([&](Transaction& transaction) {
      return transaction.AddVersion(version, std::string("bytes"), {}).status();
    });
    return last_version_;
  }
  void Delete(int64_t version) {
    Run([&](Transaction& transaction) {
      return transaction.DeleteVersions({version}, {clock_.Now()}).status();
    });
  }
  void DeleteClient(uint8_t client) {
    Run([&](Transaction& transaction) {
      return transaction.DeleteClient(IdOf<ClientId>(client), clock_.Now());
    });
  }
  storage::Counts Count() {
    return catalog_->Read([](storage::Snapshot& snapshot) { return snapshot.Count(); }).value();
  }
  std::unique_ptr<PurgeTrash> MakeJob() {
    return std::make_unique<PurgeTrash>(*catalog_, clock_, handlers::TrashPolicy{kRetention},
                                        [this] { ++wakings_; });
  }
  // One run of a new process; returns what it did.
  int64_t RunOnce(int64_t budget = 100) {
    const std::unique_ptr<PurgeTrash> job = MakeJob();
    Job::Progress progress;
    int64_t count = 0;
    do {
      progress = job->Step(progress.cursor, budget, std::stop_token()).value();
      count += progress.count;
    } while (!progress.is_done);
    return count;
  }

  const std::unique_ptr<storage::Catalog> catalog_;
  FakeClock clock_{absl::FromUnixSeconds(1'700'000'000)};
  int64_t last_version_ = 0;
  int wakings_ = 0;
};

TEST_F(PurgeTrashTest, RemovesNothingByATimeThatIsNotRight) {
  Delete(Add(1, "a"));
  clock_.Advance(kRetention);
  PurgeTrash purge(
      *catalog_, clock_, {kRetention}, [] {},
      [] { return absl::FailedPreconditionError("the clock moved"); });
  EXPECT_THAT(purge.Step("", 10, std::stop_token()).status(),
              testing::StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(Count().trash_versions, 1);
}

TEST_F(PurgeTrashTest, RemovesWhatWasThereForLongEnoughAndNothingElse) {
  const int64_t old = Add(1, "old");
  const int64_t young = Add(1, "young");
  Add(1, "there");
  Add(2, "of another");
  Delete(old);
  DeleteClient(2);
  clock_.Advance(absl::Hours(1));
  Delete(young);
  EXPECT_EQ(RunOnce(), 0);
  EXPECT_EQ(wakings_, 0);
  clock_.Advance(kRetention - absl::Hours(1) - absl::Seconds(1));
  EXPECT_EQ(RunOnce(), 0);
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(RunOnce(), 3);  // A version, and a client with one.
  EXPECT_GT(wakings_, 0);
  EXPECT_EQ(Count().trash_versions, 1);
  EXPECT_EQ(Count().trash_clients, 0);
  EXPECT_EQ(Count().versions, 1);
  clock_.Advance(absl::Hours(1));
  EXPECT_EQ(RunOnce(), 1);
  EXPECT_EQ(Count().trash_versions, 0);
  EXPECT_EQ(RunOnce(), 0);
}

TEST_F(PurgeTrashTest, GoesOnStepByStep) {
  for (int i = 0; i < 7; ++i) Delete(Add(1, absl::StrCat("file ", i)));
  for (int i = 0; i < 7; ++i) Add(2, absl::StrCat("file ", i));
  DeleteClient(2);
  clock_.Advance(kRetention);
  EXPECT_EQ(RunOnce(/*budget=*/3), 15);
  EXPECT_EQ(Count().trash_versions, 0);
  EXPECT_EQ(Count().trash_clients, 0);
  EXPECT_EQ(Count().clients, 1);
}

// Another process begins with what the one before has left, whatever its cursor says.
TEST_F(PurgeTrashTest, GoesOnAfterAnEndAtAnyStep) {
  for (int end = 0; end < 8; ++end) {
    for (int i = 0; i < 5; ++i) Delete(Add(1, absl::StrCat("file ", i)));
    const auto id = static_cast<uint8_t>(100 + end);
    Run([&](Transaction& transaction) {
      return transaction
          .RegisterClient(absl::StrCat("client ", id), IdOf<ClientId>(id),
                          storage::DuplicateNames::kReject, clock_.Now())
          .status();
    });
    for (int i = 0; i < 5; ++i) Add(id, absl::StrCat("file ", i));
    DeleteClient(id);
    const int64_t stays = Add(1, "stays");
    clock_.Advance(kRetention);
    std::string cursor;
    {
      const std::unique_ptr<PurgeTrash> killed = MakeJob();
      for (int step = 0; step < end; ++step)
        cursor = killed->Step(cursor, /*budget=*/2, std::stop_token()).value().cursor;
    }
    const std::unique_ptr<PurgeTrash> next = MakeJob();
    Job::Progress progress{cursor, false, 0};
    while (!progress.is_done)
      progress = next->Step(progress.cursor, /*budget=*/2, std::stop_token()).value();
    EXPECT_EQ(Count().trash_versions, 0) << end;
    EXPECT_EQ(Count().trash_clients, 0) << end;
    EXPECT_EQ(Count().versions, 1) << end;
    Run([&](Transaction& transaction) {
      return transaction.DeleteVersions({stays}, {clock_.Now(), /*for_good=*/true}).status();
    });
  }
}

TEST_F(PurgeTrashTest, LeavesAloneWhatIsTakenBackMeanwhile) {
  std::vector<int64_t> versions;
  for (int i = 0; i < 4; ++i) versions.push_back(Add(1, absl::StrCat("file ", i)));
  for (const int64_t version : versions) Delete(version);
  clock_.Advance(kRetention);
  const std::unique_ptr<PurgeTrash> job = MakeJob();
  EXPECT_EQ(job->Step("", /*budget=*/2, std::stop_token())->count, 2);
  Run([&](Transaction& transaction) {
    return transaction.UndeleteVersions({versions[2], versions[3]}).status();
  });
  Delete(versions[3]);  // Again: as of now.
  EXPECT_EQ(job->Step("on", /*budget=*/2, std::stop_token())->count, 0);
  EXPECT_EQ(Count().versions, 1);
  EXPECT_EQ(Count().trash_versions, 1);
}

}  // namespace
}  // namespace backup::jobs
