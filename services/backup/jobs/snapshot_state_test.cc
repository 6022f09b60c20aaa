#include "services/backup/jobs/snapshot_state.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/testing/status_matchers.h"
#include "content/snapshot_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/sqlite/sqlite_catalog.h"
#include "storage/testing/ids.h"
#include "storage/testing/memory_folder.h"

namespace backup::jobs {
namespace {

using storage::IdOf;
using storage::SnapshotFolder;
using testing::HasReason;
using testing::StatusIs;

class SnapshotStateTest : public ::testing::Test {
 protected:
  SnapshotStateTest() {
    EXPECT_OK(catalog_->Run([](storage::Transaction& transaction) -> absl::Status {
      RETURN_IF_ERROR(transaction
                          .RegisterClient("laptop", IdOf<ClientId>(1),
                                          storage::DuplicateNames::kReject, absl::UnixEpoch())
                          .status());
      return transaction
          .SetClientKey(IdOf<ClientId>(1), {"public", "a sealed session key", 128},
                        storage::Rekey::kPin, absl::UnixEpoch())
          .status();
    }));
    options_.folders = {folder_.path() + "/store", folder_.path() + "/elsewhere"};
    options_.part_of_time = 1;  // As fast as can be.
  }

  void Add(int64_t id, size_t size_bytes = 100) {
    ASSERT_OK(catalog_->Run([&](storage::Transaction& transaction) {
      storage::Version version;
      version.client_id = IdOf<ClientId>(1);
      version.file_name = absl::StrCat("file ", id);
      version.version_id = id;
      version.size_bytes = 5;
      version.sha256 = std::string(32, 's');
      return transaction.AddVersion(version, std::string(size_bytes, 'x'), {}).status();
    }));
  }
  void Open() { catalog_ = storage::SqliteCatalog::Open(folder_.path() + "/catalog.db").value(); }
  // No thread of it is left then.
  void Close() {
    snapshots_.reset();
    catalog_.reset();
  }
  void Remake() {
    snapshots_ = std::make_unique<StateSnapshots>(*catalog_, key_, clock_, options_);
  }
  StateSnapshots& snapshots() {
    if (snapshots_ == nullptr) Remake();
    return *snapshots_;
  }
  // Of a fresh directory in which the snapshot was put.
  absl::StatusOr<std::unique_ptr<storage::SqliteCatalog>> Restore(const std::string& path) {
    const std::string to = absl::StrCat(folder_.path(), "/restored", ++restored_, ".db");
    ASSIGN_OR_RETURN(const auto file, storage::OpenFile(path));
    StringSink sink;
    RETURN_IF_ERROR(content::ReadSnapshot(*file, key_, sink));
    std::ofstream(to, std::ios::binary) << sink.bytes();
    ASSIGN_OR_RETURN(auto catalog, storage::SqliteCatalog::Open(to));
    RETURN_IF_ERROR(catalog->Check([] {}, {}));
    return catalog;
  }
  static int64_t VersionsIn(storage::Catalog& catalog) {
    return catalog.Read([](storage::Snapshot& snapshot) { return snapshot.Count(); })->versions;
  }
  size_t CountIn(size_t folder) { return SnapshotFolder(options_.folders[folder]).List()->size(); }

  const storage::MemoryFolder folder_;
  std::unique_ptr<storage::SqliteCatalog> catalog_ =
      storage::SqliteCatalog::Open(folder_.path() + "/catalog.db").value();
  const crypto::MasterKey key_{std::string(32, 'k')};
  SystemClock clock_;
  StateSnapshots::Options options_;
  std::unique_ptr<StateSnapshots> snapshots_;
  int restored_ = 0;
};

TEST_F(SnapshotStateTest, HoldsTheCatalogInEachFolder) {
  Add(1);
  const auto taken = snapshots().Take({});
  ASSERT_OK(taken);
  ASSERT_EQ(taken->paths.size(), 2u);
  for (const std::string& path : taken->paths) {
    const auto catalog = Restore(path);
    ASSERT_OK(catalog);
    EXPECT_EQ(VersionsIn(**catalog), 1);
  }
  for (const std::string& folder : options_.folders) {
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1)
        << "nothing is left over";
  }
}

TEST_F(SnapshotStateTest, HasNoSecretInPlain) {
  const auto taken = snapshots().Take({});
  ASSERT_OK(taken);
  std::ifstream file(taken->paths[0], std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  EXPECT_FALSE(absl::StrContains(bytes, "session key"));
  EXPECT_FALSE(absl::StrContains(bytes, "laptop"));
}

TEST_F(SnapshotStateTest, IsTakenOnlyIfSomethingChanged) {
  SnapshotState job(snapshots(), absl::Hours(1));
  const auto run = [&] { return job.Step("", 1, {})->count; };
  EXPECT_EQ(run(), 1);
  EXPECT_EQ(run(), 0);
  ASSERT_OK(catalog_->Run([](storage::Transaction& transaction) {
    storage::JobState state;
    state.name = "snapshot";
    return transaction.SaveJob(state);
  }));
  ASSERT_OK(catalog_->Run([](storage::Transaction& transaction) {
    storage::ClockNote note;
    note.newest_time = absl::UnixEpoch();
    return transaction.SaveClockNote(note);
  }));
  EXPECT_EQ(run(), 0);
  Add(1);
  EXPECT_EQ(run(), 1);
  EXPECT_EQ(CountIn(0), 2u);
  // Of another process, which does not know what changed: not sooner than after the interval.
  Remake();
  EXPECT_FALSE(*snapshots().TakeIfChanged(absl::Hours(1), {}));
  EXPECT_TRUE(*snapshots().TakeIfChanged(absl::ZeroDuration(), {}));
}

TEST_F(SnapshotStateTest, GoesToAFolderThatWasAwayOnceItIsBack) {
  const std::string elsewhere = options_.folders[1];
  std::ofstream(elsewhere) << "no folder";
  EXPECT_FALSE(snapshots().Take({}).ok());
  EXPECT_EQ(CountIn(0), 1u);
  std::filesystem::remove(elsewhere);
  EXPECT_FALSE(*snapshots().TakeIfChanged(absl::Hours(1), {})) << "nothing changed";
  EXPECT_EQ(CountIn(1), 1u);
}

TEST_F(SnapshotStateTest, KeepsTheNewestEightOfADay) {
  for (int i = 1; i <= 10; ++i) ASSERT_OK(snapshots().Take({}));
  for (const size_t folder : {0, 1}) {
    const auto entries = SnapshotFolder(options_.folders[folder]).List().value();
    ASSERT_GE(entries.size(), 8u);
    EXPECT_LE(entries.size(), 9u) << "midnight may pass";
    EXPECT_EQ(entries.front().number, 10);
  }
}

TEST_F(SnapshotStateTest, OldOnesGoThoughAnotherFolderCannotBeWritten) {
  std::ofstream(options_.folders[1]) << "no folder";
  for (int i = 1; i <= 10; ++i) EXPECT_FALSE(snapshots().Take({}).ok());
  EXPECT_LE(CountIn(0), 9u) << "midnight may pass";
}

TEST_F(SnapshotStateTest, WhoWaitsForTheOneBeforeEndsWhenToldTo) {
  std::promise<void> begun;
  std::promise<void> go_on;
  options_.listener = [&](absl::string_view step) {
    if (step != "catalog is to be copied") return;
    begun.set_value();
    go_on.get_future().wait();
  };
  Remake();
  std::thread first([&] { EXPECT_OK(snapshots_->Take({})); });
  begun.get_future().wait();
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THAT(snapshots_->Take(stop.get_token()).status(), StatusIs(absl::StatusCode::kCancelled));
  go_on.set_value();
  first.join();
}

TEST_F(SnapshotStateTest, NoneIsPutThereThatTheCheckIsAgainst) {
  ASSERT_OK(snapshots().Take({}));
  options_.check = [] { return absl::FailedPreconditionError("no more"); };
  Remake();
  EXPECT_THAT(snapshots_->Take({}), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(CountIn(0), 1u);
  EXPECT_EQ(CountIn(1), 1u);
}

TEST_F(SnapshotStateTest, NumbersGoOnAboveThoseOfEachFolder) {
  int64_t number = 500;
  for (const char* const store : {"", "0011223344556677"}) {
    StringSource bytes("of a data directory that is lost");
    ASSERT_OK(SnapshotFolder(options_.folders[1]).Put(number, absl::UnixEpoch(), store, bytes));
    EXPECT_EQ(snapshots().Take({})->entry.number, number + 1);
    number += 500;
  }
}

TEST_F(SnapshotStateTest, LeavesThoseOfAnotherStoreInTheSameFolderAlone) {
  const auto theirs = storage::SqliteCatalog::Open(folder_.path() + "/theirs.db").value();
  StateSnapshots::Options options = options_;
  options.folders[0] = folder_.path() + "/their store";
  StateSnapshots of_theirs(*theirs, key_, clock_, options);
  const auto taken = of_theirs.Take({});
  ASSERT_OK(taken);
  ASSERT_OK(of_theirs.Take({}));
  for (int i = 0; i < SnapshotFolder::kKept + 2; ++i) ASSERT_OK(snapshots().Take({}));
  const auto entries = SnapshotFolder(options_.folders[1]).List();
  ASSERT_OK(entries);
  EXPECT_EQ(entries->size(), SnapshotFolder::kKept + 2u);
  EXPECT_THAT(*entries, ::testing::Contains(taken->entry));
  const auto ours = snapshots().Take({});
  ASSERT_OK(ours);
  EXPECT_NE(ours->entry.store, taken->entry.store);
  // It is a store's own for as long as there is its catalog.
  Remake();
  EXPECT_EQ(snapshots().Take({})->entry.store, ours->entry.store);
}

TEST_F(SnapshotStateTest, IsNotTakenOfADamagedCatalogWhoseOldOnesStay) {
  ASSERT_OK(snapshots().Take({}));
  for (int64_t id = 1; id <= 100; ++id) Add(id, 20'000);
  // Without the log, so that the damage is what is read.
  const std::string path = folder_.path() + "/damaged.db";
  ASSERT_OK(catalog_->CopyTo(path, [] {}, {}));
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(100 * 4096).write(std::string(3 * 4096, '\x7f').data(), 3 * 4096);
  }
  const auto damaged = storage::SqliteCatalog::Open(path);
  ASSERT_OK(damaged);
  StateSnapshots of_damaged(**damaged, key_, clock_, options_);
  EXPECT_THAT(of_damaged.Take({}).status(), HasReason(Reason::kStateCorrupt));
  EXPECT_THAT(of_damaged.TakeIfChanged(absl::Hours(1), {}).status(),
              HasReason(Reason::kStateCorrupt));
  EXPECT_EQ(CountIn(0), 1u);
}

TEST_F(SnapshotStateTest, EndsSoonWhenToldToAndIsNoFailure) {
  std::stop_source stop;
  stop.request_stop();
  SnapshotState job(snapshots(), absl::Hours(1));
  const auto step = job.Step("", 1, stop.get_token());
  ASSERT_OK(step);
  EXPECT_FALSE(step->is_done);
  EXPECT_EQ(CountIn(0), 0u);
}

TEST_F(SnapshotStateTest, EachOneTakenWhileManyWriteIsOfOneMoment) {
  constexpr int kWriters = 64;
  std::atomic<bool> stop = false;
  std::atomic<int64_t> next = 1;
  std::vector<std::thread> writers;
  for (int i = 0; i < kWriters; ++i) {
    writers.emplace_back([&] {
      while (!stop) Add(next++, 2000);
    });
  }
  std::vector<std::string> paths;
  for (int i = 0; i < 3; ++i) {
    const int64_t before = next.load();
    while (next.load() < before + kWriters) std::this_thread::yield();
    const auto taken = snapshots().Take({});
    EXPECT_OK(taken);
    if (taken.ok()) paths.push_back(taken->paths[0]);
  }
  stop = true;
  for (std::thread& writer : writers) writer.join();
  int64_t versions = 0;
  for (const std::string& path : paths) {
    const auto catalog = Restore(path);
    ASSERT_OK(catalog);
    const auto counts = (*catalog)->Read([](storage::Snapshot& s) { return s.Count(); });
    const auto scanned =
        (*catalog)->Read([](storage::Snapshot& s) { return s.ScanVersions(0, 1 << 20); });
    ASSERT_OK(scanned);
    EXPECT_EQ(std::ssize(*scanned), counts->versions);
    EXPECT_GT(counts->versions, versions);
    versions = counts->versions;
  }
}

// Each step that the listener hears is one after which the process is killed.
TEST_F(SnapshotStateTest, SurvivesAKillAtEachStep) {
  for (int i = 0; i < 8; ++i) ASSERT_OK(snapshots().Take({}));
  std::vector<std::string> steps;
  options_.listener = [&](absl::string_view step) { steps.emplace_back(step); };
  Remake();
  ASSERT_OK(snapshots().Take({}));
  ASSERT_GT(steps.size(), 10u);
  EXPECT_EQ(steps.back(), "snapshot is to be removed");
  const SnapshotFolder store(options_.folders[0]);
  for (size_t at = 0; at < steps.size(); ++at) {
    SCOPED_TRACE(steps[at]);
    const int64_t before = store.List()->front().number;
    Close();
    const pid_t child = ::fork();
    if (child == 0) {
      size_t heard = 0;
      options_.listener = [&](absl::string_view) {
        if (heard++ == at) ::_exit(99);
      };
      Open();
      snapshots().Take({}).IgnoreError();
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_EQ(WEXITSTATUS(status), 99);
    options_.listener = [](absl::string_view) {};
    Open();
    const auto listed = store.List();
    ASSERT_OK(listed);
    for (const auto& entry : *listed) EXPECT_OK(Restore(store.PathOf(entry)));
    ASSERT_OK(snapshots().Take({}));
    EXPECT_GT(store.List()->front().number, before);
    EXPECT_EQ(CountIn(0), CountIn(1));
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(store.path()), {}),
              std::ssize(store.List().value()))
        << "what the kill left is gone";
  }
}

}  // namespace
}  // namespace backup::jobs
