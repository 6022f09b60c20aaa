#include "services/backup/jobs/runner.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/memory/memory_catalog.h"

namespace backup::jobs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Counts to a number, one a step; the cursor is the number that was reached.
class CountingJob final : public Job {
 public:
  using Hook = std::function<absl::Status(int)>;
  CountingJob(int end, Hook hook) : end_(end), hook_(std::move(hook)) {}

  int64_t last_budget = 0;
  absl::Status left;

  absl::string_view name() const override { return "count"; }
  absl::string_view audit_action() const override { return "things counted"; }
  absl::StatusOr<Progress> Step(const std::string& cursor, int64_t budget,
                                const std::stop_token&) override {
    last_budget = budget;
    const int number = cursor.empty() ? 1 : std::stoi(cursor) + 1;
    const absl::Status hooked = hook_(number);
    if (!hooked.ok()) return hooked;
    return Progress{std::to_string(number), number == end_, 1, false, {}, left};
  }

 private:
  const int end_;
  const Hook hook_;
};

class RunnerTest : public ::testing::Test {
 protected:
  // One run of a job that counts to three, by a process of its own; fails at `failing`.
  void Run(int failing = 0, const std::stop_token& token = {}) {
    CountingJob job(3, [&](int number) {
      if (number == failing) return absl::InternalError("it broke");
      numbers_.push_back(number);
      if (on_step_) on_step_(number);
      return absl::OkStatus();
    });
    JobRun(job, {absl::Hours(1), 1'000'000}, catalog_, clock_, job_metrics_,
           [this](storage::Transaction& transaction, const AuditedRun& run) {
             told_.push_back(absl::StrCat(run.action, " ", run.count, " ", run.result.message()));
             return transaction.SetStoreValue("told", "in the same transaction");
           })
        .Run(token);
  }
  storage::JobState State() {
    const auto jobs =
        catalog_.Read([](storage::Snapshot& snapshot) { return snapshot.ListJobs(); });
    EXPECT_OK(jobs);
    return jobs->empty() ? storage::JobState() : jobs->front();
  }

  FakeClock clock_{absl::FromUnixSeconds(1'700'000'000)};
  storage::MemoryCatalog catalog_;
  Metrics metrics_;
  const JobMetrics job_metrics_{metrics_};
  std::vector<int> numbers_;
  std::vector<std::string> told_;
  std::function<void(int)> on_step_;
};

TEST_F(RunnerTest, RunsAJobToItsEndAndKeepsWhatCameOfIt) {
  Run();
  EXPECT_THAT(numbers_, ElementsAre(1, 2, 3));
  const storage::JobState state = State();
  EXPECT_EQ(state.name, "count");
  EXPECT_EQ(state.cursor, "");
  EXPECT_EQ(state.last_start_time, clock_.Now());
  EXPECT_EQ(state.last_success_time, clock_.Now());
  EXPECT_EQ(state.last_error, "");
  EXPECT_EQ(state.last_count, 3);
  EXPECT_EQ(state.total_count, 3);
  EXPECT_THAT(metrics_.Text(), HasSubstr("backup_job_runs_total{job=\"count\",result=\"ok\"} 1\n"));
  EXPECT_THAT(metrics_.Text(), HasSubstr("backup_job_items_total{job=\"count\"} 3\n"));
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("backup_job_last_success_timestamp_seconds{job=\"count\"} 1700000000\n"));
}

TEST_F(RunnerTest, GoesOnBehindTheLastStepThatWentWell) {
  Run(/*failing=*/3);
  EXPECT_THAT(numbers_, ElementsAre(1, 2));
  EXPECT_EQ(State().last_error, "it broke");
  EXPECT_EQ(State().last_success_time, std::nullopt);
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("backup_job_runs_total{job=\"count\",result=\"failed\"} 1\n"));
  Run();
  EXPECT_THAT(numbers_, ElementsAre(1, 2, 3));
  EXPECT_EQ(State().last_error, "");
  Run();
  EXPECT_THAT(numbers_, ElementsAre(1, 2, 3, 1, 2, 3));
}

TEST_F(RunnerTest, TellsTheAuditLogOfWhatARunDidOnce) {
  Run();
  EXPECT_THAT(told_, ElementsAre("things counted 3 "));
  EXPECT_EQ(
      catalog_.Read([](storage::Snapshot& snapshot) { return snapshot.FindStoreValue("told"); })
          .value(),
      "in the same transaction");
  Run(/*failing=*/2);
  Run(/*failing=*/2);  // It did nothing.
  EXPECT_THAT(told_, ElementsAre("things counted 3 ", "things counted 1 it broke"));
}

TEST_F(RunnerTest, TellsTheAuditLogOfWhatARunDidThatIsStopped) {
  std::stop_source stop;
  on_step_ = [&](int number) {
    if (number == 2) stop.request_stop();
  };
  Run(/*failing=*/0, stop.get_token());
  EXPECT_THAT(told_, ElementsAre("things counted 2 it goes on"));
}

TEST_F(RunnerTest, BeginsAnewAfterARunThatCouldNotDoAll) {
  CountingJob job(3, [&](int number) {
    numbers_.push_back(number);
    return absl::OkStatus();
  });
  job.left = absl::InternalError("one of them stays");
  JobRun run(job, {absl::Hours(1), 1'000'000}, catalog_, clock_, job_metrics_);
  run.Run(std::stop_token());
  EXPECT_EQ(State().last_error, "one of them stays");
  EXPECT_EQ(State().last_success_time, std::nullopt);
  EXPECT_EQ(State().cursor, "");
  EXPECT_EQ(State().total_count, 3);
  job.left = absl::OkStatus();
  run.Run(std::stop_token());
  EXPECT_THAT(numbers_, ElementsAre(1, 2, 3, 1, 2, 3));
  EXPECT_EQ(State().last_error, "");
}

TEST_F(RunnerTest, HasSavedItsCursorWheneverItIsKilled) {
  storage::JobState saved;  // What is durable when a process dies in its third step.
  on_step_ = [&](int number) {
    if (number == 3) saved = State();
  };
  Run();
  EXPECT_EQ(saved.cursor, "2");
  ASSERT_OK(
      catalog_.Run([&](storage::Transaction& transaction) { return transaction.SaveJob(saved); }));
  numbers_.clear();
  on_step_ = nullptr;
  Run();
  EXPECT_THAT(numbers_, ElementsAre(3));
}

TEST_F(RunnerTest, EndsBetweenTwoStepsWhenItIsToldToStop) {
  std::stop_source stop;
  on_step_ = [&](int number) {
    if (number == 2) stop.request_stop();
  };
  Run(/*failing=*/0, stop.get_token());
  EXPECT_THAT(numbers_, ElementsAre(1, 2));
  on_step_ = nullptr;
  Run();
  EXPECT_THAT(numbers_, ElementsAre(1, 2, 3));
}

TEST_F(RunnerTest, TakesStepsThatAreNoLargerThanTheRateOfASecond) {
  CountingJob job(1, [](int) { return absl::OkStatus(); });
  JobRun(job, {absl::Hours(1), 10}, catalog_, clock_, job_metrics_).Run({});
  EXPECT_EQ(job.last_budget, 10);
  JobRun(job, {absl::Hours(1), 1'000'000}, catalog_, clock_, job_metrics_).Run({});
  EXPECT_LE(job.last_budget, 1000);
}

TEST_F(RunnerTest, RunsAtOnceAndWhenItIsWoken) {
  Mutex mutex;
  CondVar changed;
  int runs = 0;
  Runner runner(catalog_, clock_, job_metrics_);
  runner.Add(std::make_unique<CountingJob>(1,
                                           [&](int) {
                                             MutexLock lock(mutex);
                                             ++runs;
                                             changed.NotifyAll();
                                             return absl::OkStatus();
                                           }),
             {absl::Hours(1)});
  MutexLock lock(mutex);
  while (runs < 1) ASSERT_TRUE(changed.WaitFor(mutex, absl::Seconds(30)));
  runner.Wake("count");
  runner.Wake("nobody");
  while (runs < 2) ASSERT_TRUE(changed.WaitFor(mutex, absl::Seconds(30)));
}

}  // namespace
}  // namespace backup::jobs
