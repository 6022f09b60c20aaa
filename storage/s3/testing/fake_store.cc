#include "storage/s3/testing/fake_store.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/hex.h"
#include "crypto/hmac_sha256.h"
#include "crypto/sha256.h"
#include "glog/logging.h"
#include "storage/s3/testing/fault_proxy.h"
#include "storage/s3/testing/loopback_server.h"

namespace backup::storage::s3 {
namespace {

constexpr size_t kMaxHeadSize = size_t{64} << 10;
constexpr char kLongAgo[] = "2020-01-01T00:00:00.000Z";
constexpr absl::string_view kMaker = "x-amz-meta-maker";

std::string HexSha256(absl::string_view bytes) {
  crypto::Sha256 sha256;
  sha256.Update(bytes);
  return absl::BytesToHexString(sha256.Finish());
}

std::string Hmac(absl::string_view key, absl::string_view text) {
  crypto::HmacSha256 hmac(key);
  hmac.Update(text);
  return hmac.Finish();
}

std::string Decoded(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += HexToBytes(text.substr(i + 1, 2)).value_or("");
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string Error(int status, absl::string_view code) {
  return absl::StrCat("<Error><Code>", code, "</Code><Message>", status, "</Message></Error>");
}

// Between two words, from `from` on, which moves behind the second; empty if they are not there.
std::string Between(const std::string& text, const std::string& begin, const std::string& end,
                    size_t& from) {
  const size_t first = text.find(begin, from);
  if (first == std::string::npos) return "";
  const size_t last = text.find(end, first + begin.size());
  if (last == std::string::npos) return "";
  from = last + end.size();
  return text.substr(first + begin.size(), last - first - begin.size());
}

std::string ValueOf(const std::map<std::string, std::string>& map, const std::string& name) {
  const auto found = map.find(name);
  return found == map.end() ? "" : found->second;
}

}  // namespace

FakeStore::FakeStore(Credentials credentials)
    : credentials_(std::move(credentials)),
      server_([this](UniqueFd client) { Serve(client.get()); }) {}

void FakeStore::set_quirks(Quirks quirks) {
  MutexLock lock(mutex_);
  quirks_ = std::move(quirks);
}

std::vector<std::string> FakeStore::requests() const {
  MutexLock lock(mutex_);
  return requests_;
}

void FakeStore::MakeBucket(const std::string& bucket) {
  MutexLock lock(mutex_);
  buckets_.insert(bucket);
}

void FakeStore::PutObject(const std::string& bucket, const std::string& key,
                          const std::string& bytes) {
  MutexLock lock(mutex_);
  objects_[absl::StrCat(bucket, "/", key)] = {std::make_shared<const std::string>(bytes),
                                              HexSha256(bytes), ""};
}

void FakeStore::Empty() {
  MutexLock lock(mutex_);
  objects_.clear();
  uploads_.clear();
}

std::vector<std::string> FakeStore::keys() const {
  MutexLock lock(mutex_);
  std::vector<std::string> keys;
  for (const auto& [key, object] : objects_) keys.push_back(key);
  return keys;
}

size_t FakeStore::uploads() const {
  MutexLock lock(mutex_);
  return uploads_.size();
}

void FakeStore::Serve(int fd) {
  std::string rest;
  for (int answers = 0;; ++answers) {
    const std::optional<Request> request = Read(fd, rest);
    if (!request) return;
    std::function<std::optional<std::string>(const Request&)> before;
    {
      MutexLock lock(mutex_);
      requests_.push_back(absl::StrCat(request->method, " ", request->target));
      if (answers >= quirks_.answers_a_connection) return;
      before = quirks_.before;
    }
    if (const auto instead = before ? before(*request) : std::nullopt) {
      SendAll(fd, *instead);
      ::shutdown(fd, SHUT_RDWR);
      return;
    }
    if (!Write(fd, *request, Do(*request)) || ValueOf(request->headers, "connection") == "close")
      return;
  }
}

std::optional<FakeStore::Request> FakeStore::Read(int fd, std::string& rest) const {
  std::array<char, 256 << 10> buffer;
  const auto read_more = [&] {
    while (!server_.is_stopped()) {
      pollfd wait = {fd, POLLIN, 0};
      if (::poll(&wait, 1, kPollMilliseconds) == 0) continue;
      const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
      if (got > 0) rest.append(buffer.data(), static_cast<size_t>(got));
      return got > 0;
    }
    return false;
  };
  size_t end = 0;
  while ((end = rest.find("\r\n\r\n")) == std::string::npos) {
    if (rest.size() > kMaxHeadSize || !read_more()) return std::nullopt;
  }
  const std::vector<std::string> lines = absl::StrSplit(rest.substr(0, end), "\r\n");
  rest.erase(0, end + 4);
  const std::vector<std::string> words = absl::StrSplit(lines[0], ' ');
  if (words.size() != 3) return std::nullopt;
  Request request;
  request.method = words[0];
  request.target = words[1];
  for (size_t i = 1; i < lines.size(); ++i) {
    const std::pair<std::string, std::string> header =
        absl::StrSplit(lines[i], absl::MaxSplits(':', 1));
    request.headers[absl::AsciiStrToLower(header.first)] =
        std::string(absl::StripAsciiWhitespace(header.second));
  }
  size_t size = 0;
  if (const std::string length = ValueOf(request.headers, "content-length"); !length.empty())
    CHECK(absl::SimpleAtoi(length, &size));
  if (request.headers.contains("expect")) SendAll(fd, "HTTP/1.1 100 Continue\r\n\r\n");
  while (rest.size() < size)
    if (!read_more()) return std::nullopt;
  request.body = rest.substr(0, size);
  rest.erase(0, size);

  const std::pair<std::string, std::string> parts =
      absl::StrSplit(request.target, absl::MaxSplits('?', 1));
  absl::string_view path = parts.first;
  absl::ConsumePrefix(&path, "/");
  const std::string host = ValueOf(request.headers, "host");
  if (const size_t dot = host.find(".localhost"); dot != std::string::npos) {
    request.bucket = host.substr(0, dot);
    request.key = Decoded(path);
  } else {
    const std::pair<absl::string_view, absl::string_view> names =
        absl::StrSplit(path, absl::MaxSplits('/', 1));
    request.bucket = std::string(names.first);
    request.key = Decoded(names.second);
  }
  for (const absl::string_view one : absl::StrSplit(parts.second, '&', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(one, absl::MaxSplits('=', 1));
    request.query[Decoded(pair.first)] = Decoded(pair.second);
  }
  return request;
}

bool FakeStore::Write(int fd, const Request& request, const Answer& answer) const {
  const absl::string_view body =
      answer.content ? absl::string_view(*answer.content).substr(answer.begin, answer.size)
                     : absl::string_view(answer.body);
  const bool is_head = request.method == "HEAD";
  return SendAll(fd, absl::StrCat("HTTP/1.1 ", answer.status, " Told\r\n", answer.headers,
                                  answer.status == 204
                                      ? ""
                                      : absl::StrCat("Content-Length: ", body.size(), "\r\n"),
                                  "\r\n")) &&
         (is_head || SendAll(fd, body));
}

// AWS Signature Version 4.
bool FakeStore::IsSigned(const Request& request) const {
  const std::string authorization = ValueOf(request.headers, "authorization");
  size_t from = 0;
  const std::string access_key = Between(authorization, "Credential=", "/", from);
  const std::string scope = Between(authorization, "", ",", from);
  const std::string names = Between(authorization, "SignedHeaders=", ",", from);
  const size_t signature = authorization.find("Signature=", from);
  const std::vector<std::string> scopes = absl::StrSplit(scope, '/');
  if (access_key != credentials_.access_key || scopes.size() != 4 ||
      signature == std::string::npos || !absl::StrContains(names, "host") ||
      !absl::StrContains(names, "x-amz-content-sha256"))
    return false;
  std::string headers;
  for (const std::string& name : std::vector<std::string>(absl::StrSplit(names, ';')))
    absl::StrAppend(&headers, name, ":", ValueOf(request.headers, name), "\n");
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(request.target, absl::MaxSplits('?', 1));
  std::vector<std::string> query = absl::StrSplit(parts.second, '&', absl::SkipEmpty());
  for (std::string& one : query)
    if (!absl::StrContains(one, '=')) one += '=';
  std::sort(query.begin(), query.end());
  const std::string canonical =
      absl::StrJoin({request.method, parts.first, absl::StrJoin(query, "&"), headers, names,
                     ValueOf(request.headers, "x-amz-content-sha256")},
                    "\n");
  const std::string text =
      absl::StrJoin({std::string("AWS4-HMAC-SHA256"), ValueOf(request.headers, "x-amz-date"), scope,
                     HexSha256(canonical)},
                    "\n");
  std::string key = absl::StrCat("AWS4", credentials_.secret_key);
  for (const std::string& one : scopes) key = Hmac(key, one);
  return absl::BytesToHexString(Hmac(key, text)) ==
         authorization.substr(signature + std::string("Signature=").size());
}

FakeStore::Answer FakeStore::Do(const Request& request) {
  const bool is_signed = IsSigned(request);
  const bool is_right = ValueOf(request.headers, "x-amz-content-sha256") == HexSha256(request.body);
  MutexLock lock(mutex_);
  if (!is_signed && !quirks_.takes_any_secret)
    return {.status = 403, .body = Error(403, "SignatureDoesNotMatch")};
  const bool may_be_wrong =
      request.Has("partNumber") ? quirks_.takes_any_part : quirks_.takes_any_body;
  if (!is_right && !may_be_wrong)
    return {.status = 400, .body = Error(400, "XAmzContentSHA256Mismatch")};
  if (request.method == "PUT" && request.key.empty()) {
    buckets_.insert(request.bucket);
    return {};
  }
  if (!buckets_.contains(request.bucket))
    return {.status = 404, .body = Error(404, "NoSuchBucket")};
  if (request.key.empty()) return DoBucket(request);
  return request.Has("uploadId") || request.Has("uploads") ? DoUpload(request) : DoObject(request);
}

FakeStore::Answer FakeStore::DoBucket(const Request& request) {
  return request.Has("uploads") ? ListUploads(request) : List(request);
}

FakeStore::Answer FakeStore::List(const Request& request) {
  const std::string prefix = absl::StrCat(request.bucket, "/", ValueOf(request.query, "prefix"));
  size_t left = quirks_.page_size;
  if (request.Has("max-keys")) CHECK(absl::SimpleAtoi(request.query.at("max-keys"), &left));
  const std::string after =
      quirks_.repeats_pages ? "" : ValueOf(request.query, "continuation-token");
  std::string xml = "<ListBucketResult>";
  std::string last;
  for (auto at = objects_.lower_bound(std::max(prefix, after));
       at != objects_.end() && absl::StartsWith(at->first, prefix); ++at) {
    if (at->first == after) continue;
    if (left-- == 0) {
      absl::StrAppend(&xml, "<IsTruncated>true</IsTruncated><NextContinuationToken>", last,
                      "</NextContinuationToken>");
      break;
    }
    last = at->first;
    absl::StrAppend(&xml, "<Contents><Key>", last.substr(request.bucket.size() + 1),
                    "</Key><LastModified>", kLongAgo, "</LastModified><Size>",
                    at->second.body->size(), "</Size></Contents>");
  }
  return {.body = absl::StrCat(xml, "</ListBucketResult>")};
}

FakeStore::Answer FakeStore::ListUploads(const Request& request) {
  const std::string prefix = absl::StrCat(request.bucket, "/", ValueOf(request.query, "prefix"));
  std::string xml = "<ListMultipartUploadsResult>";
  for (const auto& [id, upload] : uploads_) {
    if (!absl::StartsWith(upload.key, prefix)) continue;
    absl::StrAppend(&xml, "<Upload><Key>", upload.key.substr(request.bucket.size() + 1),
                    "</Key><UploadId>", id, "</UploadId><Initiated>", kLongAgo,
                    "</Initiated></Upload>");
  }
  return {.body = absl::StrCat(xml, "</ListMultipartUploadsResult>")};
}

bool FakeStore::IsInTheWay(const Request& request) const {
  return quirks_.has_conditions && ValueOf(request.headers, "if-none-match") == "*" &&
         objects_.contains(absl::StrCat(request.bucket, "/", request.key));
}

FakeStore::Answer FakeStore::DoObject(const Request& request) {
  const std::string key = absl::StrCat(request.bucket, "/", request.key);
  if (request.method == "DELETE") {
    objects_.erase(key);
    return {.status = 204};
  }
  if (request.method != "PUT") return Get(request);
  if (IsInTheWay(request)) return {.status = 412, .body = Error(412, "PreconditionFailed")};
  Object object{std::make_shared<const std::string>(request.body), HexSha256(request.body), ""};
  if (!quirks_.forgets_metadata) object.maker = ValueOf(request.headers, std::string(kMaker));
  const std::string etag = object.etag;
  objects_[key] = std::move(object);
  return {.headers = absl::StrCat("ETag: \"", etag, "\"\r\n")};
}

FakeStore::Answer FakeStore::Get(const Request& request) {
  const auto found = objects_.find(absl::StrCat(request.bucket, "/", request.key));
  if (found == objects_.end()) return {.status = 404, .body = Error(404, "NoSuchKey")};
  const Object& object = found->second;
  const size_t size = object.body->size();
  Answer answer = {.headers = absl::StrCat("ETag: \"", object.etag, "\"\r\n", kMaker, ": ",
                                           object.maker, "\r\n"),
                   .content = object.body,
                   .begin = 0,
                   .size = size};
  std::string range = ValueOf(request.headers, "range");
  if (range.empty()) return answer;
  const std::pair<std::string, std::string> ends =
      absl::StrSplit(range.substr(std::string("bytes=").size()), '-');
  size_t last = 0;
  CHECK(absl::SimpleAtoi(ends.first, &answer.begin) && absl::SimpleAtoi(ends.second, &last));
  if (answer.begin >= size) {
    return {.status = 416,
            .headers = absl::StrCat("Content-Range: bytes */", size, "\r\n"),
            .body = Error(416, "InvalidRange")};
  }
  last = std::min(last, size - 1);
  answer.status = 206;
  answer.size = last + 1 - answer.begin;
  absl::StrAppend(&answer.headers, "Content-Range: bytes ", answer.begin, "-", last, "/", size,
                  "\r\n");
  return answer;
}

FakeStore::Answer FakeStore::DoUpload(const Request& request) {
  const std::string key = absl::StrCat(request.bucket, "/", request.key);
  if (request.Has("uploads")) {
    const std::string id = absl::StrCat("upload-", ++last_upload_);
    uploads_[id] = {
        key, quirks_.forgets_metadata ? "" : ValueOf(request.headers, std::string(kMaker)), {}};
    return {.body = absl::StrCat("<InitiateMultipartUploadResult><UploadId>", id,
                                 "</UploadId></InitiateMultipartUploadResult>")};
  }
  const std::string id = request.query.at("uploadId");
  const auto found = uploads_.find(id);
  if (found == uploads_.end() || found->second.key != key)
    return {.status = 404, .body = Error(404, "NoSuchUpload")};
  if (request.method == "DELETE") {
    uploads_.erase(found);
    return {.status = 204};
  }
  if (request.method == "POST") return Complete(request, id);
  int number = 0;
  CHECK(absl::SimpleAtoi(request.query.at("partNumber"), &number));
  const std::string etag = HexSha256(request.body);
  found->second.parts[number] = {std::make_shared<const std::string>(request.body), etag, ""};
  return {.headers = absl::StrCat("ETag: \"", etag, "\"\r\n")};
}

FakeStore::Answer FakeStore::Complete(const Request& request, const std::string& id) {
  if (IsInTheWay(request)) return {.status = 412, .body = Error(412, "PreconditionFailed")};
  const Upload& upload = uploads_[id];
  std::string whole;
  size_t from = 0;
  for (std::string number_text;
       !(number_text = Between(request.body, "<PartNumber>", "</PartNumber>", from)).empty();) {
    int number = 0;
    CHECK(absl::SimpleAtoi(number_text, &number));
    const std::string etag = Between(request.body, "<ETag>", "</ETag>", from);
    const auto part = upload.parts.find(number);
    if (part == upload.parts.end() || !absl::StrContains(etag, part->second.etag))
      return {.status = 400, .body = Error(400, "InvalidPart")};
    whole += *part->second.body;
  }
  const std::string etag = HexSha256(whole);
  objects_[upload.key] = {std::make_shared<const std::string>(std::move(whole)), etag,
                          upload.maker};
  uploads_.erase(id);
  return {.body = absl::StrCat("<CompleteMultipartUploadResult><ETag>", etag,
                               "</ETag></CompleteMultipartUploadResult>")};
}

}  // namespace backup::storage::s3
