#include "base/error.h"

#include <set>
#include <string>

#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

TEST(Reasons, HaveDistinctNamesThatLeadBack) {
  std::set<std::string> names;
  for (const ReasonInfo& info : AllReasons()) {
    EXPECT_EQ(&InfoOf(info.reason), &info);
    EXPECT_EQ(ReasonFromName(info.name), info.reason);
    EXPECT_TRUE(names.insert(std::string(info.name)).second) << info.name;
    EXPECT_NE(info.code, absl::StatusCode::kOk);
  }
}

TEST(Reasons, IncludeTheLastOfTheEnumeration) {
  EXPECT_EQ(AllReasons().size(), static_cast<size_t>(Reason::kBlobDamaged) + 1);
}

TEST(ReasonFromName, KnowsNoOtherNames) {
  EXPECT_EQ(ReasonFromName(""), std::nullopt);
  EXPECT_EQ(ReasonFromName("client_not_found"), std::nullopt);
  EXPECT_EQ(ReasonFromName("CLIENT_NOT_FOUND "), std::nullopt);
}

TEST(MakeError, CarriesReasonCodeMessageAndSubject) {
  for (const ReasonInfo& info : AllReasons()) {
    const absl::Status status = MakeError(info.reason, "do this", "it");
    EXPECT_EQ(status.code(), info.code);
    EXPECT_EQ(status.message(), "do this");
    EXPECT_EQ(ReasonOf(status), info.reason);
    EXPECT_EQ(SubjectOf(status), "it");
  }
}

TEST(MakeError, NeedsNoSubject) {
  EXPECT_EQ(SubjectOf(MakeError(Reason::kDraining, "again later")), "");
}

TEST(ReasonOf, IsNothingForStatusesMadeElsewhere) {
  EXPECT_EQ(ReasonOf(absl::OkStatus()), std::nullopt);
  EXPECT_EQ(ReasonOf(absl::NotFoundError("no such thing")), std::nullopt);
  EXPECT_EQ(SubjectOf(absl::NotFoundError("no such thing")), "");
}

}  // namespace
}  // namespace backup
