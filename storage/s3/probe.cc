#include "storage/s3/probe.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "crypto/random.h"
#include "crypto/sha256.h"
#include "glog/logging.h"
#include "storage/s3/answers.h"
#include "storage/s3/unfinished_uploads.h"

namespace backup::storage::s3 {
namespace {

constexpr size_t kContentSize = 1000;
constexpr size_t kNameSize = 16;
constexpr absl::string_view kMaker = "probe";
// Whatever a probe left that long ago no probe needs any more.
constexpr absl::Duration kOld = absl::Hours(24);

std::string HexSha256(absl::string_view bytes) {
  crypto::Sha256 sha256;
  sha256.Update(bytes);
  return absl::BytesToHexString(sha256.Finish());
}

absl::Status NotToBeTrusted(absl::string_view why) {
  return absl::FailedPreconditionError(
      absl::StrCat("the object store is not safe for backups: ", why));
}

// Whether the store refused what was asked, rather than had no time for it.
bool IsRefused(int status) { return status / 100 == 4 && status != 408 && status != 429; }

Query ListQuery(S3Client& client) {
  return {{"list-type", "2"}, {"max-keys", "1"}, {"prefix", client.location().prefix}};
}

// One run of the probe. Used by one thread.
class Probe {
 public:
  explicit Probe(S3Client& client) : client_(client) {}

  absl::StatusOr<Capabilities> Run() {
    RETURN_IF_ERROR(ProbeReading(client_));
    const absl::Cleanup clean_up = [this] { CleanUp(); };
    RETURN_IF_ERROR(Ask(Put(key_, content_, content_)).status());
    RETURN_IF_ERROR(CheckContent(key_, content_));
    RETURN_IF_ERROR(CheckSecretMatters());
    RETURN_IF_ERROR(CheckDigestMatters(
        {.operation = Operation::kPut, .key = wrong_key_, .body = {other_content_}}));
    Capabilities capabilities;
    ASSIGN_OR_RETURN(capabilities.has_conditions, HasConditions());
    RETURN_IF_ERROR(CheckUploads());
    RETURN_IF_ERROR(Ask({.operation = Operation::kDelete, .key = key_}).status());
    RETURN_IF_ERROR(RemoveOldOnes());
    return capabilities;
  }

 private:
  absl::StatusOr<HttpAnswer> Ask(S3Request request) { return client_.Call(std::move(request)); }

  static S3Request Put(const std::string& key, const std::string& content,
                       const std::string& digested) {
    return {.operation = Operation::kPut,
            .key = key,
            .body = {content},
            .body_sha256 = HexSha256(digested)};
  }

  absl::Status CheckContent(const std::string& key, const std::string& content) {
    ASSIGN_OR_RETURN(const HttpAnswer answer, Ask({.operation = Operation::kGet, .key = key}));
    return answer.body == content ? absl::OkStatus()
                                  : NotToBeTrusted("it gives back what was not given to it");
  }

  absl::Status CheckSecretMatters() {
    Credentials wrong = *client_.credentials();
    wrong.secret_key = absl::BytesToHexString(crypto::RandomBytes(kNameSize));
    const std::unique_ptr<S3Call> call =
        client_.Start({.operation = Operation::kGet,
                       .key = key_,
                       .credentials = std::make_shared<const Credentials>(std::move(wrong)),
                       .is_to_be_refused = true});
    const absl::Status got = call->Wait().status();
    if (got.ok()) return NotToBeTrusted("it takes a wrong secret key");
    return call->status() == 401 || call->status() == 403 ? absl::OkStatus() : got;
  }

  // `request` has a body that its digest does not fit.
  absl::Status CheckDigestMatters(S3Request request) {
    request.body_sha256 = HexSha256(content_);
    request.is_to_be_refused = true;
    const std::unique_ptr<S3Call> call = client_.Start(std::move(request));
    const absl::Status taken = call->Wait().status();
    if (taken.ok()) {
      return NotToBeTrusted(
          "it takes content that is not what its digest says (x-amz-content-sha256)");
    }
    return IsRefused(call->status()) ? absl::OkStatus() : taken;
  }

  // What large blobs hang on, with an upload of one part.
  absl::Status CheckUploads() {
    RETURN_IF_ERROR(Begin());
    RETURN_IF_ERROR(
        Ask({.operation = Operation::kListUploads, .query = {{"prefix", key_}, {"uploads", ""}}})
            .status());
    RETURN_IF_ERROR(CheckDigestMatters({.operation = Operation::kPutPart,
                                        .key = parts_key_,
                                        .query = PartQuery(),
                                        .body = {other_content_}}));
    ASSIGN_OR_RETURN(const HttpAnswer part, Ask({.operation = Operation::kPutPart,
                                                 .key = parts_key_,
                                                 .query = PartQuery(),
                                                 .body = {content_},
                                                 .body_sha256 = HexSha256(content_)}));
    const std::string parts = PartListXml({std::string(part.Header("etag"))});
    RETURN_IF_ERROR(Ask({.operation = Operation::kCompleteUpload,
                         .key = parts_key_,
                         .query = {{"uploadId", upload_id_}},
                         .headers = {"Content-Type: application/xml"},
                         .body = {parts},
                         .body_sha256 = HexSha256(parts)})
                        .status());
    upload_id_.clear();
    RETURN_IF_ERROR(CheckContent(parts_key_, content_));
    ASSIGN_OR_RETURN(const HttpAnswer head,
                     Ask({.operation = Operation::kHead, .key = parts_key_}));
    if (head.Header(kMakerHeader) != kMaker)
      return NotToBeTrusted("it forgets an object's metadata (x-amz-meta-...)");
    RETURN_IF_ERROR(Ask({.operation = Operation::kDelete, .key = parts_key_}).status());
    RETURN_IF_ERROR(Begin());
    const std::string upload_id = std::exchange(upload_id_, "");
    return Ask({.operation = Operation::kAbortUpload,
                .key = parts_key_,
                .query = {{"uploadId", upload_id}}})
        .status();
  }

  absl::Status Begin() {
    ASSIGN_OR_RETURN(
        const HttpAnswer begun,
        Ask({.operation = Operation::kBeginUpload,
             .key = parts_key_,
             .query = {{"uploads", ""}},
             .headers = {absl::StrCat(kMakerHeader, ": ", kMaker), "Content-Type: text/plain"}}));
    absl::StatusOr<std::string> id = ParseUploadId(begun.body);
    if (!id.ok()) return Senseless("begin an upload of parts", id.status().message());
    upload_id_ = *std::move(id);
    return absl::OkStatus();
  }

  Query PartQuery() const { return {{"partNumber", "1"}, {"uploadId", upload_id_}}; }

  // The object is there already.
  absl::StatusOr<bool> HasConditions() {
    S3Request put = Put(key_, content_, content_);
    put.headers = {"If-None-Match: *"};
    const std::unique_ptr<S3Call> call = client_.Start(std::move(put));
    const absl::Status stored = call->Wait().status();
    if (absl::IsAlreadyExists(stored)) return true;
    const bool is_told = stored.ok() || call->status() == 400 || call->status() == 501;
    if (!is_told) return stored;
    LOG(WARNING) << "the object store has no PUT that replaces nothing: that no blob is stored in "
                    "the place of another hangs on random ids alone";
    return false;
  }

  // Of probes that were killed; others may be on their way.
  absl::Status RemoveOldOnes() {
    const auto is_old = [this](const std::string& text) {
      absl::Time time;
      return absl::ParseTime(absl::RFC3339_full, text, &time, nullptr) &&
             time < client_.Now() - kOld;
    };
    ASSIGN_OR_RETURN(
        const HttpAnswer listed,
        Ask({.operation = Operation::kList, .query = {{"list-type", "2"}, {"prefix", folder_}}}));
    const absl::StatusOr<ObjectPage> page = ParseObjectPage(listed.body);
    if (!page.ok()) return Senseless("list objects", page.status().message());
    for (const ListedObject& object : page->objects) {
      if (!is_old(object.modified)) continue;
      RETURN_IF_ERROR(Ask({.operation = Operation::kDelete, .key = object.key}).status());
    }
    return ListUploads(client_, folder_, [&](const ListedUpload& upload) {
      return is_old(upload.begun) ? AbortUploads(client_, upload.key, /*spared=*/"")
                                  : absl::OkStatus();
    });
  }

  void CleanUp() {
    for (const std::string& key : {key_, wrong_key_, parts_key_})
      client_.Start({.operation = Operation::kDelete, .key = key}, kOnce)->Wait().IgnoreError();
    if (upload_id_.empty()) return;
    client_
        .Start({.operation = Operation::kAbortUpload,
                .key = parts_key_,
                .query = {{"uploadId", upload_id_}}},
               kOnce)
        ->Wait()
        .IgnoreError();
  }

  S3Client& client_;
  const std::string folder_ = absl::StrCat(client_.location().prefix, "probe/");
  const std::string key_ =
      absl::StrCat(folder_, absl::BytesToHexString(crypto::RandomBytes(kNameSize)));
  const std::string wrong_key_ = absl::StrCat(key_, ".wrong");
  const std::string parts_key_ = absl::StrCat(key_, ".parts");
  const std::string content_ = crypto::RandomBytes(kContentSize);
  const std::string other_content_ = crypto::RandomBytes(kContentSize);
  std::string upload_id_;  // Of one that is neither completed nor aborted.
};

}  // namespace

absl::Status ProbeReading(S3Client& client) {
  return client.Call({.operation = Operation::kList, .query = ListQuery(client)}).status();
}

absl::StatusOr<Capabilities> ProbeStore(S3Client& client) { return Probe(client).Run(); }

}  // namespace backup::storage::s3
