#include "services/backupctl/pack_files.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/ids.h"
#include "base/name_text.h"
#include "base/secret_bytes.h"
#include "base/status_macros.h"
#include "content/chunk_seal.h"
#include "content/chunk_source.h"
#include "content/pack_footer.h"
#include "content/store_keys.h"
#include "content/told_content.h"
#include "services/backupctl/local_file.h"

namespace backup::ctl {
namespace {

using content::PackFooter;
using storage::StorageForm;
using storage::StoredChunk;

constexpr size_t kChunksPerPage = 128;
constexpr size_t kMaxNamed = 10;  // Files in a message.

absl::StatusOr<std::set<std::string>> PathsOf(const std::string& path, const MorePacks& more) {
  std::set<std::string> paths(more.files.begin(), more.files.end());
  paths.insert(path);
  if (more.folder.empty()) return paths;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator entry(more.folder, error), end;
       !error && entry != end; entry.increment(error)) {
    std::error_code ignored;  // What is no file is no pack.
    if (entry->is_regular_file(ignored)) paths.insert(entry->path().string());
  }
  if (!error) return paths;
  return absl::NotFoundError(
      absl::StrCat("cannot read the folder ", more.folder, ": ", error.message()));
}

// The footer, checked as far as the key that there is allows.
absl::StatusOr<PackFooter> ReadFooterOf(const RandomAccess& pack,
                                        const crypto::KeyRing* master_key) {
  ASSIGN_OR_RETURN(PackFooter footer, content::ReadPackFooter(pack));
  if (footer.form != StorageForm::kSealed) return footer;
  if (master_key == nullptr) {
    return absl::InvalidArgumentError(
        "the pack is sealed: give --master_key_file, or the master key as --key");
  }
  absl::StatusOr<SecretBytes> key =
      content::OpenPackKey(footer.wrapped_key, footer.pack_id, *master_key);
  if (ReasonOf(key.status()) == Reason::kKeyMissing) return key.status();
  if (!key.ok()) {
    return MakeError(Reason::kBlobDamaged,
                     absl::StrCat("the key does not open this pack: it is another key, or the pack "
                                  "was changed (",
                                  key.status().message(), ")"));
  }
  RETURN_IF_ERROR(content::CheckPackSeal(footer, *key));
  return footer;
}

// Where a pack has a chunk.
StoredChunk PlaceOf(const storage::PackedChunk& packed, const PackFooter& footer) {
  StoredChunk place;
  place.pack = 1;  // There are no numbers here; it is in a pack.
  place.pack_blob = footer.pack_id;
  place.form = footer.form;
  place.wrapped_key = footer.wrapped_key;
  place.coding = packed.coding;
  place.offset = packed.offset;
  place.stored_size = packed.stored_size;
  place.index = packed.index;
  return place;
}

void Place(const std::vector<StoredChunk*>& uses, const StoredChunk& place) {
  for (StoredChunk* const use : uses) {
    const storage::ChunkRef ref = use->ref;
    const int64_t offset_in_content = use->offset_in_content;
    *use = place;
    use->ref = ref;
    use->offset_in_content = offset_in_content;
  }
}

std::string NamesOf(const std::vector<content::ToldContent>& contents) {
  std::string names;
  for (const content::ToldContent& content : contents) {
    if (&content == &contents.front() + kMaxNamed) return names + ", and more";
    absl::StrAppend(&names, names.empty() ? "" : ", ");
    if (content.version()) {
      absl::StrAppend(&names, content.version()->version_id, " (",
                      NameToText(content.version()->file_name), ")");
    } else {
      absl::StrAppend(&names, "one whose record is in another pack");
    }
  }
  return names;
}

// Which of them it is.
absl::StatusOr<size_t> Choose(const std::vector<content::ToldContent>& contents,
                              int64_t version_id) {
  if (version_id == 0 && contents.size() == 1) return size_t{0};
  if (version_id == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the pack tells of ", contents.size(),
                     " files: give one of them as --version: ", NamesOf(contents)));
  }
  std::optional<size_t> chosen;
  for (size_t i = 0; i < contents.size(); ++i) {
    const std::optional<storage::Version>& version = contents[i].version();
    // One that was stored twice may be whole once.
    if (version && version->version_id == version_id && (!chosen || contents[i].IsWhole()))
      chosen = i;
  }
  if (chosen) return *chosen;
  return absl::NotFoundError(absl::StrCat("the pack does not tell of version ", version_id,
                                          ", but of ", NamesOf(contents)));
}

// All that is known of one content, gathered from packs. Used by one thread at a time.
class PackFiles final : public content::ChunkStore {
 public:
  PackFiles(std::set<std::string> paths, std::unique_ptr<crypto::KeyRing> master_key)
      : paths_(std::move(paths)), master_key_(std::move(master_key)) {}

  // Finds the content of this version, of which this pack tells; 0: the only one.
  absl::Status Find(const std::string& path, int64_t version_id);

  // Valid after that.
  const storage::Version& version() const { return version_; }
  content::ChunkKeys keys() const { return {master_key_.get(), store_keys_.get(), nullptr}; }
  std::vector<content::ChunkIdKey> id_keys() const {
    if (store_keys_ == nullptr) return {};
    return store_keys_->IdKeysOf(version_.client_id);
  }

  absl::StatusOr<std::vector<StoredChunk>> ListChunks(int64_t offset) override;
  absl::StatusOr<std::unique_ptr<RandomAccess>> OpenPack(const BlobId& id) override;
  // Goes on with another pack that has it, if there is one.
  void TellDamaged(const StoredChunk& chunk) override;

 private:
  // Calls `visit` for the footer of each pack that can be read.
  template <typename Visit>
  void VisitPacks(const Visit& visit);
  // The contents of which `footer` tells, as all packs tell of them.
  std::vector<content::ToldContent> ContentsOf(const PackFooter& footer);
  // Takes over what is told of the content.
  absl::Status TakeRecord(const content::ToldContent& content);
  absl::Status FindChunks();
  // What to add to an error of something that is not there.
  std::string Searched() const;

  const std::set<std::string> paths_;
  const std::unique_ptr<crypto::KeyRing> master_key_;
  std::unique_ptr<content::StoreKeys> store_keys_;  // Null without a master key.
  storage::Version version_;
  std::vector<StoredChunk> chunks_;                                      // In the content's order.
  absl::flat_hash_map<ChunkId, std::vector<StoredChunk*>> uses_;         // In chunks_.
  absl::flat_hash_map<ChunkId, std::vector<StoredChunk>> other_places_;  // Not tried yet.
  std::map<BlobId, std::string> path_of_;
  size_t packs_ = 0;       // That were read.
  size_t unreadable_ = 0;  // And could not be.
};

absl::Status PackFiles::Find(const std::string& path, int64_t version_id) {
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalFile> file, LocalFile::Open(path));
  ASSIGN_OR_RETURN(const PackFooter footer, ReadFooterOf(*file, master_key_.get()));
  if (footer.parts.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " tells of no file: give a pack that does, or --data_dir"));
  }
  if (master_key_ != nullptr) {
    ASSIGN_OR_RETURN(store_keys_, content::StoreKeys::Open(footer.sealed_secret, *master_key_));
  }
  const std::vector<content::ToldContent> contents = ContentsOf(footer);
  ASSIGN_OR_RETURN(const size_t chosen, Choose(contents, version_id));
  RETURN_IF_ERROR(TakeRecord(contents[chosen]));
  return FindChunks();
}

template <typename Visit>
void PackFiles::VisitPacks(const Visit& visit) {
  packs_ = unreadable_ = 0;
  for (const std::string& path : paths_) {
    // Without what cannot be read the content may be whole.
    const absl::StatusOr<std::unique_ptr<LocalFile>> file = LocalFile::Open(path);
    if (!file.ok()) {
      ++unreadable_;
      continue;
    }
    const absl::StatusOr<bool> is_pack = content::IsPack(**file);
    if (is_pack.ok() && !*is_pack) continue;
    const absl::StatusOr<PackFooter> footer = ReadFooterOf(**file, master_key_.get());
    ++(footer.ok() ? packs_ : unreadable_);
    if (!footer.ok()) continue;
    // A second file of the same pack has nothing more to say.
    if (path_of_.emplace(footer->pack_id, path).first->second == path) visit(*footer);
  }
}

std::vector<content::ToldContent> PackFiles::ContentsOf(const PackFooter& footer) {
  std::map<std::string, content::ToldContent> contents;
  for (const PackFooter::Part& part : footer.parts) contents[part.content_id].Add(part);
  VisitPacks([&](const PackFooter& other) {
    for (const PackFooter::Part& part : other.parts) {
      const auto found = contents.find(part.content_id);
      if (found != contents.end()) found->second.Add(part);
    }
  });
  std::vector<content::ToldContent> all;
  for (auto& [id, content] : contents) all.push_back(std::move(content));
  return all;
}

absl::Status PackFiles::TakeRecord(const content::ToldContent& content) {
  if (!content.version()) {
    return absl::NotFoundError(absl::StrCat(
        "the record of this file, which the last pack had that it was stored with, is in ",
        Searched()));
  }
  version_ = *content.version();
  int64_t offset = 0;
  for (const storage::ChunkRef& ref : content.Steps()) {
    StoredChunk chunk;
    chunk.ref = ref;
    chunk.offset_in_content = offset;
    offset += ref.size_bytes;
    chunks_.push_back(std::move(chunk));
  }
  if (content.IsWhole()) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("what comes behind byte ", offset, " of ",
                                          NameToText(version_.file_name), " (", version_.size_bytes,
                                          " bytes) is told in ", Searched()));
}

absl::Status PackFiles::FindChunks() {
  for (StoredChunk& chunk : chunks_) uses_[chunk.ref.id].push_back(&chunk);
  size_t wanted = uses_.size();
  VisitPacks([&](const PackFooter& footer) {
    for (const storage::PackedChunk& packed : footer.chunks) {
      const auto found = uses_.find(packed.id);
      if (found == uses_.end()) continue;
      StoredChunk place = PlaceOf(packed, footer);
      if (found->second.front()->pack != 0) {
        other_places_[packed.id].push_back(std::move(place));
      } else {
        Place(found->second, place);
        --wanted;
      }
    }
  });
  if (wanted == 0) return absl::OkStatus();
  const auto missing = std::find_if(chunks_.begin(), chunks_.end(),
                                    [](const StoredChunk& chunk) { return chunk.pack == 0; });
  return absl::NotFoundError(absl::StrCat("the chunk at byte ", missing->offset_in_content, " of ",
                                          NameToText(version_.file_name), ", ",
                                          absl::BytesToHexString(missing->ref.id.bytes()), ", and ",
                                          wanted - 1, " others are in ", Searched()));
}

std::string PackFiles::Searched() const {
  std::string text = absl::StrCat("none of the ", packs_, " packs that were looked at");
  if (unreadable_ > 0)
    absl::StrAppend(&text, " (", unreadable_, " more could not be read",
                    master_key_ == nullptr ? ", perhaps for want of the master key)" : ")");
  return absl::StrCat(text, ": give more of them, or the store's folder as --blobs");
}

absl::StatusOr<std::vector<StoredChunk>> PackFiles::ListChunks(int64_t offset) {
  const auto first =
      std::partition_point(chunks_.begin(), chunks_.end(), [&](const StoredChunk& chunk) {
        return chunk.offset_in_content + chunk.ref.size_bytes <= offset;
      });
  const auto left = static_cast<size_t>(std::distance(first, chunks_.end()));
  return std::vector<StoredChunk>(
      first, std::next(first, static_cast<std::ptrdiff_t>(std::min(left, kChunksPerPage))));
}

absl::StatusOr<std::unique_ptr<RandomAccess>> PackFiles::OpenPack(const BlobId& id) {
  return LocalFile::Open(path_of_.at(id));
}

void PackFiles::TellDamaged(const StoredChunk& chunk) {
  const auto others = other_places_.find(chunk.ref.id);
  if (others == other_places_.end() || others->second.empty()) return;
  Place(uses_.at(chunk.ref.id), others->second.back());
  others->second.pop_back();
}

}  // namespace

absl::StatusOr<bool> IsPackFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalFile> file, LocalFile::Open(path));
  return content::IsPack(*file);
}

absl::StatusOr<std::unique_ptr<content::StoredContent>> OpenPackFile(
    const std::string& path, const MorePacks& more, int64_t version_id,
    std::unique_ptr<crypto::KeyRing> master_key) {
  ASSIGN_OR_RETURN(std::set<std::string> paths, PathsOf(path, more));
  auto files = std::make_unique<PackFiles>(std::move(paths), std::move(master_key));
  RETURN_IF_ERROR(files->Find(path, version_id));
  // All of these are part of `files` or copies.
  const storage::Version version = files->version();
  const content::ChunkKeys keys = files->keys();
  std::vector<content::ChunkIdKey> id_keys = files->id_keys();
  return std::make_unique<content::ChunkedContent>(version, std::move(files), keys,
                                                   std::move(id_keys));
}

}  // namespace backup::ctl
