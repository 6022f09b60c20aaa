// What an object store answers, and where an operator says that it is: a meaning for each answer,
// told in one bounded line, and a URL that cannot leave the place that was given. Credentials, from
// a file of any content: whole ones, or an error that tells nothing of the file.

#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/printable.h"
#include "base/unique_fd.h"
#include "glog/logging.h"
#include "storage/s3/answers.h"
#include "storage/s3/credentials.h"
#include "storage/s3/location.h"
#include "tests/fuzz/fuzz_target.h"

namespace backup::fuzz {
namespace {

using namespace storage::s3;  // NOLINT: all of it.

constexpr size_t kMaxMessage = 2000;
const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

HttpAnswer TakeAnswer(Input& input) {
  constexpr int kStatuses[] = {200, 301, 400, 401, 403, 404, 405, 408, 409,
                               412, 416, 429, 500, 502, 503, 504, 507, 0};
  HttpAnswer answer;
  answer.status = kStatuses[input.Below(std::size(kStatuses))];
  if (input.Byte() % 16 == 0) answer.transport = absl::UnavailableError(input.Text(300));
  if (input.Byte() % 16 == 0) answer.transport = absl::FailedPreconditionError(input.Text(300));
  for (const char* name : {"date", "retry-after", "x-amz-bucket-region"})
    if (input.Flag()) answer.headers.emplace_back(name, input.Text(3000));
  return answer;
}

void TryAnswer(Input& input) {
  constexpr HttpRequest::Method kMethods[] = {HttpRequest::Method::kGet, HttpRequest::Method::kHead,
                                              HttpRequest::Method::kPut, HttpRequest::Method::kPost,
                                              HttpRequest::Method::kDelete};
  const HttpRequest::Method method = kMethods[input.Below(std::size(kMethods))];
  HttpAnswer answer = TakeAnswer(input);
  answer.body = std::string(input.Rest());
  const StoreError error = ErrorOf(answer);
  CHECK(HasErrorBody(answer) || (error.code.empty() && error.message.empty()));
  CHECK(Printable(error.code) == error.code && Printable(error.message) == error.message);
  CHECK_GE(RetryAfter(answer), absl::ZeroDuration());
  CHECK(!IsBusy(answer) || IsTransient(answer));
  (void)RefusesCredentials(answer);
  const absl::Status status = ToStatus(answer, method, "do it", "s3:DoIt", kNow);
  CHECK(!status.ok());
  CHECK(Printable(status.message()) == status.message());
  CHECK_LE(status.message().size(), kMaxMessage);
  CHECK(!absl::StartsWith(status.message(), "this machine's clock is inf"));
}

void TryListings(const std::string& xml) {
  if (const auto page = ParseObjectPage(xml); page.ok()) {
    for (const ListedObject& object : page->objects) CHECK_GE(object.size_bytes, 0);
    CHECK_LE(page->objects.size(), xml.size());
  }
  if (const auto page = ParseUploadPage(xml); page.ok())
    CHECK(page->next_upload.empty() || !page->next_key.empty());
  if (const auto id = ParseUploadId(xml); id.ok()) CHECK(!id->empty());
  std::vector<std::string> etags = {xml.substr(0, xml.find('\0')), "\"quoted\""};
  CHECK(absl::StrContains(PartListXml(etags), "<PartNumber>2</PartNumber><ETag>\"quoted\"</ETag>"));
}

void TryLocation(Input& input) {
  const char* const scheme = input.Flag() ? "s3://" : "";
  const std::string url = absl::StrCat(scheme, input.Text(600));
  const char* const endpoint_scheme = input.Flag() ? "https://" : "";
  const std::string endpoint = absl::StrCat(endpoint_scheme, input.Text(300));
  const std::string region = input.Flag() ? "us-east-1" : std::string(input.Text(80));
  const char* const kAddressings[] = {"path", "virtual", "other"};
  const auto location = ParseLocation(url, endpoint, region, kAddressings[input.Below(3)]);
  if (!location.ok()) {
    CHECK(absl::IsInvalidArgument(location.status()));
    CHECK(Printable(location.status().message()) == location.status().message());
    return;
  }
  CHECK(location->prefix.empty() || absl::EndsWith(location->prefix, "/"));
  const std::string text(input.Rest());
  const std::string key = location->prefix + "blobs/" + PercentEncoded(text);
  const std::string made = UrlOf(*location, key, {{"prefix", text}, {"list-type", "2"}});
  CHECK(Printable(made) == made && !absl::StrContains(made, ' ') &&
        !absl::StrContains(made, "/../"));
  CHECK(absl::StartsWith(made, "https://") || absl::StartsWith(made, "http://"));
  CHECK(absl::StrContains(made,
                          absl::StrCat("/", key, "?list-type=2&prefix=", PercentEncoded(text))));
}

// A file of this content, as long as it is open.
UniqueFd FileOf(absl::string_view content) {
  UniqueFd file(::memfd_create("credentials", MFD_CLOEXEC));
  CHECK(file.valid());
  CHECK_EQ(::write(file.get(), content.data(), content.size()), std::ssize(content));
  return file;
}

void CheckCredentials(const absl::StatusOr<Credentials>& credentials, absl::string_view text) {
  if (!credentials.ok()) {
    CHECK(absl::IsInvalidArgument(credentials.status()));
    return;
  }
  for (const std::string& value : {credentials->access_key, credentials->secret_key}) {
    CHECK(!value.empty() && Printable(value) == value && !absl::StrContains(value, ' '));
    CHECK(absl::StrContains(text, value));
  }
}

void TryCredentials(Input& input) {
  const std::string value(input.Text(300));
  const bool is_given = input.Flag();
  const int from = static_cast<int>(input.Below(3));
  const std::string text(input.Rest());
  CheckCredentials(ParseCredentials(text, "default"), text);
  const UniqueFd file = FileOf(text);
  const std::string path = absl::StrCat("/proc/self/fd/", file.get());
  CredentialsOptions options;
  if (from == 0) options.file = path;
  options.environment = [&](const char* name) -> const char* {
    const absl::string_view asked = name;
    if (from == 1 && (asked == "AWS_ACCESS_KEY_ID" || asked == "AWS_SECRET_ACCESS_KEY"))
      return value.c_str();
    if (asked == "AWS_PROFILE" && is_given) return "other";
    return asked == "AWS_SHARED_CREDENTIALS_FILE" && from == 2 ? path.c_str() : nullptr;
  };
  options.reload_interval = {};
  const auto source = CredentialsSource::Open(options);
  if (!source.ok()) {
    CHECK(text.size() < 8 || !absl::StrContains(source.status().message(), text));
    return;
  }
  CHECK(!(*source)->Get()->access_key.empty());
  const Credentials read = *(*source)->Get();
  CHECK(!(*source)->Reload(read));  // They are the same as before.
  CHECK((*source)->Reload({"another", "one", ""}));
}

}  // namespace

void TryInput(absl::string_view bytes) {
  Input input(bytes);
  switch (input.Below(4)) {
    case 0:
      return TryAnswer(input);
    case 1:
      return TryListings(std::string(input.Rest()));
    case 2:
      return TryLocation(input);
    default:
      return TryCredentials(input);
  }
}

}  // namespace backup::fuzz
