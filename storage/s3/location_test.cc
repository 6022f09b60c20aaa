#include "storage/s3/location.h"

#include "base/testing/status_matchers.h"

namespace backup::storage::s3 {
namespace {

Location Parse(absl::string_view url, absl::string_view endpoint = "http://store:80",
               absl::string_view addressing = "path") {
  return ParseLocation(url, endpoint, "us-east-1", addressing).value();
}

TEST(Location, NamesObjectsAndTheBucketInBothWays) {
  EXPECT_EQ(UrlOf(Parse("s3://bucket/a/b"), "a/b/key", {}), "http://store:80/bucket/a/b/key");
  EXPECT_EQ(UrlOf(Parse("s3://bucket", "http://store", "virtual"), "key", {}),
            "http://bucket.store/key");
  EXPECT_EQ(UrlOf(Parse("s3://bucket/"), "", {}), "http://store:80/bucket/");
}

TEST(Location, SortsAndEncodesTheQuery) {
  EXPECT_EQ(UrlOf(Parse("s3://bucket"), "key",
                  {{"uploads", ""}, {"prefix", "a/b c+\xC3\xA9"}, {"max-keys", "1"}}),
            "http://store:80/bucket/key?max-keys=1&prefix=a%2Fb%20c%2B%C3%A9&uploads=");
}

TEST(Location, EndsAPrefixWithASlash) {
  EXPECT_EQ(Parse("s3://bucket").prefix, "");
  EXPECT_EQ(Parse("s3://bucket/").prefix, "");
  EXPECT_EQ(Parse("s3://bucket/a").prefix, "a/");
  EXPECT_EQ(Parse("s3://bucket/a/").prefix, "a/");
}

TEST(Location, IsThatOfAwsUnlessToldOtherwise) {
  EXPECT_EQ(ParseLocation("s3://bucket", "", "eu-central-1", "path").value().endpoint,
            "https://s3.eu-central-1.amazonaws.com");
}

TEST(Location, RefusesWhatCannotBeOne) {
  for (const absl::string_view url :
       {"", "bucket", "http://bucket", "s3://", "s3://ab", "s3://Bucket", "s3://-bucket",
        "s3://bucket-", "s3://buc ket", "s3://bucket/a//b", "s3://bucket/../a", "s3://bucket/.",
        "s3://bucket/a b", "s3://bucket/a?b", "s3://bucket/a%2F"}) {
    EXPECT_THAT(ParseLocation(url, "http://store", "r", "path"),
                testing::StatusIs(absl::StatusCode::kInvalidArgument))
        << url;
  }
  for (const absl::string_view endpoint :
       {"store", "ftp://store", "http://", "http://user@store", "http://store/path",
        "http://store?query", "http://st ore"}) {
    EXPECT_THAT(ParseLocation("s3://bucket", endpoint, "r", "path"),
                testing::StatusIs(absl::StatusCode::kInvalidArgument))
        << endpoint;
  }
  for (const absl::string_view region : {"", "a:b", "a b"})
    EXPECT_FALSE(ParseLocation("s3://bucket", "http://store", region, "path").ok()) << region;
  EXPECT_FALSE(ParseLocation("s3://bucket", "http://store", "r", "host").ok());
  EXPECT_FALSE(
      ParseLocation("s3://bucket/" + std::string(kMaxPrefixSize + 1, 'a'), "", "r", "path").ok());
}

}  // namespace
}  // namespace backup::storage::s3
