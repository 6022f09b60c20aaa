#include "services/backup/handlers/open_content.h"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::handlers {
namespace {

using storage::StoredChunk;

// Of a content, read from the catalog at once.
constexpr int kChunksPerPage = 128;

constexpr absl::string_view kMissing = "the content of this version is missing";

absl::Status Missing(const storage::Version& version) {
  return MakeError(Reason::kBlobDamaged, kMissing, NameToText(version.file_name));
}

// The chunks of a version, wherever the catalog has them by now.
class CatalogChunks final : public content::ChunkStore {
 public:
  CatalogChunks(const StoredPlaces& places, storage::ChunkList chunks)
      : places_(places), chunks_(chunks) {}
  absl::StatusOr<std::vector<StoredChunk>> ListChunks(int64_t offset) override {
    return places_.catalog.Read([&](storage::Snapshot& snapshot) {
      return snapshot.ListChunks(chunks_, offset, kChunksPerPage);
    });
  }
  absl::StatusOr<std::unique_ptr<RandomAccess>> OpenPack(const BlobId& id) override {
    return places_.blobs.Open(id);
  }
  void NoteRead(const BlobId& id, int64_t offset, int64_t size_bytes) override {
    places_.blobs.NoteRead(id, offset, size_bytes);
  }
  void TellDamaged(const StoredChunk& chunk) override { MarkDamaged(places_, chunk); }

 private:
  const StoredPlaces places_;
  const storage::ChunkList chunks_;
};

// A blob that may go while it is read, as some stores keep nothing for those that read it.
class WholeBlob final : public RandomAccess {
 public:
  WholeBlob(std::unique_ptr<RandomAccess> blob, const storage::Version& version)
      : blob_(std::move(blob)), missing_(Missing(version)) {}
  int64_t size_bytes() const override { return blob_->size_bytes(); }
  size_t read_depth() const override { return blob_->read_depth(); }
  bool TryStartReadAt(IoQueue& queue, int64_t offset, std::span<char> out) const override {
    return blob_->TryStartReadAt(queue, offset, out);
  }
  absl::Status ReadAt(int64_t offset, std::span<char> out) const override {
    const absl::Status read = blob_->ReadAt(offset, out);
    return absl::IsNotFound(read) ? missing_ : read;
  }

 private:
  const std::unique_ptr<RandomAccess> blob_;
  const absl::Status missing_;
};

absl::StatusOr<std::unique_ptr<RandomAccess>> OpenWhole(const storage::BlobStore& blobs,
                                                        const storage::StoredVersion& stored) {
  if (const auto* bytes = std::get_if<std::string>(&stored.content))
    return std::make_unique<StringAccess>(*bytes);
  const auto* blob = std::get_if<BlobId>(&stored.content);
  if (blob == nullptr) return Missing(stored.version);
  absl::StatusOr<std::unique_ptr<RandomAccess>> opened = blobs.Open(*blob);
  if (absl::IsNotFound(opened.status())) return Missing(stored.version);
  RETURN_IF_ERROR(opened.status());
  return std::make_unique<WholeBlob>(*std::move(opened), stored.version);
}

absl::StatusOr<std::unique_ptr<content::StoredContent>> OpenNow(
    const StoredPlaces& places, const storage::StoredVersion& stored) {
  if (const auto* chunks = std::get_if<storage::ChunkList>(&stored.content)) {
    const content::StoreKeys& keys = places.store_keys;
    return std::make_unique<content::ChunkedContent>(
        stored.version, std::make_unique<CatalogChunks>(places, *chunks),
        content::ChunkKeys{&places.master_key, &keys, &places.dictionaries},
        keys.IdKeysOf(stored.version.client_id));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<RandomAccess> access, OpenWhole(places.blobs, stored));
  return content::StoredContent::Open(std::move(access), places.master_key, stored.version);
}

}  // namespace

std::unique_ptr<content::Dictionaries> MakeDictionaries(storage::Catalog& catalog,
                                                        const content::StoreKeys& store_keys) {
  return std::make_unique<content::Dictionaries>(store_keys, [&catalog](uint32_t id) {
    return catalog.Read([&](storage::Snapshot& snapshot) {
      return snapshot.FindStoreValue(content::DictionaryName(id));
    });
  });
}

void MarkDamaged(const StoredPlaces& places, const StoredChunk& chunk) {
  LOG(ERROR) << "a damaged chunk" << (chunk.pack == 0 ? "" : " of the pack ")
             << (chunk.pack == 0 ? "" : ToHex(chunk.pack_blob))
             << ": the next upload of the same bytes replaces it";
  places.catalog.Submit(
      [number = chunk.number, pack = chunk.pack,
       payload = chunk.payload](storage::Transaction& transaction) -> absl::Status {
        if (pack == 0) {
          // It may have been stored again meanwhile, in the same place.
          ASSIGN_OR_RETURN(const std::vector<StoredChunk> now,
                           transaction.ListInlineChunks(number - 1, /*limit=*/1));
          if (now.empty() || now.front().number != number || now.front().payload != payload)
            return absl::OkStatus();
        }
        return transaction.MarkDamaged(number, pack);
      },
      [cache = places.chunk_cache, id = chunk.ref.id](const absl::Status& marked) {
        if (cache != nullptr) cache->Forget(id);
        LOG_IF(WARNING, !marked.ok()) << "cannot mark a damaged chunk: " << marked.message();
      });
}

bool SaysMissing(const absl::Status& status) {
  return status.message() == kMissing || content::SaysPackMissing(status);
}

absl::StatusOr<std::unique_ptr<content::StoredContent>> OpenContent(
    const StoredPlaces& places, const storage::StoredVersion& stored) {
  absl::StatusOr<std::unique_ptr<content::StoredContent>> opened = OpenNow(places, stored);
  if (ReasonOf(opened.status()) != Reason::kBlobDamaged) return opened;
  // It may have been moved.
  const absl::StatusOr<storage::StoredVersion> now =
      places.catalog.Read([&](storage::Snapshot& snapshot) {
        return snapshot.FindVersion(stored.version.client_id, stored.version.file_name,
                                    stored.version.version_id, /*with_content=*/true);
      });
  return now.ok() && now->content != stored.content ? OpenNow(places, *now) : std::move(opened);
}

absl::Status LookAgain(storage::Catalog& catalog, const storage::Version& version,
                       const absl::Status& found) {
  // A recipe that goes while it is read looks like one that is damaged, too.
  const bool is_damaged = ReasonOf(found) == Reason::kBlobDamaged;
  if (!is_damaged && ReasonOf(found) != Reason::kStateCorrupt) return found;
  // Also in the trash, where its content is kept as any other's.
  ASSIGN_OR_RETURN(const std::vector<storage::StoredVersion> now,
                   catalog.Read([&](storage::Snapshot& snapshot) {
                     return snapshot.ScanVersions(version.version_id - 1, /*limit=*/1);
                   }));
  if (now.empty() || now.front().version.version_id != version.version_id) {
    return MakeError(Reason::kVersionNotFound, "this version was deleted meanwhile",
                     NameToText(version.file_name));
  }
  if (now.front().version.state == storage::VersionState::kAbandoned) return Abandoned(version);
  if (!is_damaged) return found;
  return MakeError(Reason::kBlobDamaged, found.message(), NameToText(version.file_name));
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
