#include "services/backup/retention/clock_watch.h"

#include <memory>
#include <optional>
#include <string>

#include "base/status_macros.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/memory/memory_catalog.h"

namespace backup::retention {
namespace {

using ::backup::testing::StatusIs;
using ::testing::HasSubstr;

class ClockWatchTest : public ::testing::Test {
 protected:
  // Another run of the process.
  void Restart() { watch_ = std::make_unique<ClockWatch>(catalog_, clock_, boot_clock_); }
  void Pass(absl::Duration time) {
    clock_.Advance(time);
    boot_clock_.Advance(time);
  }
  bool IsTrusted() {
    const absl::Status trusted = watch_->CheckTrust();
    EXPECT_EQ(trusted.ok(), watch_->RemovalTime() != absl::InfinitePast());
    if (trusted.ok()) {
      EXPECT_EQ(watch_->RemovalTime(), clock_.Now());
    }
    return trusted.ok();
  }
  std::optional<storage::ClockNote> Noted() {
    return catalog_.Read([](storage::Snapshot& snapshot) { return snapshot.FindClockNote(); })
        .value();
  }

  storage::MemoryCatalog catalog_;
  FakeClock clock_{absl::FromUnixSeconds(1'700'000'000)};
  FakeBootClock boot_clock_;
  std::unique_ptr<ClockWatch> watch_ = std::make_unique<ClockWatch>(catalog_, clock_, boot_clock_);
};

TEST_F(ClockWatchTest, TrustsNothingBeforeItLooked) {
  EXPECT_EQ(watch_->RemovalTime(), absl::InfinitePast());
  EXPECT_OK(watch_->Check());
  EXPECT_EQ(watch_->RemovalTime(), clock_.Now());
}

TEST_F(ClockWatchTest, DistrustsAFirstClockThatIsBehindWhatClientsVerified) {
  const absl::Time verified = clock_.Now();
  ASSERT_OK(catalog_.Run([&](storage::Transaction& transaction) -> absl::Status {
    storage::Version version;
    version.client_id = *ClientId::FromBytes(std::string(ClientId::kSize, 'c'));
    version.file_name = "file";
    version.version_id = 1;
    RETURN_IF_ERROR(
        transaction
            .RegisterClient("name", version.client_id, storage::DuplicateNames::kReject, verified)
            .status());
    RETURN_IF_ERROR(transaction.AddVersion(version, std::string("bytes"), {}).status());
    return transaction
        .SettleVersion({version.client_id, "file", std::nullopt, storage::Outcome::kVerified},
                       verified)
        .status();
  }));
  clock_.Advance(-absl::Hours(1) - absl::Seconds(1));
  EXPECT_THAT(watch_->CheckTrust().message(), HasSubstr("1h1s behind the newest time at which"));
  EXPECT_FALSE(IsTrusted());
  Restart();
  EXPECT_FALSE(IsTrusted());
  ASSERT_OK(watch_->Resume());
  EXPECT_TRUE(IsTrusted());
}

TEST_F(ClockWatchTest, TrustsAClockThatGoesOnWithTheMachine) {
  for (int i = 0; i < 3; ++i) {
    Pass(absl::Hours(24 * 30));
    EXPECT_TRUE(IsTrusted());
  }
  Restart();
  Pass(absl::Hours(24 * 30));  // The process was away, the machine was not.
  EXPECT_TRUE(IsTrusted());
}

TEST_F(ClockWatchTest, DistrustsAClockThatWasSetByMoreThanAnHour) {
  for (const absl::Duration step : {absl::Hours(1), -absl::Hours(1)}) {
    ASSERT_OK(watch_->Resume());
    clock_.Advance(step);
    EXPECT_TRUE(IsTrusted()) << step;
    clock_.Advance(step > absl::ZeroDuration() ? absl::Seconds(1) : -absl::Seconds(1));
    EXPECT_FALSE(IsTrusted()) << step;
    clock_.Advance(-step);
    EXPECT_FALSE(IsTrusted());  // Nobody said that it is right.
  }
}

TEST_F(ClockWatchTest, DistrustsAClockThatWasSetInManySteps) {
  EXPECT_TRUE(IsTrusted());
  clock_.Advance(absl::Minutes(40));
  EXPECT_TRUE(IsTrusted());
  Restart();
  Pass(absl::Hours(48));
  EXPECT_TRUE(IsTrusted());
  clock_.Advance(absl::Minutes(40));
  EXPECT_FALSE(IsTrusted());
}

TEST_F(ClockWatchTest, DistrustIsKnownToLaterRuns) {
  EXPECT_TRUE(IsTrusted());
  clock_.Advance(absl::Hours(2));
  EXPECT_EQ(watch_->RemovalTime(), absl::InfinitePast());  // Before anything was noted.
  EXPECT_OK(watch_->Check());
  EXPECT_EQ(Noted()->distrusted_since, clock_.Now());
  Restart();
  EXPECT_FALSE(IsTrusted());
  EXPECT_THAT(std::string(watch_->CheckTrust().message()), HasSubstr("backupctl policy resume"));
}

TEST_F(ClockWatchTest, ComparesWithTheNewestNotedTimeAfterAnotherStartOfTheMachine) {
  EXPECT_TRUE(IsTrusted());
  boot_clock_.Restart("second");
  Restart();
  clock_.Advance(absl::Minutes(59));
  EXPECT_TRUE(IsTrusted());
  boot_clock_.Restart("third");
  Restart();
  clock_.Advance(absl::Minutes(61));  // It was off for so long, or its clock is wrong.
  EXPECT_FALSE(IsTrusted());
  ASSERT_OK(watch_->Resume());
  EXPECT_TRUE(IsTrusted());
  boot_clock_.Restart("fourth");
  Restart();
  clock_.Advance(-absl::Minutes(61));
  EXPECT_FALSE(IsTrusted());
}

TEST_F(ClockWatchTest, GoesOnWhenSomebodySaysThatTheTimeIsRight) {
  EXPECT_TRUE(IsTrusted());
  clock_.Advance(absl::Hours(24));
  EXPECT_FALSE(IsTrusted());
  EXPECT_OK(watch_->Resume());
  EXPECT_TRUE(IsTrusted());
  Restart();
  Pass(absl::Hours(24));
  EXPECT_TRUE(IsTrusted());
}

TEST_F(ClockWatchTest, NotesTheTimeOnceAMinute) {
  EXPECT_OK(watch_->Check());
  const absl::Time first = clock_.Now();
  EXPECT_EQ(Noted()->newest_time, first);
  Pass(absl::Seconds(59));
  EXPECT_OK(watch_->Check());
  EXPECT_EQ(Noted()->newest_time, first);
  Pass(absl::Seconds(1));
  EXPECT_OK(watch_->Check());
  EXPECT_EQ(Noted()->newest_time, clock_.Now());
}

}  // namespace
}  // namespace backup::retention
