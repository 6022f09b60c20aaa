#include "services/backup/handlers/scrub.h"

#include <optional>
#include <string>

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/handlers/scrub_state.h"
#include "services/backup/testing/memory_service.h"

namespace backup::handlers {
namespace {

using testing::MemoryService;

constexpr absl::Duration kPeriod = absl::Hours(720);
const ScrubPolicy kPolicy{kPeriod, 1000};

ScrubState SomeState() {
  ScrubState state;
  state.is_paused = true;
  state.start_time = absl::FromUnixSeconds(1000);
  state.phase = ScrubState::Phase::kVersions;
  state.position = 7;
  state.total_steps = 100;
  state.done_steps = 30;
  state.tally = {1, 2, 3, 4, 5, 6, 7};
  state.last_start_time = absl::FromUnixSeconds(10);
  state.last_end_time = absl::FromUnixSeconds(20);
  state.last_tally = {8, 9, 10, 11, 12, 13, 14};
  return state;
}

TEST(ScrubState, IsKeptAsText) {
  EXPECT_EQ(DecodeScrub(EncodeScrub(ScrubState())), ScrubState());
  EXPECT_EQ(DecodeScrub(EncodeScrub(SomeState())), SomeState());
  ScrubState wanted;
  wanted.is_wanted = true;
  EXPECT_EQ(DecodeScrub(EncodeScrub(wanted)), wanted);
}

TEST(ScrubState, TakesFieldsThatItDoesNotKnowAndNoneThatAreNoNumbers) {
  EXPECT_EQ(DecodeScrub(EncodeScrub(SomeState()) + " more=1"), SomeState());
  for (const std::string wrong : {"phase=0", "phase=4", "phase=1 position=x", "phase=1 total", ""})
    EXPECT_EQ(DecodeScrub(wrong), std::nullopt) << wrong;
  EXPECT_EQ(DecodeScrub("phase=2"), [] {
    ScrubState state;
    state.phase = ScrubState::Phase::kVersions;
    return state;
  }());
}

TEST(ScrubState, BeginsAnewIfWhatIsKeptIsDamaged) {
  MemoryService service;
  ASSERT_OK(service.catalog.Run([](storage::Transaction& transaction) {
    return transaction.SetStoreValue("scrub", "no state");
  }));
  EXPECT_EQ(*service.catalog.Read([](storage::Snapshot& snapshot) { return FindScrub(snapshot); }),
            ScrubState());
}

TEST(Scrub, IsToldAndTells) {
  MemoryService service;
  const auto get = [&] {
    return service.catalog
        .Read([](storage::Snapshot& snapshot) { return GetScrub(snapshot, kPolicy); })
        .value()
        .scrub();
  };
  EXPECT_EQ(get().state(), v1::Scrub::WAITING);
  EXPECT_EQ(get().progress_ratio(), 1);
  EXPECT_FALSE(get().has_last_tally());
  EXPECT_EQ(get().period().seconds(), 720 * 3600);
  EXPECT_EQ(get().bytes_per_second(), 1000);
  ASSERT_OK(service.catalog.Run(
      [](storage::Transaction& transaction) { return SaveScrub(transaction, SomeState()); }));
  v1::Scrub scrub = get();
  EXPECT_EQ(scrub.state(), v1::Scrub::PAUSED);
  EXPECT_EQ(scrub.start_time().seconds(), 1000);
  EXPECT_DOUBLE_EQ(scrub.progress_ratio(), 0.3);
  EXPECT_EQ(scrub.tally().stored_bytes(), 1);
  EXPECT_EQ(scrub.last_tally().orphan_count(), 14);
  EXPECT_FALSE(scrub.has_next_start_time());
  scrub =
      service.catalog
          .Run([](storage::Transaction& transaction) { return StartScrub(transaction, kPolicy); })
          .value()
          .scrub();
  // It goes on with its cycle.
  EXPECT_EQ(scrub.state(), v1::Scrub::RUNNING);
  EXPECT_DOUBLE_EQ(scrub.progress_ratio(), 0.3);
  scrub =
      service.catalog
          .Run([](storage::Transaction& transaction) { return PauseScrub(transaction, kPolicy); })
          .value()
          .scrub();
  EXPECT_EQ(scrub.state(), v1::Scrub::PAUSED);
}

}  // namespace
}  // namespace backup::handlers
