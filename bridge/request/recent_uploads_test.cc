#include "bridge/request/recent_uploads.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

TEST(RecentUploads, KnowsTheNewestUploadOfEachName) {
  RecentUploads uploads;
  EXPECT_EQ(uploads.Find("a"), "");
  uploads.Remember("a", "1");
  uploads.Remember("b", "2");
  uploads.Remember("a", "3");
  EXPECT_EQ(uploads.Find("a"), "3");
  EXPECT_EQ(uploads.Find("b"), "2");
}

TEST(RecentUploads, ForgetsTheOldestBeyondItsBound) {
  RecentUploads uploads;
  for (size_t i = 0; i <= RecentUploads::kMaxUploads; ++i) uploads.Remember(absl::StrCat(i), "id");
  EXPECT_EQ(uploads.Find("0"), "");
  EXPECT_EQ(uploads.Find("1"), "id");
}

}  // namespace
}  // namespace backup::bridge
