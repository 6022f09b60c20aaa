#include "storage/s3/answers.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <pugixml.hpp>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/printable.h"
#include "storage/blob_store.h"

namespace backup::storage::s3 {
namespace {

constexpr absl::string_view kIso8601 = "%Y-%m-%dT%H:%M:%E*SZ";
constexpr absl::string_view kHttpDate = "%a, %d %b %Y %H:%M:%S GMT";
// Stores take what is less than 15 minutes wrong.
constexpr absl::Duration kWorthTelling = absl::Minutes(1);
// No clock that anybody set is so far from 1970.
constexpr absl::Duration kFarthest = absl::Hours(24 * 365 * 1000);

template <size_t kSize>
bool IsOneOf(absl::string_view word, const std::array<absl::string_view, kSize>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// The document's element of this name, which need not be at its very beginning; null if it is no
// XML or has another root.
pugi::xml_node Parse(pugi::xml_document& document, const std::string& xml, const char* root) {
  if (!document.load_buffer(xml.data(), xml.size())) return {};
  return document.child(root);
}

absl::Status NoAnswer(absl::string_view root) {
  return absl::DataLossError(absl::StrCat("an answer without <", root, ">"));
}

std::string Cut(absl::string_view text) {
  return Printable(text.substr(0, StoreError::kMaxMessageSize));
}

// What a store says that the time is; nothing if it is none. (Abseil reads any year, and
// "infinite-future".)
std::optional<absl::Time> ParseStoreTime(absl::string_view format, absl::string_view text) {
  absl::Time time;
  const bool is_time = absl::ParseTime(format, text, &time, nullptr) && time > absl::UnixEpoch() &&
                       time < absl::UnixEpoch() + kFarthest;
  return is_time ? std::optional(time) : std::nullopt;
}

// How wrong our clock is by the store's; zero if that is not known.
absl::Duration SkewOf(const HttpAnswer& answer, const StoreError& error, absl::Time now) {
  std::optional<absl::Time> theirs = ParseStoreTime(kIso8601, error.server_time);
  if (!theirs) theirs = ParseStoreTime(kHttpDate, answer.Header("date"));
  return theirs ? now - *theirs : absl::ZeroDuration();
}

// Whether our clock is so wrong by the store's that it refuses us.
bool IsSkewed(const HttpAnswer& answer, const StoreError& error, absl::Time now) {
  return error.code == "RequestTimeTooSkewed" ||
         (answer.status == 403 && absl::AbsDuration(SkewOf(answer, error, now)) > kWorthTelling);
}

// Whether what was refused may be for this one object: it was moved to an archive, or is locked.
bool IsOfOneObject(const HttpAnswer& answer, const StoreError& error, HttpRequest::Method method,
                   absl::Time now) {
  if (error.code == "InvalidObjectState") return true;
  return method == HttpRequest::Method::kDelete &&
         (answer.status == 405 || answer.status == 409 ||
          (error.code == "AccessDenied" && !IsSkewed(answer, error, now)));
}

// What there is to say of how the answer was, in parentheses.
std::string Told(const HttpAnswer& answer, const StoreError& error) {
  if (!answer.transport.ok()) return absl::StrCat("(", Printable(answer.transport.message()), ")");
  return absl::StrCat("(HTTP ", answer.status, error.code.empty() ? "" : " ", error.code,
                      error.message.empty() ? "" : ": ", error.message, ")");
}

// What is to be done about it; empty: nothing that we know of.
std::string Advice(const HttpAnswer& answer, const StoreError& error, absl::string_view right,
                   absl::Time now) {
  if (IsSkewed(answer, error, now)) {
    const absl::Duration skew = SkewOf(answer, error, now);
    if (skew == absl::ZeroDuration()) return "set this machine's clock";
    return absl::StrCat(
        "this machine's clock is ",
        absl::FormatDuration(absl::Trunc(absl::AbsDuration(skew), absl::Seconds(1))),
        skew < absl::ZeroDuration() ? " behind" : " ahead of", " the store's: set it");
  }
  if (error.code == "NoSuchBucket") return "there is no such bucket: make it, or correct its name";
  if (error.code == "InvalidAccessKeyId" || error.code == "SignatureDoesNotMatch")
    return "correct the access key";
  if (error.code == "ExpiredToken" || error.code == "InvalidToken")
    return "renew the session token";
  if (error.code == "InvalidObjectState")
    return "bring it back from where a lifecycle rule moved it, and end that rule";
  if (answer.status == 403)
    return absl::StrCat("allow this access key to do it (", right, " in a policy)");
  const absl::string_view region = answer.Header("x-amz-bucket-region");
  if (answer.status / 100 == 3 || error.code == "AuthorizationHeaderMalformed") {
    return region.empty() ? "correct the region or the endpoint"
                          : absl::StrCat("the bucket is in the region ", Cut(region));
  }
  return "";
}

}  // namespace

StoreError ErrorOf(const HttpAnswer& answer) {
  pugi::xml_document document;
  const pugi::xml_node error = Parse(document, answer.body, "Error");
  return {Cut(error.child_value("Code")), Cut(error.child_value("Message")),
          error.child_value("ServerTime")};
}

bool HasErrorBody(const HttpAnswer& answer) {
  pugi::xml_document document;
  return static_cast<bool>(Parse(document, answer.body, "Error"));
}

bool IsBusy(const HttpAnswer& answer) {
  if (!answer.transport.ok()) return false;
  constexpr std::array<absl::string_view, 4> kCodes = {
      "SlowDown", "TooManyRequests", "RequestLimitExceeded", "ServiceUnavailable"};
  return answer.status == 503 || answer.status == 429 || IsOneOf(ErrorOf(answer).code, kCodes);
}

bool IsTransient(const HttpAnswer& answer) {
  if (!answer.transport.ok()) return !absl::IsFailedPrecondition(answer.transport);
  // The last four: of a body that was changed or cut on its way, and of a condition that another
  // try of the same request is in the way of.
  constexpr std::array<absl::string_view, 7> kCodes = {"InternalError",
                                                       "RequestTimeout",
                                                       "OperationAborted",
                                                       "IncompleteBody",
                                                       "XAmzContentSHA256Mismatch",
                                                       "BadDigest",
                                                       "ConditionalRequestConflict"};
  // Insufficient storage (507) does not pass so soon.
  return answer.status == 500 || answer.status == 502 || answer.status == 504 ||
         answer.status == 408 || IsBusy(answer) || IsOneOf(ErrorOf(answer).code, kCodes);
}

absl::Duration RetryAfter(const HttpAnswer& answer) {
  int64_t seconds = 0;
  const bool is_told = absl::SimpleAtoi(answer.Header("retry-after"), &seconds) && seconds > 0;
  return is_told ? absl::Seconds(seconds) : absl::ZeroDuration();
}

bool RefusesCredentials(const HttpAnswer& answer) {
  constexpr std::array<absl::string_view, 3> kCodes = {"ExpiredToken", "InvalidToken",
                                                       "TokenRefreshRequired"};
  return answer.transport.ok() &&
         (answer.status == 401 || answer.status == 403 || IsOneOf(ErrorOf(answer).code, kCodes));
}

absl::Status Away(absl::string_view what) {
  return MakeError(Reason::kBackendDown, what, kBlobsSubject);
}

absl::Status ToStatus(const HttpAnswer& answer, HttpRequest::Method method, absl::string_view doing,
                      absl::string_view right, absl::Time now) {
  const StoreError error = ErrorOf(answer);
  const std::string what =
      absl::StrCat("the object store cannot ", doing, " ", Told(answer, error));
  if (absl::IsFailedPrecondition(answer.transport)) {
    return Away(
        absl::StrCat("correct the endpoint, its certificate, or whom to trust "
                     "(--s3_endpoint, --s3_ca_file): ",
                     what));
  }
  if (!answer.transport.ok()) return Away(what);
  constexpr std::array<absl::string_view, 4> kFull = {
      "QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "InsufficientCapacity"};
  if (answer.status == 507 || IsOneOf(error.code, kFull))
    return MakeError(Reason::kStorageFull, absl::StrCat("make room and try again: ", what),
                     kBlobsSubject);
  // A bucket that is gone, or whatever else answers in the store's place, has lost no blob. Nothing
  // is told in answers to HEAD.
  if (answer.status == 404 && (method == HttpRequest::Method::kHead || error.code == "NoSuchKey" ||
                               error.code == "NoSuchUpload"))
    return absl::NotFoundError(what);
  if (answer.status == 416) return absl::OutOfRangeError(what);
  if (answer.status == 412) return absl::AlreadyExistsError(what);
  if (IsBusy(answer)) return MakeError(Reason::kOverloaded, what, kBlobsSubject);
  const std::string advice = Advice(answer, error, right, now);
  const std::string told = advice.empty() ? what : absl::StrCat(advice, ": ", what);
  if (IsOfOneObject(answer, error, method, now)) return MakeError(Reason::kStorageIo, told);
  return Away(told);
}

absl::Status Senseless(absl::string_view doing, absl::string_view what) {
  return MakeError(Reason::kStorageIo, absl::StrCat("the object store was to ", doing,
                                                    ", and its answer makes no sense: ", what));
}

absl::StatusOr<ObjectPage> ParseObjectPage(const std::string& xml) {
  pugi::xml_document document;
  const pugi::xml_node root = Parse(document, xml, "ListBucketResult");
  if (!root) return NoAnswer("ListBucketResult");
  ObjectPage page;
  for (const pugi::xml_node entry : root.children("Contents")) {
    ListedObject object{entry.child_value("Key"), 0, entry.child_value("LastModified")};
    if (!absl::SimpleAtoi(entry.child_value("Size"), &object.size_bytes) || object.size_bytes < 0)
      return absl::DataLossError("a listed object without a size");
    page.objects.push_back(std::move(object));
  }
  if (absl::string_view(root.child_value("IsTruncated")) == "true") {
    page.next = root.child_value("NextContinuationToken");
    if (page.next.empty()) return absl::DataLossError("a listing that does not say how it goes on");
  }
  return page;
}

absl::StatusOr<UploadPage> ParseUploadPage(const std::string& xml) {
  pugi::xml_document document;
  const pugi::xml_node root = Parse(document, xml, "ListMultipartUploadsResult");
  if (!root) return NoAnswer("ListMultipartUploadsResult");
  UploadPage page;
  for (const pugi::xml_node entry : root.children("Upload")) {
    page.uploads.push_back(
        {entry.child_value("Key"), entry.child_value("UploadId"), entry.child_value("Initiated")});
  }
  if (absl::string_view(root.child_value("IsTruncated")) == "true") {
    page.next_key = root.child_value("NextKeyMarker");
    page.next_upload = root.child_value("NextUploadIdMarker");
    if (page.next_key.empty())
      return absl::DataLossError("a listing that does not say how it goes on");
  }
  return page;
}

absl::StatusOr<std::string> ParseUploadId(const std::string& xml) {
  pugi::xml_document document;
  const pugi::xml_node root = Parse(document, xml, "InitiateMultipartUploadResult");
  std::string id = root.child_value("UploadId");
  if (id.empty()) return NoAnswer("UploadId");
  return id;
}

std::string PartListXml(const std::vector<std::string>& etags) {
  pugi::xml_document document;
  pugi::xml_node root = document.append_child("CompleteMultipartUpload");
  int number = 0;
  for (const std::string& etag : etags) {
    pugi::xml_node part = root.append_child("Part");
    part.append_child("PartNumber").text().set(++number);
    part.append_child("ETag").text().set(etag.c_str());
  }
  std::ostringstream xml;
  document.save(xml, "", pugi::format_raw | pugi::format_no_declaration);
  return xml.str();
}

}  // namespace backup::storage::s3
