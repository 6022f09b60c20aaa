#include "services/backup/handlers/open_content.h"

#include <string>
#include <utility>
#include <variant>

#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"

namespace backup::handlers {
namespace {

constexpr absl::string_view kMissing = "the content of this version is missing";

absl::Status Missing(const storage::Version& version) {
  return MakeError(Reason::kBlobDamaged, kMissing, NameToText(version.file_name));
}

absl::StatusOr<std::unique_ptr<RandomAccess>> Open(const storage::BlobStore& blobs,
                                                   const storage::StoredVersion& stored) {
  if (const auto* bytes = std::get_if<std::string>(&stored.content))
    return std::make_unique<StringAccess>(*bytes);
  const auto* blob = std::get_if<BlobId>(&stored.content);
  if (blob == nullptr) return Missing(stored.version);
  absl::StatusOr<std::unique_ptr<RandomAccess>> opened = blobs.Open(*blob);
  if (absl::IsNotFound(opened.status())) return Missing(stored.version);
  return opened;
}

}  // namespace

bool SaysMissing(const absl::Status& status) { return status.message() == kMissing; }

absl::StatusOr<std::unique_ptr<content::StoredContent>> OpenContent(
    const storage::BlobStore& blobs, const crypto::MasterKey& master_key,
    const storage::StoredVersion& stored) {
  ASSIGN_OR_RETURN(std::unique_ptr<RandomAccess> access, Open(blobs, stored));
  return content::StoredContent::Open(std::move(access), master_key, stored.version);
}

absl::Status LookAgain(storage::Catalog& catalog, const storage::Version& version,
                       const absl::Status& found) {
  if (ReasonOf(found) != Reason::kBlobDamaged) return found;
  const auto now = catalog.Read([&](storage::Snapshot& snapshot) {
    return snapshot.FindVersion(version.client_id, version.file_name, version.version_id,
                                /*with_content=*/false);
  });
  if (absl::IsNotFound(now.status())) {
    return MakeError(Reason::kVersionNotFound, "this version was deleted meanwhile",
                     NameToText(version.file_name));
  }
  RETURN_IF_ERROR(now.status());
  if (now->version.state == storage::VersionState::kAbandoned) return Abandoned(version);
  return found;
}

absl::Status Abandoned(const storage::Version& version) {
  return MakeError(Reason::kVersionNotFound,
                   "the client gave this version up; its content was discarded",
                   NameToText(version.file_name));
}

absl::StatusOr<absl::string_view> ConfirmedSource::Read() {
  absl::StatusOr<absl::string_view> piece = content_->Read();
  if (!piece.ok()) return LookAgain(catalog_, version_, piece.status());
  return piece;
}

}  // namespace backup::handlers
