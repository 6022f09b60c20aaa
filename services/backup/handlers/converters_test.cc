#include "services/backup/handlers/converters.h"

#include <string>

#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/handlers/page_tokens.h"
#include "services/backup/limits.h"

namespace backup::handlers {
namespace {

using testing::HasReason;
using testing::IsOkAndHolds;

TEST(ParsePageSize, HasADefaultAndALimit) {
  EXPECT_THAT(ParsePageSize(0), IsOkAndHolds(kDefaultPageSize));
  EXPECT_THAT(ParsePageSize(7), IsOkAndHolds(7));
  EXPECT_THAT(ParsePageSize(kMaxPageSize + 1), IsOkAndHolds(kMaxPageSize));
  EXPECT_THAT(ParsePageSize(-1), HasReason(Reason::kInvalidField));
}

TEST(PageToken, BringsBackItsPositionInItsOwnListOnly) {
  const std::string position("any\0 \xFF bytes", 12);
  const std::string token = MakePageToken("files:a", position);
  EXPECT_THAT(ParsePageToken("files:a", token), IsOkAndHolds(position));
  EXPECT_THAT(ParsePageToken("files:b", token), HasReason(Reason::kInvalidField));
  EXPECT_THAT(ParsePageToken("files:a", token.substr(1)), HasReason(Reason::kInvalidField));
  EXPECT_THAT(ParsePageToken("files:a", "not base64!"), HasReason(Reason::kInvalidField));
  EXPECT_THAT(ParsePageToken("files:a", ""), IsOkAndHolds(""));
}

TEST(ParseName, TellsTheField) {
  EXPECT_THAT(ParseName("name", "a%FFb"), IsOkAndHolds("a\xFF"
                                                       "b"));
  const absl::Status status = ParseName("header.file_name", "100%").status();
  EXPECT_THAT(status, HasReason(Reason::kInvalidField));
  EXPECT_EQ(SubjectOf(status), "header.file_name");
}

TEST(ParseUploadId, MayBeLeftOut) {
  EXPECT_THAT(ParseUploadId("header.upload_id", ""), IsOkAndHolds(::testing::Eq(std::nullopt)));
  EXPECT_THAT(ParseUploadId("header.upload_id", "no uuid"), HasReason(Reason::kInvalidField));
}

TEST(ToProto, KeepsTimesToTheNanosecondAlsoBeforeTheEpoch) {
  storage::Client client;
  client.create_time = absl::FromUnixNanos(1'500'000'000);
  client.last_seen_time = absl::FromUnixNanos(-1);
  const v1::Client out = ToProto(client);
  EXPECT_EQ(out.create_time().seconds(), 1);
  EXPECT_EQ(out.create_time().nanos(), 500'000'000);
  EXPECT_EQ(out.last_seen_time().seconds(), -1);
  EXPECT_EQ(out.last_seen_time().nanos(), 999'999'999);
  EXPECT_FALSE(out.has_last_verified_time());
}

}  // namespace
}  // namespace backup::handlers
