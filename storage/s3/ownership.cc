#include "storage/s3/ownership.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "crypto/sha256.h"
#include "glog/logging.h"
#include "storage/s3/answers.h"

namespace backup::storage::s3 {
namespace {

// After a look that failed.
constexpr std::chrono::seconds kRetry{1};

bool IsHolder(absl::string_view text) {
  return text.size() == Marker::kHolderSize &&
         text.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
}

std::string FolderOf(const S3Client& client) {
  return absl::StrCat(client.location().prefix, "installation/");
}

std::string KeyOf(const S3Client& client, const std::string& installation) {
  return absl::StrCat(FolderOf(client), installation);
}

}  // namespace

absl::StatusOr<std::vector<Marker>> FindMarkers(S3Client& client) {
  const std::string folder = FolderOf(client);
  ASSIGN_OR_RETURN(const HttpAnswer answer,
                   client.Call({.operation = Operation::kList,
                                .query = {{"list-type", "2"}, {"prefix", folder}}}));
  const absl::StatusOr<ObjectPage> page = ParseObjectPage(answer.body);
  if (!page.ok()) return Senseless("list objects", page.status().message());
  std::vector<Marker> markers;
  for (const ListedObject& object : page->objects) {
    absl::string_view name = object.key;
    if (!absl::ConsumePrefix(&name, folder)) return Senseless("list objects", "of another folder");
    ASSIGN_OR_RETURN(std::optional<Marker> marker, FindMarker(client, std::string(name)));
    if (marker) markers.push_back(*std::move(marker));
  }
  return markers;
}

absl::StatusOr<std::optional<Marker>> FindMarker(S3Client& client,
                                                 const std::string& installation) {
  absl::StatusOr<HttpAnswer> answer =
      client.Call({.operation = Operation::kGet, .key = KeyOf(client, installation)});
  if (absl::IsNotFound(answer.status())) return std::nullopt;
  RETURN_IF_ERROR(answer.status());
  // A page of maintenance says 200, too.
  if (!IsHolder(answer->body)) {
    return Senseless(absl::StrCat("read ", KeyOf(client, installation)),
                     "it does not tell who holds the blobs");
  }
  return Marker{installation, std::move(answer->body)};
}

absl::Status PutMarker(S3Client& client, const Marker& marker) {
  crypto::Sha256 sha256;
  sha256.Update(marker.holder);
  return client
      .Call({.operation = Operation::kPut,
             .key = KeyOf(client, marker.installation),
             .headers = {"Content-Type: text/plain"},
             .body = {marker.holder},
             .body_sha256 = absl::BytesToHexString(sha256.Finish())})
      .status();
}

absl::Status RemoveMarker(S3Client& client, const std::string& installation) {
  return client.Call({.operation = Operation::kDelete, .key = KeyOf(client, installation)})
      .status();
}

absl::Status Ownership::Check(std::chrono::steady_clock::duration interval) {
  MutexLock lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  // Who waited while another asked in vain need not ask in vain again.
  if (!last_.ok()) interval = std::min<std::chrono::steady_clock::duration>(interval, kRetry);
  if (!is_lost_ && (!last_look_ || now - *last_look_ >= interval)) {
    last_ = Look();
    last_look_ = std::chrono::steady_clock::now();
  }
  return last_;
}

bool Ownership::IsLost() {
  static_cast<void>(Check(std::chrono::steady_clock::duration::zero()));
  MutexLock lock(mutex_);
  return is_lost_;
}

absl::StatusOr<std::optional<Marker>> Ownership::Find() {
  absl::StatusOr<std::optional<Marker>> marker = FindMarker(*client_, installation_);
  // Whatever answers in the store's place, it tells nothing of any blob.
  if (ReasonOf(marker.status()) == Reason::kStorageIo) return Away(marker.status().message());
  return marker;
}

absl::Status Ownership::Look() {
  ASSIGN_OR_RETURN(const std::optional<Marker> marker, Find());
  if (!marker) {
    return Away(absl::StrCat("the object store has lost the object ",
                             KeyOf(*client_, installation_),
                             ", and with it maybe all blobs: look at the bucket"));
  }
  ASSIGN_OR_RETURN(const bool is_ours, is_ours_(marker->holder));
  if (is_ours) return absl::OkStatus();
  // What is lost is lost for ever, so it is not believed at once.
  ASSIGN_OR_RETURN(const std::optional<Marker> again, Find());
  if (!again || again->holder != marker->holder)
    return Away("the object store does not tell who holds the blobs: try again");
  is_lost_ = true;
  LOG(ERROR) << "the blobs in the object store are held by another service, " << marker->holder
             << ", which was started with a copy of this one's catalog: nothing is stored or "
                "deleted here any more";
  return Away(
      "another service holds the blobs of this one by now: end this one, whose catalog is an older "
      "copy");
}

}  // namespace backup::storage::s3
