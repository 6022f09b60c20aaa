#include "services/backup/handlers/transact.h"

#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/memory/memory_catalog.h"

namespace backup::handlers {
namespace {

using testing::HasReason;
using testing::IsOkAndHolds;
using testing::StatusIs;

// Is outdated as often as it is told to be.
struct FickleHandler {
  int* outdated_runs;
  absl::Status Apply(storage::Transaction&) {
    return --*outdated_runs >= 0 ? Outdated("the client changed") : absl::OkStatus();
  }
  absl::StatusOr<int> Respond() const { return 42; }
};

class TransactTest : public ::testing::Test {
 protected:
  absl::StatusOr<int> Run(int outdated_runs) {
    preparations_ = 0;
    return Transact(catalog_, [&]() -> absl::StatusOr<FickleHandler> {
      ++preparations_;
      return FickleHandler{&outdated_runs};
    });
  }

  storage::MemoryCatalog catalog_;
  int preparations_ = 0;
};

TEST_F(TransactTest, PreparesOnceIfWhatWasPreparedIsTrue) {
  EXPECT_THAT(Run(0), IsOkAndHolds(42));
  EXPECT_EQ(preparations_, 1);
}

TEST_F(TransactTest, PreparesAgainWhatIsOutdated) {
  EXPECT_THAT(Run(3), IsOkAndHolds(42));
  EXPECT_EQ(preparations_, 4);
}

TEST_F(TransactTest, GivesUpAfterAWhileAndLetsTheCallerTryAgain) {
  EXPECT_THAT(Run(1000), HasReason(Reason::kBackendDown));
  EXPECT_EQ(preparations_, kMaxPreparations);
}

TEST_F(TransactTest, DoesNotPrepareAgainAfterAnyOtherError) {
  const auto refused = [&]() -> absl::StatusOr<FickleHandler> {
    ++preparations_;
    return absl::InvalidArgumentError("no");
  };
  EXPECT_THAT(Transact(catalog_, refused), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(preparations_, 1);
}

}  // namespace
}  // namespace backup::handlers
