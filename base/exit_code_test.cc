#include "base/exit_code.h"

#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

TEST(ExitCode, IsTheOneGivenHoweverTheMessageChanges) {
  const absl::Status error = WithExitCode(absl::InternalError("first"), kExitInUse);
  const absl::Status changed = WithMessage(error, "second");
  EXPECT_EQ(ExitCodeOf(error), kExitInUse);
  EXPECT_EQ(ExitCodeOf(changed), kExitInUse);
  EXPECT_EQ(changed.code(), error.code());
  EXPECT_EQ(changed.message(), "second");
}

TEST(ExitCode, TellsWhetherTheConfigurationIsToBlame) {
  EXPECT_EQ(ExitCodeOf(absl::NotFoundError("no such file")), kExitBadConfiguration);
  EXPECT_EQ(ExitCodeOf(absl::FailedPreconditionError("expired")), kExitBadConfiguration);
  EXPECT_EQ(ExitCodeOf(MakeError(Reason::kStorageFull, "free disk space")), kExitFailed);
  EXPECT_EQ(ExitCodeOf(absl::InternalError("a bug")), kExitFailed);
}

}  // namespace
}  // namespace backup
