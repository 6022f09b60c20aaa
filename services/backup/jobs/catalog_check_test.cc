#include "services/backup/jobs/catalog_check.h"

#include <functional>
#include <stop_token>
#include <string>

#include "base/boot_clock.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/testing/log_capture.h"
#include "storage/memory/memory_catalog.h"

namespace backup::jobs {
namespace {

using ::testing::HasSubstr;

// A catalog in memory whose checks end as a test says.
class CheckedCatalog final : public storage::Catalog {
 public:
  absl::Status next;
  int checks = 0;

  void Submit(Work work, Done done) override { memory_.Submit(std::move(work), std::move(done)); }
  absl::Status Check(const std::function<void()>& /*pause*/, const std::stop_token&) override {
    ++checks;
    return next;
  }

 private:
  absl::Status ReadSnapshot(const std::function<absl::Status(storage::Snapshot&)>& read) override {
    return memory_.Read(read);
  }

  storage::MemoryCatalog memory_;
};

class CatalogCheckTest : public ::testing::Test {
 protected:
  // Whether there was a check.
  bool RunAfter(absl::Duration time) {
    clock_.Advance(time);
    const int before = catalog_.checks;
    check_.RunIfDue(std::stop_token());
    return catalog_.checks > before;
  }

  CheckedCatalog catalog_;
  FakeBootClock clock_;
  CatalogCheck check_{catalog_, clock_};
};

TEST_F(CatalogCheckTest, IsDoneAtFirstAndThenEveryThirtyDays) {
  EXPECT_TRUE(RunAfter(absl::ZeroDuration()));
  EXPECT_FALSE(RunAfter(absl::Hours(1)));
  EXPECT_FALSE(RunAfter(absl::Hours(30 * 24 - 2)));
  EXPECT_TRUE(RunAfter(absl::Hours(1)));
  EXPECT_FALSE(check_.has_failed());
}

TEST_F(CatalogCheckTest, IsRepeatedInAnHourIfItCouldNotBeDone) {
  const testing::LogCapture log;
  catalog_.next = MakeError(Reason::kStorageIo, "a page cannot be read");
  EXPECT_TRUE(RunAfter(absl::ZeroDuration()));
  EXPECT_TRUE(check_.has_failed());
  EXPECT_THAT(log.text(), HasSubstr("a page cannot be read"));
  EXPECT_FALSE(RunAfter(absl::Minutes(59)));
  EXPECT_TRUE(RunAfter(absl::Minutes(1)));
  catalog_.next = absl::OkStatus();
  EXPECT_TRUE(RunAfter(absl::Hours(1)));
  EXPECT_FALSE(check_.has_failed());
  EXPECT_FALSE(RunAfter(absl::Hours(1)));
}

TEST_F(CatalogCheckTest, WhatItFindsIsNoFailureOfIt) {
  catalog_.next = MakeError(Reason::kStateCorrupt, "the catalog is damaged");
  EXPECT_TRUE(RunAfter(absl::ZeroDuration()));
  EXPECT_FALSE(check_.has_failed());
  EXPECT_FALSE(RunAfter(absl::Hours(1)));
}

}  // namespace
}  // namespace backup::jobs
