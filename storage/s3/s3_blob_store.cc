#include "storage/s3/s3_blob_store.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "storage/s3/answers.h"
#include "storage/s3/object_reader.h"
#include "storage/s3/staged_object.h"
#include "storage/s3/unfinished_uploads.h"

namespace backup::storage::s3 {
namespace {

// Of the memory for uploads, for those that have begun.
constexpr int64_t kReservedPart = 8;
// Of that for what is read ahead, for windows of the least size.
constexpr int64_t kSmallWindowsPart = 4;
// One after the other, of a listing: a store may have to look through much that is deleted.
constexpr int kMaxEmptyPages = 1000;
// What is deleted does not come back, and who took the blobs over may need it.
constexpr std::chrono::seconds kDeletingLookInterval{1};

}  // namespace

absl::StatusOr<std::unique_ptr<S3BlobStore>> S3BlobStore::Open(
    Options options, std::unique_ptr<CredentialsSource> credentials, const Clock& clock) {
  ASSIGN_OR_RETURN(std::shared_ptr<S3Client> client,
                   S3Client::Open(options.client, std::move(credentials), clock));
  Capabilities capabilities;
  if (options.only_reads) {
    RETURN_IF_ERROR(ProbeReading(*client));
  } else {
    ASSIGN_OR_RETURN(capabilities, ProbeStore(*client));
  }
  return std::unique_ptr<S3BlobStore>(new S3BlobStore(std::move(client), options, capabilities));
}

S3BlobStore::S3BlobStore(std::shared_ptr<S3Client> client, const Options& options,
                         Capabilities capabilities)
    : client_(std::move(client)),
      capabilities_(capabilities),
      folder_(absl::StrCat(client_->location().prefix, "blobs/")),
      upload_memory_(options.max_upload_bytes, client_->metrics().upload_bytes,
                     options.max_upload_bytes / kReservedPart),
      read_memory_(std::make_shared<MemoryBound>(options.max_read_ahead_bytes,
                                                 client_->metrics().read_ahead_bytes,
                                                 options.max_read_ahead_bytes / kSmallWindowsPart)),
      noted_(std::make_unique<NotedReads>(client_, read_memory_)) {}

std::string S3BlobStore::KeyOf(const BlobId& id) const { return absl::StrCat(folder_, ToHex(id)); }

std::optional<BlobId> S3BlobStore::IdOf(const std::string& key) const {
  absl::string_view name = key;
  if (!absl::ConsumePrefix(&name, folder_)) return std::nullopt;
  return BlobIdFromHex(name);
}

absl::Status S3BlobStore::Claim(const Marker& marker, bool is_new) {
  RETURN_IF_ERROR(PutMarker(*client_, marker));
  // Whoever claims it at once sees the one or the other, or both step back.
  ASSIGN_OR_RETURN(const std::vector<Marker> markers, FindMarkers());
  const bool is_alone = std::all_of(markers.begin(), markers.end(), [&](const Marker& other) {
    return other.installation == marker.installation && other.holder == marker.holder;
  });
  if (is_alone && markers.size() == 1) return absl::OkStatus();
  if (is_new) RETURN_IF_ERROR(RemoveMarker(*client_, marker.installation));
  return absl::FailedPreconditionError(absl::StrCat(
      "s3://", client_->location().bucket, "/", client_->location().prefix,
      " is claimed by another service at the same time: start only one, or give another prefix"));
}

void S3BlobStore::Watch(const std::string& installation, Ownership::IsOurs is_ours) {
  ownership_ = std::make_shared<Ownership>(client_, installation, std::move(is_ours));
}

absl::Status S3BlobStore::CheckIsOurs(std::chrono::steady_clock::duration interval) const {
  return ownership_ == nullptr ? absl::OkStatus() : ownership_->Check(interval);
}

absl::StatusOr<bool> S3BlobStore::HasBlobs() const {
  ASSIGN_OR_RETURN(
      const HttpAnswer answer,
      client_->Call({.operation = Operation::kList,
                     .query = {{"list-type", "2"}, {"max-keys", "1"}, {"prefix", folder_}}}));
  const absl::StatusOr<ObjectPage> page = ParseObjectPage(answer.body);
  if (!page.ok()) return Senseless("list objects", page.status().message());
  return !page->objects.empty();
}

absl::StatusOr<std::unique_ptr<StagedBlob>> S3BlobStore::Stage(
    const BlobId& id, ByteSource& source, std::optional<int64_t> expected_size) {
  RETURN_IF_ERROR(CheckIsOurs(Ownership::kLookInterval));
  auto staged = std::make_unique<StagedObject>(
      client_, upload_memory_,
      StagedObject::Options{KeyOf(id), capabilities_.has_conditions, ownership_});
  RETURN_IF_ERROR(staged->Fill(source, expected_size));
  return staged;
}

absl::StatusOr<std::unique_ptr<RandomAccess>> S3BlobStore::Open(const BlobId& id) const {
  absl::StatusOr<std::unique_ptr<ObjectReader>> reader =
      ObjectReader::Open(client_, read_memory_, KeyOf(id), noted_->Take(id), ownership_);
  // All of them may be gone, and then this one is not missing.
  if (absl::IsNotFound(reader.status()) && ownership_ != nullptr)
    RETURN_IF_ERROR(ownership_->Check(Ownership::kMissingLookInterval));
  return reader;
}

void S3BlobStore::NoteRead(const BlobId& id, int64_t offset, int64_t size_bytes) const {
  noted_->Note(id, KeyOf(id), offset, size_bytes);
}

absl::StatusOr<bool> S3BlobStore::Delete(const BlobId& id) {
  RETURN_IF_ERROR(CheckIsOurs(kDeletingLookInterval));
  const std::string key = KeyOf(id);
  const absl::Status there = client_->Call({.operation = Operation::kHead, .key = key}).status();
  if (!there.ok() && !absl::IsNotFound(there)) return there;
  // Also of what is not there: only so a bucket that is gone is told from a blob that is.
  const absl::Status deleted =
      client_->Call({.operation = Operation::kDelete, .key = key}).status();
  if (!deleted.ok() && !absl::IsNotFound(deleted)) return deleted;
  // What a process began and did not end is known by its row, as the blob would be.
  if (!there.ok()) RETURN_IF_ERROR(AbortUploads(*client_, key, /*spared=*/""));
  return there.ok();
}

absl::Status S3BlobStore::List(const std::function<absl::Status(const BlobInfo&)>& visit) const {
  std::string last;
  int empty_pages = 0;
  std::string next;
  do {
    Query query = {{"list-type", "2"}, {"prefix", folder_}};
    if (!next.empty()) query.emplace_back("continuation-token", next);
    ASSIGN_OR_RETURN(const HttpAnswer answer,
                     client_->Call({.operation = Operation::kList, .query = std::move(query)}));
    const absl::StatusOr<ObjectPage> page = ParseObjectPage(answer.body);
    if (!page.ok()) return Senseless("list objects", page.status().message());
    for (const ListedObject& object : page->objects) {
      // Whoever gives the same page again would be asked for ever.
      if (object.key <= last) return Senseless("list objects", "it does not go on");
      last = object.key;
      if (const std::optional<BlobId> id = IdOf(object.key))
        RETURN_IF_ERROR(visit({*id, object.size_bytes}));
    }
    empty_pages = page->objects.empty() ? empty_pages + 1 : 0;
    if (empty_pages > kMaxEmptyPages) return Senseless("list objects", "it does not go on");
    next = page->next;
  } while (!next.empty());
  return absl::OkStatus();
}

absl::Status S3BlobStore::ListUnfinished(
    const std::function<absl::Status(const BlobId&)>& visit) const {
  return ListUploads(*client_, folder_, [&](const ListedUpload& upload) {
    const std::optional<BlobId> id = IdOf(upload.key);
    return id ? visit(*id) : absl::OkStatus();
  });
}

}  // namespace backup::storage::s3
