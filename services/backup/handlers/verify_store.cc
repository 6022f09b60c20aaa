#include "services/backup/handlers/verify_store.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "content/chunk_reader.h"
#include "content/chunk_seal.h"
#include "content/pack_footer.h"
#include "services/backup/handlers/chunk_id_keys.h"

namespace backup::handlers {
namespace {

using storage::PackInfo;
using storage::StoredChunk;

// Versions read from the catalog at once; small ones of older programs come with their content.
constexpr int kPage = 64;
constexpr int kChunksPerPage = 256;
// How often progress is told at least; that is also when a caller that is gone is noticed.
constexpr int64_t kBytesPerProgress = int64_t{256} << 20;
// Numbers of chunks that are remembered: about 20 MiB.
constexpr size_t kMaxRemembered = size_t{1} << 20;

using Report = std::function<absl::Status(const v1::VerifyStoreResponse&)>;

absl::Status ReadToEnd(ByteSource& bytes) {
  while (true) {
    ASSIGN_OR_RETURN(const absl::string_view piece, bytes.Read());
    if (piece.empty()) return absl::OkStatus();
  }
}

absl::Status ReadRange(const content::StoredContent& content, PieceBudget& budget, int64_t offset,
                       int64_t size_bytes) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteSource> bytes,
                   content.Read(budget, offset, size_bytes, content::Verification::kOn));
  return ReadToEnd(*bytes);
}

v1::VerifyStoreResponse Finding(const storage::StoredVersion& stored, const absl::Status& wrong) {
  v1::VerifyStoreResponse event;
  v1::VerifyFinding& finding = *event.mutable_finding();
  finding.set_kind(ReasonOf(wrong) == Reason::kStorageIo ? v1::VerifyFinding::UNREADABLE
                   : SaysMissing(wrong)                  ? v1::VerifyFinding::MISSING
                                                         : v1::VerifyFinding::DAMAGED);
  if (const std::optional<Reason> reason = ReasonOf(wrong))
    finding.set_reason(std::string(InfoOf(*reason).name));
  finding.set_client_id(ToUuid(stored.version.client_id));
  finding.set_file_name(NameToText(stored.version.file_name));
  finding.set_version_id(stored.version.version_id);
  finding.set_detail(std::string(wrong.message()));
  return event;
}

absl::Status WrongRecipe(int64_t size_bytes, int64_t offset) {
  return MakeError(Reason::kBlobDamaged,
                   absl::StrCat("the chunks of this content come to ", offset, " bytes of ",
                                size_bytes, " and do not go on"));
}

// What the footer of a pack says of a chunk, if it says anything of it.
bool IsInFooter(const content::PackFooter& footer, const StoredChunk& chunk) {
  return std::any_of(
      footer.chunks.begin(), footer.chunks.end(), [&](const storage::PackedChunk& packed) {
        return packed.id == chunk.ref.id && packed.size_bytes == chunk.ref.size_bytes &&
               packed.offset == chunk.offset && packed.stored_size == chunk.stored_size &&
               packed.index == chunk.index && packed.coding == chunk.coding;
      });
}

// The footer of a pack, whole and of this pack.
absl::StatusOr<content::PackFooter> ReadFooterOf(const StoredPlaces& places, const PackInfo& pack) {
  ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccess> access, places.blobs.Open(pack.blob_id));
  ASSIGN_OR_RETURN(content::PackFooter footer, content::ReadPackFooter(*access));
  if (footer.pack_id != pack.blob_id || footer.form != pack.form)
    return MakeError(Reason::kBlobDamaged, "its footer is another pack's");
  if (pack.form != storage::StorageForm::kSealed) return footer;
  ASSIGN_OR_RETURN(const std::string key,
                   content::OpenPackKey(footer.wrapped_key, pack.blob_id, places.master_key));
  RETURN_IF_ERROR(content::CheckPackSeal(footer, key));
  return footer;
}

// Chunks by their number, unless there are too many: then all.
class ChunkNumbers {
 public:
  void Insert(int64_t number) {
    if (numbers_.size() < kMaxRemembered) {
      numbers_.insert(number);
    } else {
      has_all_ = true;
    }
  }
  bool Contains(int64_t number) const { return has_all_ || numbers_.contains(number); }

 private:
  absl::flat_hash_set<int64_t> numbers_;
  bool has_all_ = false;
};

// One verification: first packs, each once, then versions, each by what is known of its chunks.
class Verification {
 public:
  Verification(const StoredPlaces& places, PieceBudget& budget, const Report& report)
      : places_(places),
        budget_(budget),
        report_(report),
        id_keys_(places.catalog, places.store_keys) {}

  absl::Status Run() {
    ASSIGN_OR_RETURN(
        const storage::Counts counts,
        places_.catalog.Read([](storage::Snapshot& snapshot) { return snapshot.Count(); }));
    total_versions_ = counts.versions;
    RETURN_IF_ERROR(CheckPacks());
    RETURN_IF_ERROR(CheckVersions());
    RETURN_IF_ERROR(ReportOrphans());
    v1::VerifyStoreResponse last;
    *last.mutable_summary() = summary_;
    return report_(last);
  }

 private:
  absl::Status CheckPacks();
  absl::Status CheckPack(const PackInfo& pack);
  absl::Status ReportPack(const PackInfo& pack, const absl::Status& wrong);
  // Takes one chunk that was read; whether it is right.
  absl::StatusOr<bool> Take(const content::ChunkReader::Result& read);
  absl::Status CheckVersions();
  absl::Status CheckVersion(const storage::StoredVersion& stored);
  // OK if the content is what was stored.
  absl::Status CheckContent(const storage::StoredVersion& stored);
  absl::Status CheckRecipe(const storage::StoredVersion& stored, const storage::ChunkList& chunks,
                           const content::StoredContent& content);
  absl::Status CheckChunk(const content::StoredContent& content, const StoredChunk& chunk);
  // Whether nothing in the catalog knows of it.
  absl::StatusOr<bool> IsOrphan(const BlobId& blob);
  absl::Status ReportOrphans();
  absl::Status TellProgress();
  absl::Status TellProgressNowAndThen();

  const StoredPlaces& places_;
  PieceBudget& budget_;
  const Report& report_;
  int64_t total_versions_ = 0;
  int64_t told_bytes_ = 0;
  v1::VerifySummary summary_;
  ChunkIdKeys id_keys_;
  // Chunks of packs that are not right: they are read again for the versions that have them.
  ChunkNumbers suspects_;
  // Chunks in the catalog that are right.
  absl::flat_hash_set<int64_t> checked_;
};

absl::Status Verification::CheckPacks() {
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<PackInfo> page,
                     places_.catalog.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ListPacks(after, kPage);
                     }));
    if (page.empty()) return absl::OkStatus();
    for (const PackInfo& pack : page) {
      after = pack.pack;
      RETURN_IF_ERROR(CheckPack(pack));
      RETURN_IF_ERROR(TellProgressNowAndThen());
    }
  }
}

absl::Status Verification::CheckPack(const PackInfo& pack) {
  const absl::StatusOr<content::PackFooter> footer = ReadFooterOf(places_, pack);
  absl::Status wrong = footer.status();
  content::ChunkReader reader(
      {&places_.master_key, &places_.store_keys, &places_.dictionaries},
      [this](const BlobId& id) { return places_.blobs.Open(id); }, budget_);
  bool all_are_right = true;
  const auto take = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const bool is_right, Take(reader.Next()));
    all_are_right = all_are_right && is_right;
    return absl::OkStatus();
  };
  int after = -1;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<StoredChunk> chunks,
                     places_.catalog.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ListPackChunks(pack.pack, after, kChunksPerPage);
                     }));
    if (chunks.empty()) break;
    after = chunks.back().index;
    for (const StoredChunk& chunk : chunks) {
      if (wrong.ok() && !IsInFooter(*footer, chunk))
        wrong = MakeError(Reason::kBlobDamaged, "its footer and the catalog disagree");
      while (!reader.TryBegin(chunk)) RETURN_IF_ERROR(take());
    }
  }
  while (reader.has_begun()) RETURN_IF_ERROR(take());
  // What is wrong with its chunks is told for each version; a pack that is gone has none.
  return ReasonOf(wrong) == Reason::kBlobDamaged && all_are_right ? ReportPack(pack, wrong)
                                                                  : absl::OkStatus();
}

absl::Status Verification::ReportPack(const PackInfo& pack, const absl::Status& wrong) {
  summary_.set_damaged_versions(summary_.damaged_versions() + 1);
  v1::VerifyStoreResponse event;
  v1::VerifyFinding& finding = *event.mutable_finding();
  finding.set_kind(v1::VerifyFinding::DAMAGED);
  finding.set_reason(std::string(InfoOf(Reason::kBlobDamaged).name));
  finding.set_detail(absl::StrCat("the pack ", ToHex(pack.blob_id), ": ", wrong.message(),
                                  "; its chunks are read without it, but a catalog cannot be "
                                  "rebuilt from it"));
  return report_(event);
}

absl::StatusOr<bool> Verification::Take(const content::ChunkReader::Result& read) {
  const StoredChunk& chunk = read.chunk;
  if (read.plain.ok()) {
    summary_.set_checked_bytes(summary_.checked_bytes() + chunk.ref.size_bytes);
    ASSIGN_OR_RETURN(const bool is_right,
                     id_keys_.Made(chunk.ref.id, chunk.form, (*read.plain)->bytes()));
    if (is_right) return true;
  }
  suspects_.Insert(chunk.number);
  // No version will tell, and the next upload must not refer to it.
  const bool is_damaged = read.plain.ok() || ReasonOf(read.plain.status()) == Reason::kBlobDamaged;
  if (chunk.refs == 0 && is_damaged && !chunk.is_damaged) MarkDamaged(places_, chunk);
  return false;
}

// Goes through all versions, as of the moment when each page is read.
absl::Status Verification::CheckVersions() {
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<storage::StoredVersion> page,
                     places_.catalog.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ScanVersions(after, kPage);
                     }));
    if (page.empty()) return absl::OkStatus();
    for (const storage::StoredVersion& stored : page) {
      after = stored.version.version_id;
      summary_.set_checked_versions(summary_.checked_versions() + 1);
      if (stored.version.state != storage::VersionState::kAbandoned)
        RETURN_IF_ERROR(CheckVersion(stored));
      RETURN_IF_ERROR(TellProgressNowAndThen());
    }
    RETURN_IF_ERROR(TellProgress());
  }
}

absl::Status Verification::CheckVersion(const storage::StoredVersion& stored) {
  const absl::Status wrong = LookAgain(places_.catalog, stored.version, CheckContent(stored));
  // Deleted since the page was read: nothing is wrong.
  if (wrong.ok() || ReasonOf(wrong) == Reason::kVersionNotFound) return absl::OkStatus();
  summary_.set_damaged_versions(summary_.damaged_versions() + 1);
  return report_(Finding(stored, wrong));
}

absl::Status Verification::CheckContent(const storage::StoredVersion& stored) {
  ASSIGN_OR_RETURN(const std::unique_ptr<content::StoredContent> content,
                   OpenContent(places_, stored));
  if (const auto* chunks = std::get_if<storage::ChunkList>(&stored.content))
    return CheckRecipe(stored, *chunks, *content);
  summary_.set_checked_bytes(summary_.checked_bytes() + stored.version.size_bytes);
  return ReadRange(*content, budget_, 0, stored.version.size_bytes);
}

absl::Status Verification::CheckRecipe(const storage::StoredVersion& stored,
                                       const storage::ChunkList& chunks,
                                       const content::StoredContent& content) {
  if (checked_.contains(chunks.chunk)) return absl::OkStatus();
  const int64_t size = stored.version.size_bytes;
  int64_t offset = 0;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<StoredChunk> page,
                     places_.catalog.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ListChunks(chunks, offset, kChunksPerPage);
                     }));
    if (page.empty()) break;
    for (const StoredChunk& chunk : page) {
      if (chunk.offset_in_content != offset || chunk.ref.size_bytes > size - offset)
        return WrongRecipe(size, offset);
      RETURN_IF_ERROR(CheckChunk(content, chunk));
      offset += chunk.ref.size_bytes;
    }
  }
  return offset == size ? absl::OkStatus() : WrongRecipe(size, offset);
}

absl::Status Verification::CheckChunk(const content::StoredContent& content,
                                      const StoredChunk& chunk) {
  const bool is_packed = chunk.pack != 0;
  if (is_packed ? !chunk.is_damaged && !suspects_.Contains(chunk.number)
                : checked_.contains(chunk.number))
    return absl::OkStatus();
  RETURN_IF_ERROR(ReadRange(content, budget_, chunk.offset_in_content, chunk.ref.size_bytes));
  if (is_packed) return absl::OkStatus();
  summary_.set_checked_bytes(summary_.checked_bytes() + chunk.ref.size_bytes);
  if (checked_.size() == kMaxRemembered) checked_.clear();
  checked_.insert(chunk.number);
  return absl::OkStatus();
}

// A blob becomes known before it is stored, and is forgotten after it was deleted; so one that is
// not known may just have gone.
absl::StatusOr<bool> Verification::IsOrphan(const BlobId& blob) {
  const auto use = [&] {
    return places_.catalog.Read(
        [&](storage::Snapshot& snapshot) { return snapshot.FindBlob(blob); });
  };
  ASSIGN_OR_RETURN(const storage::BlobUse first_look, use());
  if (first_look != storage::BlobUse::kUnknown) return false;
  const absl::Status still_there = places_.blobs.Open(blob).status();
  if (absl::IsNotFound(still_there)) return false;
  RETURN_IF_ERROR(still_there);
  ASSIGN_OR_RETURN(const storage::BlobUse second_look, use());
  return second_look == storage::BlobUse::kUnknown;
}

absl::Status Verification::ReportOrphans() {
  return places_.blobs.List([&](const storage::BlobInfo& blob) -> absl::Status {
    ASSIGN_OR_RETURN(const bool is_orphan, IsOrphan(blob.id));
    if (!is_orphan) return absl::OkStatus();
    summary_.set_orphan_blobs(summary_.orphan_blobs() + 1);
    v1::VerifyStoreResponse event;
    event.mutable_finding()->set_kind(v1::VerifyFinding::ORPHAN);
    event.mutable_finding()->set_detail(absl::StrCat("blob ", ToHex(blob.id), " has no version"));
    return report_(event);
  });
}

absl::Status Verification::TellProgress() {
  told_bytes_ = summary_.checked_bytes();
  v1::VerifyStoreResponse event;
  event.mutable_progress()->set_checked_versions(summary_.checked_versions());
  event.mutable_progress()->set_total_versions(total_versions_);
  event.mutable_progress()->set_checked_bytes(summary_.checked_bytes());
  return report_(event);
}

absl::Status Verification::TellProgressNowAndThen() {
  const bool is_time = summary_.checked_bytes() - told_bytes_ >= kBytesPerProgress;
  return is_time ? TellProgress() : absl::OkStatus();
}

}  // namespace

absl::Status VerifyStore(const StoredPlaces& places, PieceBudget& budget, const Report& report) {
  // As the catalog has them now: what was read before is no proof.
  const std::unique_ptr<content::Dictionaries> dictionaries =
      MakeDictionaries(places.catalog, places.store_keys);
  const StoredPlaces read_anew{places.catalog,    places.blobs,  places.master_key,
                               places.store_keys, *dictionaries, places.chunk_cache};
  return Verification(read_anew, budget, report).Run();
}

}  // namespace backup::handlers
