#include "services/backupctl/quota.h"

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::ctl {
namespace {

using ::testing::HasSubstr;
using testing::IsOkAndHolds;

TEST(QuotaText, TakesSizesWithAndWithoutUnits) {
  EXPECT_THAT(ParseSize("--hard-bytes", "0"), IsOkAndHolds(0));
  EXPECT_THAT(ParseSize("--hard-bytes", "4096"), IsOkAndHolds(4096));
  EXPECT_THAT(ParseSize("--hard-bytes", "17B"), IsOkAndHolds(17));
  EXPECT_THAT(ParseSize("--hard-bytes", "3K"), IsOkAndHolds(3 << 10));
  EXPECT_THAT(ParseSize("--hard-bytes", "10GiB"), IsOkAndHolds(int64_t{10} << 30));
  EXPECT_THAT(ParseSize("--hard-bytes", "2TB"), IsOkAndHolds(int64_t{2} << 40));
  EXPECT_THAT(ParseSize("--hard-bytes", "8P"), IsOkAndHolds(int64_t{1} << 53));
}

TEST(QuotaText, NamesOptionAndLimitOfWhatIsNoSize) {
  for (const char* const nonsense :
       {"", "G", "-5", "-5G", "1.5G", "10 G", " 5", "5 ", "+5", "-0", "10g", "10GG", "10iB", "ten",
        "9P", "8PP", "9999999999999999999999", "9007199254740993"}) {
    const auto parsed = ParseSize("--hard-bytes", nonsense);
    EXPECT_FALSE(parsed.ok()) << nonsense;
    EXPECT_THAT(parsed.status().message(), HasSubstr("--hard-bytes: ")) << nonsense;
    EXPECT_THAT(parsed.status().message(), HasSubstr("from 0 to 8.0 PiB")) << nonsense;
  }
}

TEST(QuotaText, SaysWhatIsUsedAndEachLimitThatThereIs) {
  v1::QuotaUse use;
  use.set_used_bytes(900);
  use.set_used_files(3);
  EXPECT_EQ(QuotaText(use), "900 B used; 3 files used");
  use.mutable_quota()->set_soft_bytes(800);
  use.mutable_quota()->set_hard_bytes(1024);
  use.mutable_quota()->set_soft_files(3);
  EXPECT_EQ(QuotaText(use),
            "900 B used, soft 800 B (exceeded), hard 1.0 KiB; 3 files used, soft 3");
}

}  // namespace
}  // namespace backup::ctl
