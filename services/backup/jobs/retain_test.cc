#include "services/backup/jobs/retain.h"

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/boot_clock.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/jobs/runner.h"
#include "services/backup/testing/log_capture.h"
#include "storage/memory/memory_catalog.h"
#include "storage/testing/ids.h"

namespace backup::jobs {
namespace {

// More versions than one step looks at, and not so many as two do.
constexpr int kTwoSteps = 10'000;

using storage::Outcome;
using storage::RetentionPolicy;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// Is killed at the n-th transaction from now on: this one and all later ones are lost, with the
// answers to them.
class KilledCatalog final : public storage::Catalog {
 public:
  explicit KilledCatalog(storage::Catalog& catalog) : catalog_(catalog) {}
  void KillAt(int transactions, bool is_durable) {
    left_ = transactions;
    is_durable_ = is_durable;
  }
  bool is_alive() const { return left_ > 0; }

  // Is called once, before the next transaction.
  void BeforeNext(std::function<void()> call) { before_next_ = std::move(call); }

  void Submit(Work work, Done done) override {
    if (before_next_) std::exchange(before_next_, nullptr)();
    const bool is_last = --left_ == 0;
    if (left_ < 0 || (is_last && !is_durable_))
      return done(MakeError(Reason::kBackendDown, "killed"));
    catalog_.Submit(
        std::move(work),
        is_last ? [done](const absl::Status&) { done(MakeError(Reason::kBackendDown, "killed")); }
                : done);
  }

 private:
  absl::Status ReadSnapshot(const std::function<absl::Status(storage::Snapshot&)>& read) override {
    return catalog_.Read(read);
  }

  storage::Catalog& catalog_;
  std::function<void()> before_next_;
  int left_ = 1'000'000;
  bool is_durable_ = false;
};

class RetainTest : public ::testing::Test {
 protected:
  RetainTest() {
    EXPECT_OK(memory_.Run([&](storage::Transaction& transaction) {
      return transaction
          .RegisterClient("client", client_, storage::DuplicateNames::kReject, clock_.Now())
          .status();
    }));
  }
  int64_t Add(const std::string& name, std::optional<Outcome> outcome = Outcome::kVerified,
              std::optional<absl::Time> retain_until = std::nullopt) {
    return memory_
        .Run([&](storage::Transaction& transaction) {
          return AddTo(transaction, name, outcome, retain_until);
        })
        .value();
  }
  absl::StatusOr<int64_t> AddTo(storage::Transaction& transaction, const std::string& name,
                                std::optional<Outcome> outcome,
                                std::optional<absl::Time> retain_until = std::nullopt) {
    storage::Version version;
    version.client_id = client_;
    version.file_name = name;
    version.version_id = *transaction.ReserveVersionIds(1);
    version.sha256 = std::string(32, 's');
    version.receive_time = clock_.Now();
    version.retain_until = retain_until;
    EXPECT_OK(transaction.AddVersion(version, std::string("bytes"), {}));
    if (outcome) {
      EXPECT_OK(transaction.SettleVersion({client_, name, std::nullopt, *outcome}, clock_.Now()));
    }
    return version.version_id;
  }
  // A verified version that is kept whole, sealed by a key of its own.
  int64_t AddSealed(const std::string& name) {
    storage::Version version;
    version.client_id = client_;
    version.file_name = name;
    version.form = storage::StorageForm::kSealed;
    version.receive_time = clock_.Now();
    EXPECT_OK(memory_.Run([&](storage::Transaction& transaction) -> absl::Status {
      ASSIGN_OR_RETURN(version.version_id, transaction.ReserveVersionIds(1));
      RETURN_IF_ERROR(transaction.AddVersion(version, std::string("sealed"), {}).status());
      return transaction
          .SettleVersion({client_, name, std::nullopt, Outcome::kVerified}, clock_.Now())
          .status();
    }));
    return version.version_id;
  }
  // A verified version of one chunk, which no other has.
  int64_t AddChunk(const std::string& name, uint8_t chunk) {
    storage::NewChunks small;
    small.inlined = {{{storage::IdOf<ChunkId>(chunk), 5},
                      storage::StorageForm::kPlain,
                      storage::ChunkCoding::kRaw,
                      "bytes"}};
    small.recipe = {small.inlined[0].ref};
    storage::Version version;
    version.client_id = client_;
    version.file_name = name;
    version.receive_time = clock_.Now();
    EXPECT_OK(memory_.Run([&](storage::Transaction& transaction) -> absl::Status {
      ASSIGN_OR_RETURN(version.version_id, transaction.ReserveVersionIds(1));
      RETURN_IF_ERROR(transaction.AddVersion(version, small, {}).status());
      return transaction
          .SettleVersion({client_, name, std::nullopt, Outcome::kVerified}, clock_.Now())
          .status();
    }));
    return version.version_id;
  }
  void MarkDamaged(uint8_t chunk) {
    EXPECT_OK(memory_.Run([&](storage::Transaction& transaction) -> absl::Status {
      ASSIGN_OR_RETURN(const auto chunks, transaction.ListInlineChunks(0, 100));
      for (const storage::StoredChunk& each : chunks) {
        if (each.ref.id == storage::IdOf<ChunkId>(chunk))
          return transaction.MarkDamaged(each.number, 0);
      }
      return absl::NotFoundError("no such chunk");
    }));
  }
  void SetPolicy(const RetentionPolicy& policy) {
    EXPECT_OK(memory_.Run(
        [&](storage::Transaction& transaction) { return transaction.SetPolicy(policy); }));
  }
  void Pass(absl::Duration time) {
    clock_.Advance(time);
    boot_clock_.Advance(time);
  }
  std::set<int64_t> Versions() {
    std::set<int64_t> ids;
    std::optional<storage::AgesPlace> place = storage::AgesPlace();
    while (place) {
      const storage::AgesPage page =
          memory_.Read([&](storage::Snapshot& snapshot) { return snapshot.ListAges(*place, 1000); })
              .value();
      for (const storage::FileAges& file : page.files)
        for (const storage::VersionAge& age : file.versions) ids.insert(age.version_id);
      place = page.next;
    }
    return ids;
  }
  storage::JobState State() {
    return memory_.Read([](storage::Snapshot& snapshot) { return snapshot.ListJobs(); })
        .value()
        .at(0);
  }
  // A run of a new process.
  void Run() {
    retention::ClockWatch watch(catalog_, clock_, boot_clock_);
    Retain retain(catalog_, watch, clock_, {{absl::UTCTimeZone(), absl::Hours(168)}, 0});
    JobRun(retain, {absl::Hours(1), 1'000'000}, catalog_, clock_, {}).Run(std::stop_token());
  }

  const ClientId client_ = storage::IdOf<ClientId>(1);
  FakeClock clock_{absl::FromUnixSeconds(1'700'000'000)};
  FakeBootClock boot_clock_;
  storage::MemoryCatalog memory_;
  KilledCatalog catalog_{memory_};
};

TEST_F(RetainTest, DeletesWhatNoPolicyKeeps) {
  SetPolicy({{}, {.keep_last = 1}});
  SetPolicy({{client_, "b"}, {.keep_last = 2}});
  Add("a");
  const int64_t a = Add("a");
  Add("b");
  const int64_t b1 = Add("b");
  const int64_t b2 = Add("b");
  Run();
  EXPECT_THAT(Versions(), ElementsAre(a, b1, b2));
  EXPECT_EQ(State().total_count, 2);
  EXPECT_EQ(State().last_error, "");
}

// What cannot be opened now may be what it would keep the file's other versions for.
TEST_F(RetainTest, DeletesNothingWhileAKeyIsMissing) {
  SetPolicy({{}, {.keep_last = 1}});
  const int64_t older = Add("a");
  const int64_t newer = Add("a");
  retention::ClockWatch watch(catalog_, clock_, boot_clock_);
  bool is_missing = true;
  Retain retain(
      catalog_, watch, clock_, {{absl::UTCTimeZone(), absl::Hours(168)}, 0}, [] {},
      [&] {
        return is_missing ? MakeError(Reason::kKeyMissing, "a pack cannot be opened")
                          : absl::OkStatus();
      });
  const auto run = [&] {
    JobRun(retain, {absl::Hours(1), 1'000'000}, catalog_, clock_, {}).Run(std::stop_token());
  };
  run();
  EXPECT_THAT(Versions(), ElementsAre(older, newer));
  EXPECT_THAT(State().last_error, HasSubstr("a pack cannot be opened"));
  is_missing = false;
  run();
  EXPECT_THAT(Versions(), ElementsAre(newer));
}

// What is kept whole has a key of its own, of which no row tells which generation has sealed it.
TEST_F(RetainTest, DeletesNothingForAVersionThatCannotBeOpened) {
  SetPolicy({{}, {.keep_last = 1}});
  const int64_t a1 = AddSealed("a");
  const int64_t a2 = AddSealed("a");
  const int64_t a3 = AddSealed("a");
  AddSealed("b");
  const int64_t b2 = AddSealed("b");
  Add("c");
  const int64_t c2 = Add("c");
  retention::ClockWatch watch(catalog_, clock_, boot_clock_);
  std::vector<int64_t> checked;
  absl::Status of_a = MakeError(Reason::kKeyMissing, "it is sealed by key generation 7");
  Retain retain(
      catalog_, watch, clock_, {{absl::UTCTimeZone(), absl::Hours(168)}, 0}, [] {},
      [] { return absl::OkStatus(); },
      [&](int64_t version) {
        checked.push_back(version);
        return version == a3 ? of_a : absl::OkStatus();
      });
  const auto run = [&] {
    JobRun(retain, {absl::Hours(1), 1'000'000}, catalog_, clock_, {}).Run(std::stop_token());
  };
  run();
  EXPECT_THAT(Versions(), ElementsAre(a1, a2, a3, b2, c2));
  EXPECT_THAT(checked, ElementsAre(a3, b2)) << "once for a file, and not for what is plain";
  EXPECT_THAT(State().last_error, HasSubstr("2 versions that were to go stay"));
  EXPECT_THAT(State().last_error, HasSubstr("it is sealed by key generation 7"));
  EXPECT_EQ(State().cursor, "");
  // A store that is away says nothing of it.
  of_a = MakeError(Reason::kBackendDown, "the store is away");
  run();
  EXPECT_THAT(Versions(), ElementsAre(a1, a2, a3, b2, c2));
  EXPECT_THAT(State().last_error, HasSubstr("the store is away"));
  of_a = absl::OkStatus();
  run();
  EXPECT_THAT(Versions(), ElementsAre(a3, b2, c2));
  EXPECT_EQ(State().last_error, "");
}

// What came since the start is sealed by what is there, and each check reads a blob.
TEST_F(RetainTest, OpensNothingThatCameLaterThanItsKeys) {
  SetPolicy({{}, {.keep_last = 1}});
  AddSealed("a");
  const int64_t a2 = AddSealed("a");
  AddSealed("b");
  const int64_t b2 = AddSealed("b");
  retention::ClockWatch watch(catalog_, clock_, boot_clock_);
  std::vector<int64_t> checked;
  Retain retain(
      catalog_, watch, clock_, {{absl::UTCTimeZone(), absl::Hours(168)}, 0, false, b2}, [] {},
      [] { return absl::OkStatus(); },
      [&](int64_t version) {
        checked.push_back(version);
        return absl::OkStatus();
      });
  ASSERT_OK(retain.Step("", 1, std::stop_token()));
  EXPECT_THAT(Versions(), ElementsAre(a2, b2));
  EXPECT_THAT(checked, ElementsAre(a2));
}

TEST_F(RetainTest, OpensNoFurtherFileOnceItIsToldToStop) {
  SetPolicy({{}, {.keep_last = 1}});
  for (int i = 0; i < 100; ++i) {
    AddSealed(absl::StrCat("file ", i));
    AddSealed(absl::StrCat("file ", i));
  }
  retention::ClockWatch watch(catalog_, clock_, boot_clock_);
  std::stop_source stop;
  int checked = 0;
  Retain retain(
      catalog_, watch, clock_, {{absl::UTCTimeZone(), absl::Hours(168)}, 0}, [] {},
      [] { return absl::OkStatus(); },
      [&](int64_t) {
        ++checked;
        stop.request_stop();
        return absl::OkStatus();
      });
  ASSERT_OK(retain.Step("", 1, stop.get_token()));
  EXPECT_EQ(checked, 1);
  EXPECT_EQ(Versions().size(), 200u);
}

TEST_F(RetainTest, DeletesNoVerifiedVersionWithoutAPolicyButWhatNobodyConfirmed) {
  const int64_t old = Add("a");
  const int64_t newest = Add("a");
  Add("b", std::nullopt);
  Add("b", Outcome::kAbandoned);
  Pass(absl::Hours(167));
  const int64_t young = Add("b", std::nullopt);
  Pass(absl::Hours(1));
  Run();
  EXPECT_THAT(Versions(), ElementsAre(old, newest, young));
}

TEST_F(RetainTest, LeavesWhatWasConfirmedWhileItWasJudged) {
  const int64_t old = Add("a");
  const int64_t late = Add("a", std::nullopt);
  Pass(absl::Hours(168));
  retention::ClockWatch watch(catalog_, clock_, boot_clock_);
  ASSERT_OK(watch.Check());
  Retain retain(catalog_, watch, clock_, {{absl::UTCTimeZone(), absl::Hours(168)}, 0});
  int64_t newest = 0;
  catalog_.BeforeNext([&] {
    EXPECT_OK(memory_.Run([&](storage::Transaction& transaction) {
      return transaction.SettleVersion({client_, "a", std::nullopt, Outcome::kVerified},
                                       clock_.Now());
    }));
    newest = Add("a");
  });
  EXPECT_EQ(retain.Step("", 1, std::stop_token())->count, 0);
  EXPECT_THAT(Versions(), ElementsAre(old, late, newest));
}

// An import brings versions with the times that they had elsewhere.
TEST_F(RetainTest, LeavesWhatAnImportBringsJustNow) {
  SetPolicy({{}, {.keep_last = 1}});
  const auto import = [&](bool is_confirmed) {
    storage::Version version;
    version.client_id = client_;
    version.file_name = "a";
    version.sha256 = std::string(32, 's');
    version.receive_time = clock_.Now() - absl::Hours(1000);
    version.arrive_time = clock_.Now();
    EXPECT_OK(memory_.Run([&](storage::Transaction& transaction) -> absl::Status {
      ASSIGN_OR_RETURN(version.version_id, transaction.ReserveVersionIds(1));
      RETURN_IF_ERROR(transaction.AddVersion(version, std::string("bytes"), {}).status());
      if (!is_confirmed) return absl::OkStatus();
      return transaction
          .SettleVersion({client_, "a", std::nullopt, Outcome::kVerified}, clock_.Now())
          .status();
    }));
    return version.version_id;
  };
  const int64_t first = import(true);
  const int64_t newest = import(true);
  const int64_t unconfirmed = import(false);
  Run();
  EXPECT_THAT(Versions(), ElementsAre(first, newest, unconfirmed));
  Pass(retention::kArrivalGrace);
  Run();
  EXPECT_THAT(Versions(), ElementsAre(newest));
}

// What was the newest version that can be read may be none by then.
TEST_F(RetainTest, LeavesEverythingOnceMoreIsDamagedThanWhenItWasJudged) {
  SetPolicy({{}, {.keep_last = 1}});
  Add("a");
  AddChunk("a", 1);
  retention::ClockWatch watch(catalog_, clock_, boot_clock_);
  ASSERT_OK(watch.Check());
  Retain retain(catalog_, watch, clock_, {{absl::UTCTimeZone(), absl::Hours(168)}, 0});
  catalog_.BeforeNext([&] { MarkDamaged(1); });
  EXPECT_EQ(retain.Step("", 1, std::stop_token())->count, 0);
  EXPECT_EQ(Versions().size(), 2u);
}

// As many are damaged as before: one more, and one less.
TEST_F(RetainTest, LeavesEverythingOnceSomethingIsDamagedThoughOtherDamageIsGone) {
  SetPolicy({{}, {.keep_last = 1}});
  Add("a");
  Add("a");
  AddChunk("b", 1);
  const int64_t purged = AddChunk("c", 2);
  MarkDamaged(2);
  retention::ClockWatch watch(catalog_, clock_, boot_clock_);
  ASSERT_OK(watch.Check());
  Retain retain(catalog_, watch, clock_, {{absl::UTCTimeZone(), absl::Hours(168)}, 0});
  catalog_.BeforeNext([&] {
    MarkDamaged(1);
    EXPECT_OK(memory_.Run([&](storage::Transaction& transaction) {
      return transaction.DeleteVersions({purged}, {clock_.Now(), /*for_good=*/true});
    }));
  });
  const testing::LogCapture log;
  EXPECT_EQ(retain.Step("", 1, std::stop_token())->count, 0);
  EXPECT_EQ(Versions().size(), 3u);
  EXPECT_THAT(log.text(), HasSubstr("1 versions that were to go stay until the next run"));
  EXPECT_EQ(retain.Step("", 1, std::stop_token())->count, 1);
}

// What is found damaged in the middle of a file concerns nothing that is begun with later.
TEST_F(RetainTest, GoesOnWithOtherFilesAfterDamageInTheMiddleOfALongOne) {
  SetPolicy({{}, {.keep_last = 1}});
  EXPECT_OK(memory_.Run([&](storage::Transaction& transaction) {
    for (int i = 0; i < kTwoSteps; ++i) {
      EXPECT_OK(AddTo(transaction, "a", Outcome::kVerified));
    }
    return absl::OkStatus();
  }));
  Add("b");
  Add("b");
  AddChunk("c", 1);
  retention::ClockWatch watch(catalog_, clock_, boot_clock_);
  ASSERT_OK(watch.Check());
  Retain retain(catalog_, watch, clock_, {{absl::UTCTimeZone(), absl::Hours(168)}, 0});
  const testing::LogCapture log;
  const absl::StatusOr<Job::Progress> first = retain.Step("", 1, std::stop_token());
  ASSERT_OK(first);
  EXPECT_GT(first->count, kTwoSteps / 2);
  MarkDamaged(1);
  const absl::StatusOr<Job::Progress> second = retain.Step(first->cursor, 1, std::stop_token());
  ASSERT_OK(second);
  EXPECT_TRUE(second->is_done);
  EXPECT_EQ(second->count, 1);
  EXPECT_THAT(log.text(), HasSubstr(absl::StrCat(kTwoSteps - 1 - first->count,
                                                 " versions that were to go stay until")));
  Run();
  EXPECT_EQ(Versions().size(), 3u);
}

// The next walk comes to them again.
TEST_F(RetainTest, CountsNothingThatAWalkLeftWhichWasGivenUp) {
  SetPolicy({{}, {.keep_last = 1}});
  Add("a");
  Add("a");
  AddChunk("b", 1);
  retention::ClockWatch watch(catalog_, clock_, boot_clock_);
  ASSERT_OK(watch.Check());
  Retain retain(catalog_, watch, clock_, {{absl::UTCTimeZone(), absl::Hours(168)}, 0});
  std::stop_source stop;
  catalog_.BeforeNext([&] {
    MarkDamaged(1);
    stop.request_stop();
  });
  const testing::LogCapture log;
  EXPECT_FALSE(retain.Step("", 1, stop.get_token())->is_done);
  EXPECT_EQ(Versions().size(), 3u);
  EXPECT_TRUE(retain.Step("", 1, std::stop_token())->is_done);
  EXPECT_EQ(Versions().size(), 2u);
  EXPECT_THAT(log.text(), Not(HasSubstr("stay until the next run")));
}

TEST_F(RetainTest, LeavesWhatMustBeKept) {
  SetPolicy({{}, {.keep_last = 1}});
  const int64_t retained = Add("a", Outcome::kVerified, clock_.Now() + absl::Hours(48));
  const int64_t newest = Add("a");
  Pass(absl::Hours(47));
  Run();
  EXPECT_THAT(Versions(), ElementsAre(retained, newest));
  Pass(absl::Hours(1));
  Run();
  EXPECT_THAT(Versions(), ElementsAre(newest));
}

TEST_F(RetainTest, TellsOfBlobsThatAreNotNeededAnyMoreIfThereIsNoTrash) {
  SetPolicy({{}, {.keep_last = 1}});
  for (const bool for_good : {false, true}) {
    Add("a");
    Add("a");
    int told = 0;
    retention::ClockWatch watch(catalog_, clock_, boot_clock_);
    Retain retain(catalog_, watch, clock_, {{absl::UTCTimeZone(), absl::Hours(168)}, 0, for_good},
                  [&] { ++told; });
    ASSERT_OK(retain.Step("", 1, std::stop_token()));
    EXPECT_EQ(told, for_good ? 1 : 0);
    const storage::Counts counts =
        memory_.Read([](storage::Snapshot& snapshot) { return snapshot.Count(); }).value();
    EXPECT_EQ(counts.versions, 1);
    EXPECT_EQ(counts.trash_versions, 1);  // Of the first round.
    ASSERT_OK(retain.Step("", 1, std::stop_token()));
    EXPECT_EQ(told, for_good ? 1 : 0) << "nothing was to be deleted";
  }
}

TEST_F(RetainTest, DeletesNothingWhileTheTimeIsNotTrusted) {
  SetPolicy({{}, {.keep_last = 1}});
  Run();
  Add("a");
  Add("a");
  clock_.Advance(absl::Hours(2));
  Run();
  EXPECT_EQ(Versions().size(), 2u);
  EXPECT_THAT(State().last_error, HasSubstr("backupctl policy resume"));
  EXPECT_OK(retention::ClockWatch(catalog_, clock_, boot_clock_).Resume());
  Run();
  EXPECT_EQ(Versions().size(), 1u);
}

// Killed at each transaction, before or after it, again and again: in the end just what should be
// gone is gone, and nothing was counted twice.
TEST_F(RetainTest, GoesOnWhereItWasKilled) {
  SetPolicy({{}, {.keep_last = 3}});
  std::set<int64_t> kept;
  for (const char* name : {"a", "b", "c"}) {
    std::vector<int64_t> ids;
    for (int i = 0; i < 200; ++i) ids.push_back(Add(name));
    kept.insert(ids.end() - 3, ids.end());
  }
  int runs = 0;
  for (bool is_done = false; !is_done; ++runs) {
    ASSERT_LT(runs, 200);
    catalog_.KillAt(1 + runs / 2 % 7, runs % 2 == 0);
    Run();
    is_done = catalog_.is_alive();
    const std::set<int64_t> left = Versions();
    for (const int64_t id : kept) EXPECT_TRUE(left.contains(id));
  }
  EXPECT_GT(runs, 3);
  EXPECT_EQ(Versions(), kept);
}

TEST_F(RetainTest, BeginsAFileOfManyStepsAnewInAnotherProcess) {
  SetPolicy({{}, {.keep_last = 2}});
  EXPECT_OK(memory_.Run([&](storage::Transaction& transaction) {
    for (int i = 0; i < kTwoSteps; ++i) {
      EXPECT_OK(AddTo(transaction, "a", Outcome::kVerified));
    }
    return absl::OkStatus();
  }));
  retention::ClockWatch watch(catalog_, clock_, boot_clock_);
  Retain first(catalog_, watch, clock_, {});
  const absl::StatusOr<Job::Progress> progress = first.Step("", 1, std::stop_token());
  ASSERT_OK(progress);
  EXPECT_FALSE(progress->is_done);
  EXPECT_EQ(progress->cursor, "");
  EXPECT_GT(progress->count, kTwoSteps / 2);
  Run();
  EXPECT_EQ(Versions().size(), 2u);
}

}  // namespace
}  // namespace backup::jobs
