#include "services/backupctl/exit_code.h"

#include <cerrno>

#include "base/error.h"
#include "gtest/gtest.h"
#include "rpc/status.h"
#include "services/backupctl/restore_report.h"
#include "services/backupctl/testing/fake_service.h"

namespace backup::ctl {
namespace {

TEST(ExitCode, BlamesTheServiceOnlyForWhatItSaid) {
  testing::FakeService service;
  using grpc::StatusCode;
  for (const auto& [code, exit_code] :
       {std::pair(StatusCode::PERMISSION_DENIED, ExitCode::kDenied),
        std::pair(StatusCode::UNAUTHENTICATED, ExitCode::kDenied),
        std::pair(StatusCode::UNAVAILABLE, ExitCode::kUnreachable),
        std::pair(StatusCode::DEADLINE_EXCEEDED, ExitCode::kUnreachable)}) {
    const absl::Status error = service.connection().Explain(grpc::Status(code, "no"));
    EXPECT_EQ(ExitCodeOf(error), exit_code) << error;
    EXPECT_EQ(ExitCodeOf(Incomplete(error, {})), exit_code) << error;
  }
  const absl::Status denied =
      service.connection().Explain(rpc::ToGrpc(MakeError(Reason::kRoleDenied, "not for readers")));
  EXPECT_EQ(ExitCodeOf(denied), ExitCode::kDenied);
  EXPECT_EQ(ReasonOf(denied), Reason::kRoleDenied);
  for (const int error : {EACCES, EPERM, ETIMEDOUT, EAGAIN, ENETDOWN, EMFILE, ENOSPC})
    EXPECT_EQ(ExitCodeOf(absl::ErrnoToStatus(error, "cannot open")), ExitCode::kFailed) << error;
}

}  // namespace
}  // namespace backup::ctl
