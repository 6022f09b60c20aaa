#include "storage/sqlite/write_queue.h"

#include <filesystem>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/low_priority_thread.h"
#include "base/status_macros.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/testing/temp_folder.h"

namespace backup::storage {
namespace {

using testing::HasReason;
using testing::StatusIs;

constexpr int64_t kManyPages = 1 << 20;

class WriteQueueTest : public ::testing::Test {
 protected:
  std::unique_ptr<Database> OpenDatabase(Database::Mode mode = Database::Mode::kReadWrite) {
    return Database::Open(folder_.path() + "/db", mode).value();
  }

  std::unique_ptr<Database> MakeDatabase() {
    std::unique_ptr<Database> database = OpenDatabase();
    EXPECT_OK(database->Execute(
        "PRAGMA journal_mode = WAL; CREATE TABLE notes (size INTEGER, bytes BLOB)"));
    return database;
  }

  static absl::Status Insert(Database& database, int64_t size) {
    return database.Prepare("INSERT INTO notes VALUES (?1, zeroblob(?1))").Bind(size).Run();
  }

  static absl::Status InsertOne(Database& database) { return Insert(database, 1); }

  // Submits and waits.
  static absl::Status Run(WriteQueue& queue, const WriteQueue::Work& work) {
    std::promise<absl::Status> result;
    queue.Submit(work, [&](const absl::Status& status) { result.set_value(status); });
    return result.get_future().get();
  }

  // Runs the works as one batch; returns what each was told.
  static std::vector<absl::Status> RunBatch(WriteQueue& queue,
                                            const std::vector<WriteQueue::Work>& works) {
    std::promise<void> started;
    std::promise<void> go_on;
    // Keeps the writer busy while the others come to wait.
    queue.Submit(
        [&, wait = go_on.get_future().share()](Database&) {
          started.set_value();
          wait.wait();
          return absl::OkStatus();
        },
        [](const absl::Status& result) { EXPECT_OK(result); });
    started.get_future().wait();
    std::vector<std::promise<absl::Status>> results(works.size());
    for (size_t i = 0; i < works.size(); ++i)
      queue.Submit(works[i], [&, i](const absl::Status& result) { results[i].set_value(result); });
    go_on.set_value();
    std::vector<absl::Status> told;
    for (auto& result : results) told.push_back(result.get_future().get());
    return told;
  }

  static int64_t CountIn(Database& database) {
    Query query = database.Prepare("SELECT count(*) FROM notes");
    EXPECT_OK(query.Step());
    return query.Int(0);
  }

  const TempFolder folder_;
};

TEST_F(WriteQueueTest, HasCommittedWhenItIsDone) {
  WriteQueue queue(MakeDatabase());
  std::promise<int64_t> rows;
  queue.Submit(
      [&](Database& database) {
        EXPECT_OK(Insert(database, 1));
        EXPECT_EQ(CountIn(database), 1);
        EXPECT_EQ(CountIn(*OpenDatabase(Database::Mode::kReadOnly)), 0);
        return absl::OkStatus();
      },
      [&](const absl::Status& committed) {
        EXPECT_OK(committed);
        rows.set_value(CountIn(*OpenDatabase(Database::Mode::kReadOnly)));
      });
  EXPECT_EQ(rows.get_future().get(), 1);
}

TEST_F(WriteQueueTest, UndoesOnlyTheWorkThatFails) {
  WriteQueue queue(MakeDatabase());
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 16; ++t) {
      threads.emplace_back([&, fails = t % 2 == 0] {
        for (int i = 0; i < 10; ++i) {
          const absl::Status result = Run(queue, [&](Database& database) -> absl::Status {
            RETURN_IF_ERROR(Insert(database, 1));
            return fails ? absl::AbortedError("on purpose") : absl::OkStatus();
          });
          EXPECT_THAT(result, StatusIs(fails ? absl::StatusCode::kAborted : absl::StatusCode::kOk));
        }
      });
    }
  }
  EXPECT_EQ(CountIn(*OpenDatabase(Database::Mode::kReadOnly)), 80);
}

TEST_F(WriteQueueTest, CommitsTheWorkOfManyCallersTogether) {
  WriteQueue queue(MakeDatabase());
  const std::unique_ptr<Database> reader = OpenDatabase(Database::Mode::kReadOnly);
  std::vector<int64_t> seen_by_reader;
  const WriteQueue::Work work = [&](Database& database) {
    seen_by_reader.push_back(CountIn(*reader));
    return Insert(database, 1);
  };
  EXPECT_THAT(RunBatch(queue, {work, work, work}), ::testing::Each(testing::IsOk()));
  EXPECT_THAT(seen_by_reader, ::testing::ElementsAre(0, 0, 0));
  EXPECT_EQ(CountIn(*reader), 3);
}

TEST_F(WriteQueueTest, TellsTheThrottleOfItsCommits) {
  Metrics metrics;
  const BulkThrottle::Metrics bulk(metrics);
  {
    WriteQueue queue(MakeDatabase(), WriteQueue::kMaxWaiting, {}, nullptr,
                     std::make_shared<BulkThrottle>(bulk));
    bulk.limit.Set(-1);  // Until it is told.
    RunBatch(queue, {[](Database& writer) { return Insert(writer, 1); }});
  }
  EXPECT_THAT(metrics.Text(), ::testing::HasSubstr("backup_bulk_limit 64\n"));
}

TEST_F(WriteQueueTest, TellsTheThrottleNothingThatOnlyLowPriorityThreadsWaitFor) {
  Metrics metrics;
  const BulkThrottle::Metrics bulk(metrics);
  {
    WriteQueue queue(MakeDatabase(), WriteQueue::kMaxWaiting, {}, nullptr,
                     std::make_shared<BulkThrottle>(bulk));
    bulk.limit.Set(-1);
    std::thread([&] {
      BecomeLowPriority();
      EXPECT_OK(Run(queue, InsertOne));
    }).join();
  }
  EXPECT_THAT(metrics.Text(), ::testing::HasSubstr("backup_bulk_limit -1\n"));
}

TEST_F(WriteQueueTest, TakesWorkFromTheDoneOfOther) {
  WriteQueue queue(MakeDatabase());
  std::promise<absl::Status> result;
  queue.Submit(InsertOne, [&](const absl::Status& first) {
    EXPECT_OK(first);
    queue.Submit(InsertOne, [&](const absl::Status& second) { result.set_value(second); });
  });
  EXPECT_OK(result.get_future().get());
  EXPECT_EQ(CountIn(*OpenDatabase(Database::Mode::kReadOnly)), 2);
}

// SQLite ends a transaction on its own when the disk is full, fails, or memory runs out, also in a
// read. Whichever work of a batch meets that, and whatever it makes of it, all of the batch is
// gone.
TEST_F(WriteQueueTest, TellsNobodyOkWhoseTransactionWasLost) {
  WriteQueue queue(MakeDatabase());
  const std::vector<WriteQueue::Work> losers = {
      [](Database& database) { return database.Execute("ROLLBACK"); },
      [](Database& database) -> absl::Status {
        RETURN_IF_ERROR(database.Execute("ROLLBACK"));
        return absl::NotFoundError("an error of the work's own");
      },
      [](Database& database) {
        EXPECT_OK(Insert(database, 1));
        EXPECT_OK(database.Execute("ROLLBACK"));
        EXPECT_FALSE(Insert(database, 1).ok()) << "outside of the transaction";
        EXPECT_FALSE(database.Execute("INSERT INTO notes VALUES (1, x'')").ok());
        EXPECT_FALSE(database.Prepare("SELECT count(*) FROM notes").Step().ok());
        return absl::OkStatus();
      }};
  constexpr size_t kBatch = 4;
  for (const WriteQueue::Work& loser : losers) {
    for (size_t position = 0; position < kBatch; ++position) {
      std::vector<WriteQueue::Work> works(kBatch, InsertOne);
      works[(position + 1) % kBatch] = [](Database&) { return absl::AbortedError("on purpose"); };
      works[position] = loser;
      EXPECT_THAT(RunBatch(queue, works), ::testing::Each(HasReason(Reason::kStorageIo)))
          << "position " << position;
      EXPECT_EQ(CountIn(*OpenDatabase(Database::Mode::kReadOnly)), 0);
    }
  }
  EXPECT_THAT(RunBatch(queue, {InsertOne, InsertOne}), ::testing::Each(testing::IsOk()));
  EXPECT_EQ(CountIn(*OpenDatabase(Database::Mode::kReadOnly)), 2);
}

TEST_F(WriteQueueTest, TellsAllOfABatchWhatEndedItsTransaction) {
  std::unique_ptr<Database> database = MakeDatabase();
  ASSERT_OK(database->Execute("PRAGMA max_page_count = 20"));
  WriteQueue queue(std::move(database));
  const WriteQueue::Work fills = [](Database& writer) {
    Insert(writer, kManyPages).IgnoreError();
    return absl::OkStatus();
  };
  EXPECT_THAT(RunBatch(queue, {InsertOne, fills, InsertOne}),
              ::testing::Each(HasReason(Reason::kStorageFull)));
  EXPECT_EQ(CountIn(*OpenDatabase(Database::Mode::kReadOnly)), 0);
  EXPECT_OK(Run(queue, InsertOne));
}

TEST_F(WriteQueueTest, TurnsCallersAwayWhenTooManyWait) {
  WriteQueue queue(MakeDatabase(), 0);
  absl::Status result;
  queue.Submit(
      [](Database&) {
        ADD_FAILURE() << "work that was turned away";
        return absl::OkStatus();
      },
      [&](const absl::Status& committed) { result = committed; });
  EXPECT_THAT(result, HasReason(Reason::kOverloaded));
}

TEST_F(WriteQueueTest, SaysThatTheDiskIsFullAndGoesOnWhenThereIsSpaceAgain) {
  std::unique_ptr<Database> database = MakeDatabase();
  ASSERT_OK(database->Execute("PRAGMA max_page_count = 20"));
  WriteQueue queue(std::move(database));
  EXPECT_THAT(Run(queue, [](Database& writer) { return Insert(writer, kManyPages); }),
              HasReason(Reason::kStorageFull));
  EXPECT_EQ(CountIn(*OpenDatabase(Database::Mode::kReadOnly)), 0);
  EXPECT_OK(Run(queue, [](Database& writer) { return Insert(writer, 1); }));
  EXPECT_EQ(CountIn(*OpenDatabase(Database::Mode::kReadOnly)), 1);
}

class WriteQueueWithReserveTest : public WriteQueueTest {
 protected:
  WriteQueueWithReserveTest() { EXPECT_TRUE(reserve_.Restore()); }

  // On a disk that is full until so many pieces of the reserve were given up.
  WriteQueue::Work NeedsPieces(int pieces) {
    return [pieces, runs = std::make_shared<int>(0)](Database& writer) {
      return Insert(writer, (*runs)++ < pieces ? kManyPages : 1);
    };
  }

  std::unique_ptr<Database> MakeFullDatabase() {
    std::unique_ptr<Database> database = MakeDatabase();
    EXPECT_OK(database->Execute("PRAGMA max_page_count = 20"));
    return database;
  }

  int64_t LogBytes() const {
    return static_cast<int64_t>(std::filesystem::file_size(folder_.path() + "/db-wal"));
  }

  SpaceReserve reserve_{folder_.path() + "/reserve"};
};

TEST_F(WriteQueueWithReserveTest, FindsRoomInTheReserveForAllOfABatch) {
  WriteQueue queue(MakeFullDatabase(), WriteQueue::kMaxWaiting, {}, &reserve_);
  EXPECT_THAT(RunBatch(queue, {InsertOne, NeedsPieces(2), InsertOne}),
              ::testing::Each(testing::IsOk()));
  EXPECT_EQ(CountIn(*OpenDatabase(Database::Mode::kReadOnly)), 3);
  int left = 0;
  while (reserve_.Release()) ++left;
  EXPECT_EQ(left, SpaceReserve::kPieces - 2);
}

TEST_F(WriteQueueWithReserveTest, SaysThatTheDiskIsFullWhenTheReserveIsUsedUp) {
  WriteQueue queue(MakeFullDatabase(), WriteQueue::kMaxWaiting, {}, &reserve_);
  EXPECT_THAT(Run(queue, NeedsPieces(SpaceReserve::kPieces + 1)), HasReason(Reason::kStorageFull));
  EXPECT_FALSE(reserve_.Release());
}

TEST_F(WriteQueueWithReserveTest, LeavesTheReserveAloneWhateverElseFails) {
  WriteQueue queue(MakeFullDatabase(), WriteQueue::kMaxWaiting, {}, &reserve_);
  EXPECT_THAT(Run(queue, [](Database&) { return MakeError(Reason::kStorageFull, "on purpose"); }),
              HasReason(Reason::kStorageFull));
  EXPECT_THAT(Run(queue, [](Database& writer) { return writer.Execute("SELECT * FROM nothing"); }),
              HasReason(Reason::kStorageIo));
  EXPECT_TRUE(reserve_.is_whole());
}

TEST_F(WriteQueueWithReserveTest, KeepsTheLogWithinItsBound) {
  constexpr int64_t kPiece = 1 << 20;
  WriteQueue queue(MakeDatabase(), WriteQueue::kMaxWaiting, {}, &reserve_);
  for (int64_t written = 0; written < 3 * WriteQueue::kMaxLogBytes; written += kPiece) {
    ASSERT_OK(Run(queue, [](Database& writer) { return Insert(writer, kPiece); }));
    ASSERT_LT(LogBytes(), WriteQueue::kMaxLogBytes + 3 * kPiece);
  }
}

// A batch must fit into the log's bound, however large its works are.
TEST_F(WriteQueueWithReserveTest, CommitsLargeWorksInSeveralBatches) {
  constexpr int kWorks = 40;
  Metrics metrics;
  const std::string content(1 << 20, 'c');
  {
    WriteQueue queue(MakeDatabase(), WriteQueue::kMaxWaiting, StorageMetrics(metrics), &reserve_);
    const std::vector<WriteQueue::Work> works(kWorks, [&](Database& writer) {
      return writer.Prepare("INSERT INTO notes VALUES (1, ?)").BindBlob(content).Run();
    });
    EXPECT_THAT(RunBatch(queue, works), ::testing::Each(testing::IsOk()));
  }
  EXPECT_EQ(CountIn(*OpenDatabase(Database::Mode::kReadOnly)), kWorks);
  // One for what kept the writer busy.
  EXPECT_THAT(metrics.Text(), ::testing::HasSubstr("backup_db_commit_duration_seconds_count 6\n"));
}

TEST_F(WriteQueueTest, RunsAloneAndInTheOrderOfTheCallsWhatCannotBeInATransaction) {
  WriteQueue queue(MakeDatabase());
  std::promise<absl::Status> checkpointed;
  int64_t count = 0;
  queue.Submit(InsertOne, [](const absl::Status& result) { EXPECT_OK(result); });
  queue.SubmitAlone(
      [&](Database& writer) {
        count = CountIn(writer);
        return writer.Checkpoint(Database::Checkpointing::kTruncate).status();
      },
      [&](const absl::Status& result) { checkpointed.set_value(result); });
  EXPECT_OK(Run(queue, InsertOne));
  EXPECT_OK(checkpointed.get_future().get());
  EXPECT_EQ(count, 1);
}

TEST_F(WriteQueueTest, SaysThatTheDatabaseIsBusy) {
  std::unique_ptr<Database> database = MakeDatabase();
  ASSERT_OK(database->Execute("PRAGMA busy_timeout = 0"));
  const std::unique_ptr<Database> other = OpenDatabase();
  ASSERT_OK(other->Execute("BEGIN IMMEDIATE"));
  WriteQueue queue(std::move(database));
  EXPECT_THAT(Run(queue, [](Database& writer) { return Insert(writer, 1); }),
              HasReason(Reason::kBackendDown));
  ASSERT_OK(other->Execute("ROLLBACK"));
  EXPECT_OK(Run(queue, [](Database& writer) { return Insert(writer, 1); }));
}

TEST_F(WriteQueueTest, TellsOfAStatementThatCannotBePrepared) {
  WriteQueue queue(MakeDatabase());
  EXPECT_THAT(
      Run(queue,
          [](Database& writer) { return writer.Prepare("SELECT * FROM missing").Bind(1).Run(); }),
      HasReason(Reason::kStateCorrupt));
}

TEST_F(WriteQueueTest, CountsItselfItsCommitsAndLocksItMeets) {
  Metrics metrics;
  const StorageMetrics storage_metrics(metrics);
  MakeDatabase();
  const std::unique_ptr<Database> other = OpenDatabase();
  ASSERT_OK(other->Execute("BEGIN IMMEDIATE"));
  {
    WriteQueue queue(
        Database::Open(folder_.path() + "/db", Database::Mode::kReadWrite, storage_metrics.busy)
            .value(),
        WriteQueue::kMaxWaiting, storage_metrics);
    std::jthread waits(
        [&] { EXPECT_OK(Run(queue, [](Database& database) { return Insert(database, 1); })); });
    while (metrics.Text().find("backup_db_busy_total 1\n") == std::string::npos)
      std::this_thread::yield();
    ASSERT_OK(other->Execute("COMMIT"));
    waits.join();
    EXPECT_THAT(
        metrics.Text(),
        ::testing::AllOf(::testing::HasSubstr("backup_db_writers 1\n"),
                         ::testing::HasSubstr("backup_db_busy_total 1\n"),
                         ::testing::HasSubstr("backup_db_commit_duration_seconds_count 1\n")));
  }
  EXPECT_THAT(metrics.Text(), ::testing::HasSubstr("backup_db_writers 0\n"));
}

}  // namespace
}  // namespace backup::storage
