#include "storage/s3/answers.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "storage/blob_store.h"

namespace backup::storage::s3 {
namespace {

using testing::HasReason;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::StatusIs;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);  // 2027-01-15T08:00:00Z.

HttpAnswer Answer(int status, absl::string_view code = "", absl::string_view more = "") {
  HttpAnswer answer;
  answer.status = status;
  if (!code.empty()) {
    answer.body = absl::StrCat("<?xml version=\"1.0\"?>\n<Error><Code>", code,
                               "</Code><Message>why</Message>", more, "</Error>");
  }
  return answer;
}

absl::Status StatusOf(const HttpAnswer& answer,
                      HttpRequest::Method method = HttpRequest::Method::kGet) {
  return ToStatus(answer, method, "do it", "s3:DoIt", kNow);
}

std::string MessageOf(const HttpAnswer& answer) { return std::string(StatusOf(answer).message()); }

TEST(Answers, MeanWhatAnOperatorOrAClientCanDo) {
  const auto status = [](const HttpAnswer& answer) { return StatusOf(answer); };
  EXPECT_THAT(status(Answer(404, "NoSuchKey")), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(StatusOf(Answer(404), HttpRequest::Method::kHead),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(status(Answer(412, "PreconditionFailed")),
              StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(status(Answer(416, "InvalidRange")), StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(status(Answer(404, "NoSuchBucket")), HasReason(Reason::kBackendDown));
  EXPECT_THAT(status(Answer(403, "AccessDenied")), HasReason(Reason::kBackendDown));
  EXPECT_THAT(status(Answer(403, "QuotaExceeded")), HasReason(Reason::kStorageFull));
  EXPECT_THAT(status(Answer(507)), HasReason(Reason::kStorageFull));
  EXPECT_THAT(status(Answer(503, "SlowDown")), HasReason(Reason::kOverloaded));
  EXPECT_THAT(status(Answer(500, "InternalError")), HasReason(Reason::kBackendDown));
  HttpAnswer none;
  none.transport = absl::UnavailableError("no connection");
  EXPECT_THAT(status(none), HasReason(Reason::kBackendDown));
  EXPECT_THAT(MessageOf(none), HasSubstr("no connection"));
}

TEST(Answers, DoNotMakeABlobMissingUnlessTheStoreSaysSo) {
  HttpAnswer page = Answer(404);
  page.body = "<html>not found</html>";
  EXPECT_THAT(StatusOf(page), HasReason(Reason::kBackendDown));
  // As of a gateway without a route.
  EXPECT_THAT(StatusOf(Answer(404)), HasReason(Reason::kBackendDown));
  EXPECT_THAT(StatusOf(Answer(404), HttpRequest::Method::kDelete), HasReason(Reason::kBackendDown));
}

TEST(Answers, SayThatNothingIsKnownOfBlobs) {
  HttpAnswer none;
  none.transport = absl::UnavailableError("no connection");
  EXPECT_TRUE(SaysStoreIsAway(StatusOf(none)));
  EXPECT_TRUE(SaysStoreIsAway(StatusOf(Answer(503, "SlowDown"))));
  EXPECT_TRUE(SaysStoreIsAway(StatusOf(Answer(404, "NoSuchBucket"))));
  EXPECT_FALSE(SaysStoreIsAway(StatusOf(Answer(404, "NoSuchKey"))));
  EXPECT_FALSE(SaysStoreIsAway(StatusOf(Answer(507))));
  EXPECT_FALSE(SaysStoreIsAway(Senseless("do it", "it")));
}

// What is about one object stops nobody who wants others.
TEST(Answers, MayBeAboutOneObjectAlone) {
  const auto is_about_it = [](const HttpAnswer& answer, HttpRequest::Method method) {
    const absl::Status status = StatusOf(answer, method);
    EXPECT_EQ(SaysStoreIsAway(status), ReasonOf(status) != Reason::kStorageIo);
    return !SaysStoreIsAway(status);
  };
  EXPECT_TRUE(is_about_it(Answer(403, "InvalidObjectState"), HttpRequest::Method::kGet));
  for (const HttpAnswer& answer :
       {Answer(403, "AccessDenied"), Answer(405, "MethodNotAllowed"), Answer(409, "Locked")}) {
    EXPECT_TRUE(is_about_it(answer, HttpRequest::Method::kDelete));
    EXPECT_FALSE(is_about_it(answer, HttpRequest::Method::kGet));
  }
  for (const std::string code :
       {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "RequestTimeTooSkewed"})
    EXPECT_FALSE(is_about_it(Answer(403, code), HttpRequest::Method::kDelete)) << code;
}

TEST(Answers, DoNotPassIfOnlyAnOperatorCanMendThem) {
  HttpAnswer none;
  none.transport = absl::FailedPreconditionError("certificate");
  EXPECT_FALSE(IsTransient(none));
  EXPECT_THAT(MessageOf(none), HasSubstr("--s3_ca_file"));
}

TEST(Answers, SayHowLongToWait) {
  HttpAnswer answer = Answer(503);
  EXPECT_EQ(RetryAfter(answer), absl::ZeroDuration());
  answer.headers = {{"retry-after", "7"}};
  EXPECT_EQ(RetryAfter(answer), absl::Seconds(7));
  answer.headers = {{"retry-after", "Fri, 15 Jan 2027 07:00:00 GMT"}};
  EXPECT_EQ(RetryAfter(answer), absl::ZeroDuration());
}

TEST(Answers, TellHowWrongTheClockIs) {
  EXPECT_THAT(MessageOf(Answer(403, "RequestTimeTooSkewed",
                               "<ServerTime>2027-01-15T08:20:00.5Z</ServerTime>")),
              HasSubstr("this machine's clock is 20m behind the store's: set it"));
  // Also where there is no room for an error, and where the store says something else.
  HttpAnswer head = Answer(403);
  head.headers = {{"date", "Fri, 15 Jan 2027 07:00:00 GMT"}};
  EXPECT_THAT(MessageOf(head), HasSubstr("this machine's clock is 1h ahead of the store's"));
  head.headers = {{"date", "Fri, 15 Jan 2027 08:00:20 GMT"}};
  EXPECT_THAT(MessageOf(head), Not(HasSubstr("clock")));
  // No time, though Abseil reads it as one.
  head.headers = {{"date", "infinite-future"}};
  EXPECT_THAT(MessageOf(head), Not(HasSubstr("clock")));
  EXPECT_THAT(MessageOf(Answer(403, "AccessDenied",
                               "<ServerTime>99999999999-01-01T00:00:00Z</ServerTime>")),
              Not(HasSubstr("clock")));
  EXPECT_THAT(MessageOf(Answer(403, "RequestTimeTooSkewed")),
              HasSubstr("set this machine's clock: the object store"));
}

TEST(Answers, TellWhatToCorrect) {
  EXPECT_THAT(MessageOf(Answer(404, "NoSuchBucket")), HasSubstr("there is no such bucket"));
  EXPECT_THAT(MessageOf(Answer(403, "SignatureDoesNotMatch")), HasSubstr("correct the access key"));
  EXPECT_THAT(MessageOf(Answer(403, "AccessDenied")), HasSubstr("allow this access key"));
  EXPECT_THAT(MessageOf(Answer(403, "AccessDenied")), HasSubstr("s3:DoIt"));
  HttpAnswer elsewhere = Answer(301, "PermanentRedirect");
  elsewhere.headers = {{"x-amz-bucket-region", "eu-west-1"}};
  EXPECT_THAT(MessageOf(elsewhere), HasSubstr("the bucket is in the region eu-west-1"));
  elsewhere.headers = {{"x-amz-bucket-region", std::string(5000, 'r')}};
  EXPECT_LT(MessageOf(elsewhere).size(), 1000u);
}

TEST(Answers, AreCleanedBeforeTheyAreShown) {
  HttpAnswer answer = Answer(400, "Odd\n\x1B[2J");
  EXPECT_THAT(MessageOf(answer), Not(::testing::ContainsRegex("[\n\x1B]")));
  answer.body = absl::StrCat("<Error><Message>", std::string(100'000, 'x'), "</Message></Error>");
  EXPECT_LT(MessageOf(answer).size(), 1000u);
}

TEST(Answers, AreTriedAgainIfTheyMayPass) {
  for (const int status : {408, 429, 500, 502, 503, 504}) EXPECT_TRUE(IsTransient(Answer(status)));
  EXPECT_TRUE(IsTransient(Answer(400, "RequestTimeout")));
  EXPECT_TRUE(IsTransient(Answer(200, "InternalError")));
  EXPECT_TRUE(IsTransient(Answer(409, "OperationAborted")));
  EXPECT_TRUE(IsTransient(Answer(409, "ConditionalRequestConflict")));
  EXPECT_TRUE(IsTransient(Answer(400, "IncompleteBody")));
  EXPECT_TRUE(IsTransient(Answer(400, "XAmzContentSHA256Mismatch")));
  for (const int status : {200, 204, 206, 301, 400, 403, 404, 409, 412, 507})
    EXPECT_FALSE(IsTransient(Answer(status))) << status;
}

TEST(Answers, RefuseCredentialsInSeveralWays) {
  EXPECT_TRUE(RefusesCredentials(Answer(403)));
  EXPECT_TRUE(RefusesCredentials(Answer(403, "AccessDenied")));
  EXPECT_TRUE(RefusesCredentials(Answer(400, "ExpiredToken")));
  EXPECT_FALSE(RefusesCredentials(Answer(400, "InvalidRequest")));
  EXPECT_FALSE(RefusesCredentials(Answer(404, "NoSuchKey")));
}

TEST(Answers, HoldPagesOfListings) {
  const auto page = ParseObjectPage(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult "
      "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><IsTruncated>true</IsTruncated>"
      "<NextContinuationToken>a&amp;b</NextContinuationToken>"
      "<Contents><Key>x/1</Key><Size>5000000000</Size></Contents>"
      "<Contents><Size>0</Size><Key>x/2</Key></Contents></ListBucketResult>");
  ASSERT_OK(page);
  ASSERT_EQ(page->objects.size(), 2u);
  EXPECT_EQ(page->objects[0].key, "x/1");
  EXPECT_EQ(page->objects[0].size_bytes, 5'000'000'000);
  EXPECT_EQ(page->next, "a&b");
  EXPECT_EQ(ParseObjectPage("<ListBucketResult/>").value().next, "");
}

TEST(Answers, HoldPagesOfUploads) {
  const auto page = ParseUploadPage(
      "<ListMultipartUploadsResult><Upload><Key>k</Key><UploadId>u</UploadId>"
      "<Initiated>2027-01-15T08:00:00Z</Initiated></Upload><IsTruncated>true</IsTruncated>"
      "<NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker>"
      "</ListMultipartUploadsResult>");
  ASSERT_OK(page);
  ASSERT_EQ(page->uploads.size(), 1u);
  EXPECT_EQ(page->uploads[0].upload_id, "u");
  EXPECT_EQ(page->next_key, "k");
  EXPECT_EQ(page->next_upload, "u");
}

TEST(Answers, MayHaveNothingOfWhatWasAskedFor) {
  for (const std::string xml :
       {"", "{}", "<html></html>", "<ListBucketResult", "<Error/>",
        "<ListBucketResult><Contents><Key>k</Key></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Size>-1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated></"
        "ListMultipartUploadsResult>"}) {
    EXPECT_FALSE(ParseObjectPage(xml).ok()) << xml;
    EXPECT_FALSE(ParseUploadPage(xml).ok()) << xml;
    EXPECT_FALSE(ParseUploadId(xml).ok()) << xml;
  }
  EXPECT_EQ(ParseUploadId("  \n<InitiateMultipartUploadResult><UploadId>id</UploadId>"
                          "</InitiateMultipartUploadResult>")
                .value(),
            "id");
}

TEST(Answers, NameAllPartsToBeCompleted) {
  EXPECT_EQ(PartListXml({"\"a\"", "\"b\""}),
            "<CompleteMultipartUpload>"
            "<Part><PartNumber>1</PartNumber><ETag>\"a\"</ETag></Part>"
            "<Part><PartNumber>2</PartNumber><ETag>\"b\"</ETag></Part>"
            "</CompleteMultipartUpload>");
}

}  // namespace
}  // namespace backup::storage::s3
