#include "services/backup/handlers/growth.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/testing/memory_service.h"
#include "storage/memory/memory_catalog.h"

namespace backup::handlers {
namespace {

using storage::SizeNote;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::IsOkAndHolds;
using ::testing::SizeIs;

constexpr int64_t kMib = 1 << 20;
constexpr absl::Duration kDay = absl::Hours(24);

absl::Time At(absl::Duration since) { return absl::FromUnixSeconds(1'700'000'000) + since; }

// One every six hours, of a store that takes `per_day` more each day, and what came twice that.
std::vector<SizeNote> Steady(absl::Duration age, int64_t per_day) {
  std::vector<SizeNote> notes;
  for (absl::Duration since; since <= age; since += kNoteInterval) {
    const auto bytes = static_cast<int64_t>(absl::FDivDuration(since, kDay) * per_day);
    notes.push_back({At(since), bytes, 2 * bytes});
  }
  return notes;
}

TEST(Growth, IsTheSameOverAllWindowsIfItIsSteady) {
  const std::vector<SizeNote> notes = Steady(31 * kDay, kMib);
  const std::vector<Growth> growth = MeasureGrowth(notes, notes.back());
  ASSERT_THAT(growth, SizeIs(3));
  for (size_t i = 0; i < growth.size(); ++i) {
    EXPECT_EQ(growth[i].window, kGrowthWindows[i]);
    EXPECT_EQ(growth[i].period, kGrowthWindows[i]);
    EXPECT_EQ(growth[i].disk_bytes_per_day, kMib);
    EXPECT_EQ(growth[i].stored_bytes_per_day, 2 * kMib);
  }
  EXPECT_EQ(TimeUntilFull(notes, notes.back(), 90 * kMib), 90 * kDay);
}

TEST(Growth, IsNotToldOfLessThanADay) {
  EXPECT_THAT(MeasureGrowth({}, {At(40 * kDay), 1, 1}), IsEmpty());
  EXPECT_THAT(MeasureGrowth({{At({}), 0, 0}}, {At(kDay - absl::Seconds(1)), kMib, kMib}),
              IsEmpty());
  EXPECT_THAT(MeasureGrowth({{At({}), 0, 0}}, {At(kDay), kMib, kMib}), SizeIs(3));
}

TEST(Growth, OfAYoungStoreSaysOverWhichTimeItIs) {
  const std::vector<SizeNote> notes = Steady(3 * kDay, kMib);
  const std::vector<Growth> growth = MeasureGrowth(notes, notes.back());
  ASSERT_THAT(growth, SizeIs(3));
  EXPECT_EQ(growth[0].period, kDay);
  EXPECT_EQ(growth[1].period, 3 * kDay);
  EXPECT_EQ(growth[2].period, 3 * kDay);
  EXPECT_EQ(growth[2].disk_bytes_per_day, kMib);
}

TEST(Growth, CountsTheTimeInWhichNothingWasNoted) {
  const std::vector<Growth> growth =
      MeasureGrowth({{At({}), 0, 0}, {At(10 * kDay), 50, 50}}, {At(14 * kDay), 50 + 4 * kMib, 50});
  EXPECT_EQ(growth[0].period, 4 * kDay);
  EXPECT_EQ(growth[0].disk_bytes_per_day, kMib);
  EXPECT_EQ(growth[1].period, 14 * kDay);
}

TEST(Growth, MayBeLessThanNothingAndThenTheDiskIsNeverFull) {
  const std::vector<SizeNote> notes = {{At({}), 8 * kMib, 0}, {At(kDay), 7 * kMib, 0}};
  const SizeNote now = {At(8 * kDay), 0, kMib};
  EXPECT_EQ(MeasureGrowth(notes, now)[1].disk_bytes_per_day, -kMib);
  EXPECT_EQ(TimeUntilFull(notes, now, kMib), std::nullopt);
}

TEST(Growth, OfTheFirstDayDoesNotSayThatTheDiskIsSoonFull) {
  // All came on the first day, and then a byte a day.
  std::vector<SizeNote> notes = {{At({}), 0, 0}};
  constexpr int64_t kRoom = 365;
  for (absl::Duration since = kNoteInterval; since < 20 * kDay; since += kNoteInterval) {
    const auto bytes = static_cast<int64_t>(
        absl::FDivDuration(std::min(since, kDay), kDay) * 1000 * kMib + since / kDay);
    notes.push_back({At(since), bytes, 0});
    const std::optional<absl::Duration> left = TimeUntilFull(notes, notes.back(), kRoom);
    if (since < 8 * kDay) {
      EXPECT_EQ(left, std::nullopt) << since;
    } else {
      EXPECT_EQ(left, kRoom * kDay) << since;
    }
  }
}

TEST(Growth, IsNoForecastBeyondTenYears) {
  const std::vector<SizeNote> notes = Steady(8 * kDay, kMib);
  EXPECT_EQ(TimeUntilFull(notes, notes.back(), 3650 * kMib), 3650 * kDay);
  EXPECT_EQ(TimeUntilFull(notes, notes.back(), 3651 * kMib), std::nullopt);
}

TEST(Growth, MattersNotIfTheDiskIsFull) {
  EXPECT_EQ(TimeUntilFull({}, {At({}), 0, 0}, 0), absl::ZeroDuration());
  const std::vector<SizeNote> notes = Steady(8 * kDay, 0);
  EXPECT_EQ(TimeUntilFull(notes, notes.back(), 1), std::nullopt);
  EXPECT_EQ(TimeUntilFull(notes, notes.back(), 0), absl::ZeroDuration());
}

// Counts works, and may be damaged.
class WatchedCatalog final : public storage::Catalog {
 public:
  void Submit(Work work, Done done) override {
    ++works;
    if (before_work) before_work();
    catalog.Submit(std::move(work), std::move(done));
  }
  absl::Status damage() const override { return found; }

  storage::MemoryCatalog catalog;
  std::function<void()> before_work;
  int works = 0;
  absl::Status found;

 private:
  absl::Status ReadSnapshot(const std::function<absl::Status(storage::Snapshot&)>& read) override {
    return catalog.Read(read);
  }
};

class NoteSizesTest : public ::testing::Test {
 protected:
  void Note() { EXPECT_OK(noter_.NoteIfDue(service_.clock.Now())); }
  std::vector<SizeNote> Notes() {
    return service_.catalog
        .Read([](storage::Snapshot& snapshot) { return snapshot.ListSizeNotes(); })
        .value();
  }
  Forecast ForecastNow() {
    const storage::Counts counts = service_.Count();
    return service_.catalog
        .Read([&](storage::Snapshot& snapshot) {
          return ForecastGrowth(snapshot, trusted_time_.value_or(service_.clock.Now()), counts,
                                disk_);
        })
        .value();
  }

  testing::MemoryService service_;
  DiskUse disk_{100, 1000 * kMib, KeptSnapshots{2, 50, At({})}};
  int looks_ = 0;
  SizeNoter noter_{service_.catalog, [this] {
                     ++looks_;
                     return disk_;
                   }};
  std::optional<absl::Time> trusted_time_;  // Nothing: what the clock says.
};

TEST_F(NoteSizesTest, NotesAllThatFillsTheDiskEverySixHours) {
  const std::string client = service_.Register("client");
  service_.uploads.inline_blob_limit = 0;
  service_.Store(client, "file", "content");
  Note();
  const storage::Counts counts = service_.Count();
  EXPECT_EQ(Notes(),
            (std::vector<SizeNote>{{service_.clock.Now(), counts.pack_bytes + 100 + 50, 7}}));
  service_.clock.Advance(kNoteInterval - absl::Seconds(1));
  Note();
  EXPECT_EQ(looks_, 1);
  service_.clock.Advance(absl::Seconds(1));
  Note();
  EXPECT_EQ(looks_, 2);
  EXPECT_THAT(Notes(), SizeIs(2));
}

TEST_F(NoteSizesTest, LeavesOutWhatIsOnNoDiskOfThisMachine) {
  service_.uploads.inline_blob_limit = 0;
  service_.Store(service_.Register("client"), "file", "content");
  disk_.has_remote_blobs = true;
  Note();
  EXPECT_EQ(Notes(), (std::vector<SizeNote>{{service_.clock.Now(), 100 + 50, 7}}));
}

TEST_F(NoteSizesTest, LeavesOutACatalogThatIsElsewhere) {
  disk_.has_remote_catalog = true;
  disk_.catalog_bytes = absl::UnavailableError("no server");
  disk_.snapshots = absl::UnimplementedError("no snapshots");
  Note();
  EXPECT_EQ(Notes(), (std::vector<SizeNote>{{service_.clock.Now(), 0, 0}}));
}

TEST_F(NoteSizesTest, ForgetsWhatWasNotedInTheFuture) {
  Note();
  service_.clock.Advance(1000 * kDay);
  Note();
  service_.clock.Advance(-1000 * kDay + absl::Hours(1));
  Note();
  ASSERT_THAT(Notes(), SizeIs(2));
  EXPECT_EQ(Notes().back().time, service_.clock.Now());
}

TEST_F(NoteSizesTest, ForecastsByWhatWasNotedWhileTheTimeIsNotTrusted) {
  trusted_time_ = absl::InfinitePast();
  EXPECT_THAT(ForecastNow().growth, IsEmpty());
  trusted_time_.reset();
  Note();
  service_.clock.Advance(8 * kDay);
  disk_.catalog_bytes = 100 + 8 * kMib;
  Note();
  EXPECT_EQ(ForecastNow().growth[1].disk_bytes_per_day, kMib);
  EXPECT_EQ(ForecastNow().until_full, 1000 * kDay);
  service_.clock.Advance(10'000 * kDay);
  // The catalog need not know of it, in which it may not have been saved.
  trusted_time_ = absl::InfinitePast();
  EXPECT_EQ(ForecastNow().growth[1].period, 8 * kDay);
  EXPECT_EQ(ForecastNow().growth[1].disk_bytes_per_day, kMib);
  EXPECT_EQ(ForecastNow().until_full, 1000 * kDay);
}

TEST_F(NoteSizesTest, NotesNothingWhileTheTimeIsNotTrusted) {
  EXPECT_OK(noter_.NoteIfDue(absl::InfinitePast()));
  EXPECT_EQ(looks_, 0);
  EXPECT_THAT(Notes(), IsEmpty());
}

TEST_F(NoteSizesTest, NotesNothingOfADiskThatCannotBeLookedAtAndTriesAgainAnHourLater) {
  disk_.snapshots = absl::UnavailableError("no folder");
  EXPECT_EQ(noter_.NoteIfDue(service_.clock.Now()), disk_.snapshots.status());
  service_.clock.Advance(absl::Hours(1) - absl::Seconds(1));
  Note();
  EXPECT_EQ(looks_, 1);
  service_.clock.Advance(absl::Seconds(1));
  EXPECT_EQ(noter_.NoteIfDue(service_.clock.Now()), disk_.snapshots.status());
  EXPECT_THAT(Notes(), IsEmpty());
  // Once the clock is set back.
  service_.clock.Advance(-absl::Minutes(30));
  disk_.snapshots = KeptSnapshots{2, 50, At({})};
  Note();
  EXPECT_THAT(Notes(), SizeIs(1));
}

TEST_F(NoteSizesTest, TellsNothingOfADiskThatCannotBeLookedAt) {
  Note();
  service_.clock.Advance(8 * kDay);
  disk_.catalog_bytes = 8 * kMib;
  EXPECT_THAT(ForecastNow().growth, SizeIs(3));
  const int64_t room = *std::exchange(disk_.room_bytes, absl::UnavailableError("no disk"));
  EXPECT_THAT(ForecastNow().growth, SizeIs(3));
  EXPECT_EQ(ForecastNow().until_full, std::nullopt);
  disk_.room_bytes = room;
  EXPECT_NE(ForecastNow().until_full, std::nullopt);
  disk_.catalog_bytes = absl::UnavailableError("no catalog");
  EXPECT_THAT(ForecastNow().growth, IsEmpty());
  EXPECT_EQ(ForecastNow().until_full, std::nullopt);
  disk_.room_bytes = 0;
  EXPECT_EQ(ForecastNow().until_full, absl::ZeroDuration());
}

TEST_F(NoteSizesTest, WritesNothingIntoADamagedCatalog) {
  WatchedCatalog catalog;
  SizeNoter noter(catalog, [this] { return disk_; });
  catalog.found = absl::DataLossError("damaged");
  EXPECT_OK(noter.NoteIfDue(service_.clock.Now()));
  EXPECT_EQ(catalog.works, 0);
  catalog.found = absl::OkStatus();
  EXPECT_OK(noter.NoteIfDue(service_.clock.Now()));
  EXPECT_EQ(catalog.works, 1);
}

TEST_F(NoteSizesTest, NotesNothingIfSomebodyElseJustDid) {
  WatchedCatalog catalog;
  const absl::Time now = service_.clock.Now();
  const SizeNote other = {now - absl::Seconds(1), 1, 1};
  catalog.before_work = [&] {
    EXPECT_OK(catalog.catalog.Run(
        [&](storage::Transaction& transaction) { return transaction.AddSizeNote(other); }));
  };
  EXPECT_OK(SizeNoter(catalog, [this] { return disk_; }).NoteIfDue(now));
  EXPECT_THAT(catalog.Read([](storage::Snapshot& snapshot) { return snapshot.ListSizeNotes(); }),
              IsOkAndHolds(ElementsAre(other)));
}

}  // namespace
}  // namespace backup::handlers
