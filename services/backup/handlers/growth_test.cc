#include "services/backup/handlers/growth.h"

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/testing/memory_service.h"

namespace backup::handlers {
namespace {

using storage::SizeNote;
using ::testing::IsEmpty;
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
  EXPECT_EQ(TimeUntilFull(growth, 90 * kMib), 90 * kDay);
  EXPECT_EQ(TimeUntilFull(growth, 0), absl::ZeroDuration());
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
  const std::vector<Growth> growth =
      MeasureGrowth({{At({}), 7 * kMib, 0}}, {At(7 * kDay), 0, kMib});
  EXPECT_EQ(growth[1].disk_bytes_per_day, -kMib);
  EXPECT_EQ(TimeUntilFull(growth, kMib), std::nullopt);
  EXPECT_EQ(TimeUntilFull({}, kMib), std::nullopt);
}

TEST(Growth, IsForgottenAfterAWeekBeforeTheDiskIsSaidToBeFull) {
  // All came at first, and then a byte a day.
  std::vector<SizeNote> notes = {{At({}), 0, 0}};
  for (int day = 1; day <= 20; ++day) notes.push_back({At(day * kDay), 1000 * kMib + day, 0});
  EXPECT_EQ(TimeUntilFull(MeasureGrowth(notes, notes.back()), 365), 365 * kDay);
  // As good as never.
  EXPECT_EQ(TimeUntilFull(MeasureGrowth(notes, notes.back()), int64_t{1} << 50), 100 * 365 * kDay);
}

class NoteSizesTest : public ::testing::Test {
 protected:
  void Note() {
    EXPECT_OK(NoteSizes(service_.catalog, service_.clock.Now(), [this] {
      ++looks_;
      return disk_;
    }));
  }
  std::vector<SizeNote> Notes() {
    return service_.catalog
        .Read([](storage::Snapshot& snapshot) { return snapshot.ListSizeNotes(); })
        .value();
  }
  Forecast ForecastNow() {
    const storage::Counts counts = service_.Count();
    return service_.catalog
        .Read([&](storage::Snapshot& snapshot) {
          return ForecastGrowth(snapshot, service_.clock.Now(), counts, disk_);
        })
        .value();
  }

  testing::MemoryService service_;
  DiskUse disk_{100, 1000 * kMib, {2, 50, At({})}};
  int looks_ = 0;
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
  Note();
  service_.clock.Advance(7 * kDay);
  disk_.catalog_bytes += 7 * kMib;
  Note();
  EXPECT_EQ(ForecastNow().growth[1].disk_bytes_per_day, kMib);
  EXPECT_EQ(ForecastNow().until_full, 1000 * kDay);
  service_.clock.Advance(10'000 * kDay);
  const absl::Time now = service_.clock.Now();
  ASSERT_OK(service_.catalog.Run([&](storage::Transaction& transaction) {
    return transaction.SaveClockNote({now, {}, "boot", now, now, "why"});
  }));
  EXPECT_EQ(ForecastNow().growth[1].period, 7 * kDay);
  EXPECT_EQ(ForecastNow().growth[1].disk_bytes_per_day, kMib);
}

}  // namespace
}  // namespace backup::handlers
