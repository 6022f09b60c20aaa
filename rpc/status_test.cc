#include "rpc/status.h"

#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"

namespace backup::rpc {
namespace {

TEST(Status, EveryReasonSurvivesTheWireAndCarriesErrorInfoFirst) {
  for (const ReasonInfo& info : AllReasons()) {
    const absl::Status before = MakeError(info.reason, "do this", "it");
    const grpc::Status sent = ToGrpc(before);
    EXPECT_EQ(static_cast<int>(sent.error_code()), static_cast<int>(info.code));
    google::rpc::Status details;
    ASSERT_TRUE(details.ParseFromString(sent.error_details()));
    google::rpc::ErrorInfo error_info;
    ASSERT_TRUE(details.details(0).UnpackTo(&error_info));
    EXPECT_EQ(error_info.reason(), std::string(info.name));
    EXPECT_EQ(error_info.domain(), "backup.v1");
    const absl::Status after = FromGrpc(sent);
    EXPECT_EQ(ReasonOf(after), info.reason);
    EXPECT_EQ(SubjectOf(after), "it");
    EXPECT_EQ(after.message(), before.message());
  }
}

TEST(Status, AQuotaIsToldWithoutAHintToTryAgain) {
  const grpc::Status sent = ToGrpc(MakeError(Reason::kClientQuota, "too much", "the store"));
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(sent.error_details()));
  ASSERT_EQ(details.details_size(), 2);
  google::rpc::QuotaFailure failure;
  ASSERT_TRUE(details.details(1).UnpackTo(&failure));
  EXPECT_EQ(failure.violations(0).subject(), "the store");
  EXPECT_EQ(failure.violations(0).description(), "too much");
}

TEST(Status, AStatusWithoutReasonKeepsCodeAndMessage) {
  EXPECT_EQ(FromGrpc(ToGrpc(absl::CancelledError("gone"))), absl::CancelledError("gone"));
  EXPECT_TRUE(FromGrpc(ToGrpc(absl::OkStatus())).ok());
}

}  // namespace
}  // namespace backup::rpc
