#include "storage/sqlite/write_queue.h"

#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "base/error.h"
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

  static int64_t CountIn(Database& database) {
    Query query = database.Prepare("SELECT count(*) FROM notes");
    EXPECT_OK(query.Step());
    return query.Int(0);
  }

  const TempFolder folder_;
};

TEST_F(WriteQueueTest, HasCommittedWhenItReturns) {
  WriteQueue queue(MakeDatabase());
  ASSERT_OK(queue.Run([](Database& database) { return Insert(database, 1); }));
  EXPECT_EQ(CountIn(*OpenDatabase(Database::Mode::kReadOnly)), 1);
}

TEST_F(WriteQueueTest, UndoesOnlyTheWorkThatFails) {
  WriteQueue queue(MakeDatabase());
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 16; ++t) {
      threads.emplace_back([&, fails = t % 2 == 0] {
        for (int i = 0; i < 10; ++i) {
          const absl::Status result = queue.Run([&](Database& database) -> absl::Status {
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
  // Set once a row was there that the writer saw and a reader did not: an earlier caller's, not yet
  // committed.
  std::atomic<bool> grouped = false;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&] {
      while (!grouped) {
        EXPECT_OK(queue.Run([&](Database& database) {
          if (CountIn(database) > CountIn(*reader)) grouped = true;
          return Insert(database, 1);
        }));
      }
    });
  }
  threads.clear();
  EXPECT_TRUE(grouped);
}

TEST_F(WriteQueueTest, HasCommittedWhenStartedWorkIsDone) {
  WriteQueue queue(MakeDatabase());
  std::promise<int64_t> rows;
  queue.Start(
      [&] {
        EXPECT_OK(queue.Run([](Database& database) { return Insert(database, 1); }));
        EXPECT_EQ(CountIn(*queue.OwnDatabase()), 1);
        EXPECT_EQ(CountIn(*OpenDatabase(Database::Mode::kReadOnly)), 0);
      },
      [&](const absl::Status& committed) {
        EXPECT_OK(committed);
        rows.set_value(CountIn(*OpenDatabase(Database::Mode::kReadOnly)));
      });
  EXPECT_EQ(rows.get_future().get(), 1);
  EXPECT_EQ(queue.OwnDatabase(), nullptr);
}

TEST_F(WriteQueueTest, TellsEveryCallerOfABatchWhoseTransactionWasLost) {
  WriteQueue queue(MakeDatabase());
  std::promise<void> started;
  std::promise<void> go_on;
  queue.Start(
      [&, wait = go_on.get_future().share()] {
        started.set_value();
        wait.wait();
      },
      [](const absl::Status&) {});
  started.get_future().wait();
  // These become one batch.
  std::vector<absl::Status> results(3);
  std::promise<void> done;
  const auto start = [&](size_t i, const WriteQueue::Work& work) {
    queue.Start([&queue, work] { queue.Run(work).IgnoreError(); },
                [&, i](const absl::Status& committed) {
                  results[i] = committed;
                  if (i == 2) done.set_value();
                });
  };
  start(0, [](Database& database) { return Insert(database, 1); });
  start(1, [](Database& database) {
    EXPECT_OK(database.Execute("ROLLBACK"));  // As some errors of the disk do.
    return absl::DataLossError("lost");
  });
  start(2, [](Database& database) { return Insert(database, 1); });
  go_on.set_value();
  done.get_future().wait();
  EXPECT_THAT(results, ::testing::Each(StatusIs(absl::StatusCode::kDataLoss)));
  EXPECT_EQ(CountIn(*OpenDatabase(Database::Mode::kReadOnly)), 0);
  EXPECT_OK(queue.Run([](Database& database) { return Insert(database, 1); }));
}

TEST_F(WriteQueueTest, TurnsCallersAwayWhenTooManyWait) {
  WriteQueue queue(MakeDatabase(), 0);
  EXPECT_THAT(queue.Run([](Database&) { return absl::OkStatus(); }),
              HasReason(Reason::kOverloaded));
  absl::Status result;
  queue.Start([] { FAIL() << "work that was turned away"; },
              [&](const absl::Status& committed) { result = committed; });
  EXPECT_THAT(result, HasReason(Reason::kOverloaded));
}

TEST_F(WriteQueueTest, SaysThatTheDiskIsFullAndGoesOnWhenThereIsSpaceAgain) {
  std::unique_ptr<Database> database = MakeDatabase();
  ASSERT_OK(database->Execute("PRAGMA max_page_count = 20"));
  WriteQueue queue(std::move(database));
  EXPECT_THAT(queue.Run([](Database& writer) { return Insert(writer, kManyPages); }),
              HasReason(Reason::kStorageFull));
  EXPECT_EQ(CountIn(*OpenDatabase(Database::Mode::kReadOnly)), 0);
  EXPECT_OK(queue.Run([](Database& writer) { return Insert(writer, 1); }));
  EXPECT_EQ(CountIn(*OpenDatabase(Database::Mode::kReadOnly)), 1);
}

TEST_F(WriteQueueTest, SaysThatTheDatabaseIsBusy) {
  std::unique_ptr<Database> database = MakeDatabase();
  ASSERT_OK(database->Execute("PRAGMA busy_timeout = 0"));
  const std::unique_ptr<Database> other = OpenDatabase();
  ASSERT_OK(other->Execute("BEGIN IMMEDIATE"));
  WriteQueue queue(std::move(database));
  EXPECT_THAT(queue.Run([](Database& writer) { return Insert(writer, 1); }),
              HasReason(Reason::kBackendDown));
  ASSERT_OK(other->Execute("ROLLBACK"));
  EXPECT_OK(queue.Run([](Database& writer) { return Insert(writer, 1); }));
}

TEST_F(WriteQueueTest, TellsOfAStatementThatCannotBePrepared) {
  WriteQueue queue(MakeDatabase());
  EXPECT_THAT(queue.Run([](Database& writer) {
    return writer.Prepare("SELECT * FROM nothing").Bind(1).Run();
  }),
              HasReason(Reason::kStorageIo));
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
        [&] { EXPECT_OK(queue.Run([](Database& database) { return Insert(database, 1); })); });
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
