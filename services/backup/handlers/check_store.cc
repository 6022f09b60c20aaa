#include "services/backup/handlers/check_store.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/low_priority_thread.h"
#include "base/name_text.h"
#include "base/secret_bytes.h"
#include "base/start_thread.h"
#include "base/status_macros.h"
#include "content/chunk_seal.h"
#include "content/pack_footer.h"
#include "glog/logging.h"

namespace backup::handlers {
namespace {

using content::ChunkReader;
using storage::PackInfo;
using storage::StoredChunk;

constexpr int kChunksPerPage = 256;
// Numbers of chunks that are remembered: about 20 MiB, and of those in the catalog, with a digest
// each, about as much.
constexpr size_t kMaxRemembered = size_t{1} << 20;
constexpr size_t kMaxChecked = size_t{1} << 17;
// Chunks that are compared at once, so that two digests go on beside each other nearly all the
// time.
constexpr size_t kDigestedAtOnce = 4;
// Chunks that one transaction marks, so that others need not wait for it for long.
constexpr size_t kMarksAtOnce = 256;

// Calls `moved` with the size of each piece.
absl::Status ReadToEnd(ByteSource& bytes, const StoreCheck::Moved& moved) {
  while (true) {
    ASSIGN_OR_RETURN(const absl::string_view piece, bytes.Read());
    if (piece.empty()) return absl::OkStatus();
    RETURN_IF_ERROR(moved(std::ssize(piece)));
  }
}

v1::VerifyFinding Finding(const storage::StoredVersion& stored, const absl::Status& wrong) {
  v1::VerifyFinding finding;
  const bool may_be_whole =
      ReasonOf(wrong) == Reason::kStorageIo || ReasonOf(wrong) == Reason::kKeyMissing;
  finding.set_kind(may_be_whole         ? v1::VerifyFinding::UNREADABLE
                   : SaysMissing(wrong) ? v1::VerifyFinding::MISSING
                                        : v1::VerifyFinding::DAMAGED);
  if (const std::optional<Reason> reason = ReasonOf(wrong))
    finding.set_reason(std::string(InfoOf(*reason).name));
  finding.set_client_id(ToUuid(stored.version.client_id));
  finding.set_file_name(NameToText(stored.version.file_name));
  finding.set_version_id(stored.version.version_id);
  finding.set_detail(
      absl::StrCat(wrong.message(), stored.version.delete_time ? "; it is in the trash" : ""));
  return finding;
}

v1::VerifyFinding Finding(const PackInfo& pack, const absl::Status& wrong) {
  v1::VerifyFinding finding;
  finding.set_kind(v1::VerifyFinding::DAMAGED);
  finding.set_reason(std::string(InfoOf(Reason::kBlobDamaged).name));
  finding.set_detail(absl::StrCat("the pack ", ToHex(pack.blob_id), ": ", wrong.message(),
                                  "; its chunks are read without it, but a catalog cannot be "
                                  "rebuilt from it"));
  return finding;
}

absl::Status WrongRecipe(int64_t size_bytes, int64_t offset) {
  return MakeError(Reason::kBlobDamaged,
                   absl::StrCat("the chunks of this content come to ", offset, " bytes of ",
                                size_bytes, " and do not go on"));
}

// What the footer of a pack says of a chunk, if it says anything of it.
bool IsInFooter(const content::PackFooter& footer, const StoredChunk& chunk) {
  const auto found =
      std::lower_bound(footer.chunks.begin(), footer.chunks.end(), chunk.index,
                       [](const auto& packed, int index) { return packed.index < index; });
  return found != footer.chunks.end() && found->id == chunk.ref.id &&
         found->size_bytes == chunk.ref.size_bytes && found->offset == chunk.offset &&
         found->stored_size == chunk.stored_size && found->index == chunk.index &&
         found->coding == chunk.coding;
}

// The footer of a pack, whole and of this pack.
absl::StatusOr<content::PackFooter> ReadFooterOf(const StoredPlaces& places, const PackInfo& pack) {
  ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccess> access, places.blobs.Open(pack.blob_id));
  ASSIGN_OR_RETURN(content::PackFooter footer, content::ReadPackFooter(*access));
  if (footer.pack_id != pack.blob_id || footer.form != pack.form)
    return MakeError(Reason::kBlobDamaged, "its footer is another pack's");
  if (pack.form != storage::StorageForm::kSealed) return footer;
  ASSIGN_OR_RETURN(const SecretBytes key,
                   content::OpenPackKey(footer.wrapped_key, pack.blob_id, places.master_key));
  RETURN_IF_ERROR(content::CheckPackSeal(footer, key));
  return footer;
}

absl::Status CompareFooter(const StoredPlaces& places, const PackInfo& pack,
                           const std::vector<StoredChunk>& chunks) {
  ASSIGN_OR_RETURN(const content::PackFooter footer, ReadFooterOf(places, pack));
  const bool agrees = std::all_of(chunks.begin(), chunks.end(), [&](const StoredChunk& chunk) {
    return IsInFooter(footer, chunk);
  });
  return agrees ? absl::OkStatus()
                : MakeError(Reason::kBlobDamaged, "its footer and the catalog disagree");
}

// A version with its content, unless it is gone.
absl::StatusOr<std::optional<storage::StoredVersion>> Find(storage::Snapshot& snapshot,
                                                           int64_t version_id) {
  ASSIGN_OR_RETURN(const std::vector<storage::StoredVersion> found,
                   snapshot.ScanVersions(version_id - 1, /*limit=*/1));
  if (found.empty() || found.front().version.version_id != version_id ||
      found.front().version.state == storage::VersionState::kAbandoned)
    return std::nullopt;
  return found.front();
}

StoredPlaces With(const StoredPlaces& places, content::Dictionaries& dictionaries) {
  return {places.catalog,    places.blobs, places.master_key,
          places.store_keys, dictionaries, places.chunk_cache};
}

}  // namespace

void StoreCheck::Numbers::Insert(int64_t number) {
  if (numbers_.size() < kMaxRemembered) {
    numbers_.insert(number);
  } else {
    has_all_ = true;
  }
}

// Chunks that were read, and are digested by a thread of their own: that takes longer than all else
// that is done to them, and the medium need not wait for it.
class StoreCheck::ChunkBatch {
 public:
  // `keys` must outlive this.
  ChunkBatch(std::vector<ChunkReader::Result> read, const ChunkIdKeys& keys)
      : read_(std::move(read)) {
    const auto digest = [this, &keys, is_patient = IsLowPriority()] {
      if (is_patient) BecomeLowPriority();
      Digest(keys);
    };
    std::optional<std::thread> thread = TryStartThread(digest);
    if (thread) {
      thread_ = std::move(*thread);
    } else {
      Digest(keys);
    }
  }
  ChunkBatch(const ChunkBatch&) = delete;
  ChunkBatch& operator=(const ChunkBatch&) = delete;
  ~ChunkBatch() { WaitForDigests(); }

  const std::vector<ChunkReader::Result>& read() const { return read_; }
  // One of each chunk; of those that could not be read they are of no use.
  const std::vector<std::string>& WaitForDigests() {
    if (thread_.joinable()) thread_.join();
    return digests_;
  }

 private:
  void Digest(const ChunkIdKeys& keys) {
    std::vector<absl::string_view> plain;
    for (const ChunkReader::Result& each : read_)
      plain.push_back(each.plain.ok() ? (*each.plain)->bytes() : absl::string_view());
    digests_ = keys.DigestsOf(plain);
  }

  const std::vector<ChunkReader::Result> read_;
  std::vector<std::string> digests_;
  std::thread thread_;
};

StoreCheck::StoreCheck(const StoredPlaces& places, PieceBudget& budget, Hooks hooks)
    : dictionaries_(MakeDictionaries(places.catalog, places.store_keys)),
      places_(With(places, *dictionaries_)),
      budget_(budget),
      hooks_(std::move(hooks)),
      id_keys_(places.catalog, places.store_keys) {}

// Packs.

absl::StatusOr<std::vector<StoredChunk>> StoreCheck::ChunksOf(int64_t pack) {
  std::vector<StoredChunk> chunks;
  while (true) {
    const int after = chunks.empty() ? -1 : chunks.back().index;
    ASSIGN_OR_RETURN(const std::vector<StoredChunk> page,
                     places_.catalog.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ListPackChunks(pack, after, kChunksPerPage);
                     }));
    if (page.empty()) return chunks;
    chunks.insert(chunks.end(), page.begin(), page.end());
  }
}

absl::Status StoreCheck::CheckPack(const PackInfo& pack) {
  ASSIGN_OR_RETURN(const std::vector<StoredChunk> chunks, ChunksOf(pack.pack));
  const absl::Status wrong = CompareFooter(places_, pack, chunks);
  // Nothing is known of it, nor of what comes after it.
  if (storage::SaysStoreIsAway(wrong)) return wrong;
  Looked looked;
  RETURN_IF_ERROR(ReadChunks(chunks, looked));
  RETURN_IF_ERROR(Mark(pack, looked));
  // What is wrong with its chunks is told for each version; a pack that is gone has none.
  if (ReasonOf(wrong) != Reason::kBlobDamaged || !looked.all_are_right) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<StoredChunk> now, ChunksOf(pack.pack));
  const absl::Status still_wrong = CompareFooter(places_, pack, now);
  return now.empty() || ReasonOf(still_wrong) != Reason::kBlobDamaged
             ? absl::OkStatus()
             : hooks_.found(Finding(pack, still_wrong));
}

absl::Status StoreCheck::ReadChunks(const std::vector<StoredChunk>& chunks, Looked& looked) {
  ChunkReader reader(
      {&places_.master_key, &places_.store_keys, &places_.dictionaries},
      [this](const BlobId& id) { return places_.blobs.Open(id); }, budget_);
  auto next = chunks.begin();
  const auto begin = [&] {
    while (next != chunks.end() && reader.TryBegin(*next)) ++next;
    return reader.has_begun();
  };
  std::unique_ptr<ChunkBatch> digested;
  while (begin()) {
    ASSIGN_OR_RETURN(std::unique_ptr<ChunkBatch> read, ReadSome(begin, reader));
    if (digested) RETURN_IF_ERROR(TakeAll(*digested, reader, looked));
    digested = std::move(read);
  }
  return digested ? TakeAll(*digested, reader, looked) : absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<StoreCheck::ChunkBatch>> StoreCheck::ReadSome(
    const std::function<bool()>& begin, ChunkReader& reader) {
  std::vector<ChunkReader::Result> read;
  while (read.size() < kDigestedAtOnce && begin()) {
    read.push_back(reader.Next());
    RETURN_IF_ERROR(hooks_.moved(read.back().chunk.stored_size));
  }
  // While these are digested, others come.
  begin();
  return std::make_unique<ChunkBatch>(std::move(read), id_keys_);
}

absl::Status StoreCheck::TakeAll(ChunkBatch& batch, ChunkReader& reader, Looked& looked) {
  const std::vector<std::string>& digests = batch.WaitForDigests();
  for (size_t i = 0; i < digests.size(); ++i)
    RETURN_IF_ERROR(Take(batch.read()[i], digests[i], reader, looked));
  return absl::OkStatus();
}

absl::Status StoreCheck::Take(const ChunkReader::Result& read, absl::string_view digest,
                              ChunkReader& reader, Looked& looked) {
  const StoredChunk& chunk = read.chunk;
  if (storage::SaysStoreIsAway(read.plain.status())) return read.plain.status();
  State state = State::kUnclear;
  if (read.plain.ok()) {
    checked_bytes_ += chunk.ref.size_bytes;
    ASSIGN_OR_RETURN(const bool is_right, id_keys_.MadeOf(chunk.ref.id, chunk.form, digest));
    if (is_right) state = State::kRight;
  }
  if (state != State::kRight) {
    ASSIGN_OR_RETURN(state, LookAtChunkAgain(chunk, reader));
  }
  if (state == State::kRight) {
    if (chunk.is_damaged) looked.whole.push_back(chunk);
    return absl::OkStatus();
  }
  looked.all_are_right = false;
  suspects_.Insert(chunk.number);
  if (state == State::kDamaged && !chunk.is_damaged) looked.damaged.push_back(chunk);
  return absl::OkStatus();
}

absl::StatusOr<StoreCheck::State> StoreCheck::LookAtChunkAgain(const StoredChunk& chunk,
                                                               ChunkReader& reader) {
  ASSIGN_OR_RETURN(const std::vector<StoredChunk> now,
                   places_.catalog.Read([&](storage::Snapshot& snapshot) {
                     return snapshot.ListPackChunks(chunk.pack, chunk.index - 1, /*limit=*/1);
                   }));
  // It has another place by now, or is gone: nothing is known of it.
  if (now.empty() || now.front().number != chunk.number) return State::kUnclear;
  const absl::StatusOr<std::unique_ptr<content::PlainChunk>> plain = reader.ReadNow(now.front());
  if (storage::SaysStoreIsAway(plain.status())) return plain.status();
  if (!plain.ok()) {
    return ReasonOf(plain.status()) == Reason::kBlobDamaged ? State::kDamaged : State::kUnclear;
  }
  ASSIGN_OR_RETURN(const bool is_right, id_keys_.Made(chunk.ref.id, chunk.form, (*plain)->bytes()));
  if (is_right) return State::kRight;
  if (now.front().refs <= 0) return State::kDamaged;
  // Or it is of a client that is gone, and with it its key: versions that have it will tell.
  ASSIGN_OR_RETURN(const ChunkIdKeys::Use use, id_keys_.UseOf(chunk));
  return use == ChunkIdKeys::Use::kNeeded ? State::kDamaged : State::kUnclear;
}

absl::Status StoreCheck::Mark(const PackInfo& pack, const Looked& looked) {
  const auto mark = [&](const std::vector<StoredChunk>& chunks, auto method) -> absl::Status {
    for (size_t begin = 0; begin < chunks.size(); begin += kMarksAtOnce) {
      const size_t end = std::min(begin + kMarksAtOnce, chunks.size());
      RETURN_IF_ERROR(places_.catalog.Run([&](storage::Transaction& transaction) -> absl::Status {
        for (size_t i = begin; i < end; ++i)
          RETURN_IF_ERROR((transaction.*method)(chunks[i].number, chunks[i].pack));
        return absl::OkStatus();
      }));
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(mark(looked.damaged, &storage::Transaction::MarkDamaged));
  RETURN_IF_ERROR(mark(looked.whole, &storage::Transaction::MarkWhole));
  for (const StoredChunk& chunk : looked.damaged) {
    if (places_.chunk_cache != nullptr) places_.chunk_cache->Forget(chunk.ref.id);
  }
  LOG_IF(ERROR, !looked.damaged.empty())
      << looked.damaged.size() << " damaged chunks in the pack " << ToHex(pack.blob_id)
      << ": each heals when a client sends the same bytes again";
  LOG_IF(INFO, !looked.whole.empty())
      << looked.whole.size() << " chunks of the pack " << ToHex(pack.blob_id)
      << " that were marked as damaged can be read after all";
  return absl::OkStatus();
}

// Versions.

absl::Status StoreCheck::CheckVersion(const storage::StoredVersion& stored) {
  if (stored.version.state == storage::VersionState::kAbandoned) return absl::OkStatus();
  const absl::Status first_look = CheckContent(stored);
  if (first_look.ok()) return MarkVersion(stored, first_look);
  // The check itself may have been told to end, or the store is away.
  if (!ReasonOf(first_look) || storage::SaysStoreIsAway(first_look)) return first_look;
  // Its content may have moved since it was listed, or is gone with it: then nothing is wrong. Nor
  // is it if it can be read now.
  ASSIGN_OR_RETURN(const std::optional<storage::StoredVersion> now, Now(stored.version.version_id));
  if (!now) return absl::OkStatus();
  const absl::Status wrong = CheckContent(*now);
  const std::optional<Reason> reason = ReasonOf(wrong);
  if (!wrong.ok() && (!reason || storage::SaysStoreIsAway(wrong))) return wrong;
  if (wrong.ok() || reason == Reason::kBlobDamaged || reason == Reason::kStateCorrupt)
    RETURN_IF_ERROR(MarkVersion(*now, wrong));
  if (wrong.ok()) return absl::OkStatus();
  // Or it went while it was read.
  ASSIGN_OR_RETURN(const std::optional<storage::StoredVersion> left,
                   Now(stored.version.version_id));
  return left ? hooks_.found(Finding(*now, wrong)) : absl::OkStatus();
}

absl::StatusOr<std::optional<storage::StoredVersion>> StoreCheck::Now(int64_t version_id) {
  return places_.catalog.Read(
      [&](storage::Snapshot& snapshot) { return Find(snapshot, version_id); });
}

absl::Status StoreCheck::MarkVersion(const storage::StoredVersion& stored,
                                     const absl::Status& wrong) {
  const storage::Version& version = stored.version;
  if (wrong.ok() && !version.is_damaged) return absl::OkStatus();
  if (!wrong.ok()) {
    // Its chunks may tell already: the transactions that marked them when they were read come
    // before this one. A recipe is read by no transaction, so that nobody waits for it.
    RETURN_IF_ERROR(places_.catalog.Run([](storage::Transaction&) { return absl::OkStatus(); }));
    ASSIGN_OR_RETURN(const std::optional<storage::StoredVersion> now, Now(version.version_id));
    if (now && now->version.is_damaged) return absl::OkStatus();
  }
  return places_.catalog.Run([&](storage::Transaction& transaction) -> absl::Status {
    if (wrong.ok())
      return transaction.MarkVersionWhole(version.version_id, stored.content).status();
    ASSIGN_OR_RETURN(const std::optional<storage::StoredVersion> now,
                     Find(transaction, version.version_id));
    if (now && now->version.is_damaged) return absl::OkStatus();
    return transaction.MarkVersionDamaged(version.version_id, stored.content).status();
  });
}

absl::Status StoreCheck::ReadRange(const content::StoredContent& content, int64_t offset,
                                   int64_t size_bytes, const Moved& moved) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteSource> bytes,
                   content.Read(budget_, offset, size_bytes, content::Verification::kOn));
  return ReadToEnd(*bytes, moved);
}

absl::Status StoreCheck::CheckContent(const storage::StoredVersion& stored) {
  ASSIGN_OR_RETURN(const std::unique_ptr<content::StoredContent> content,
                   OpenContent(places_, stored));
  if (const auto* chunks = std::get_if<storage::ChunkList>(&stored.content))
    return CheckRecipe(stored, *chunks, *content);
  return ReadRange(*content, 0, stored.version.size_bytes, [this](int64_t bytes) {
    checked_bytes_ += bytes;
    return hooks_.moved(bytes);
  });
}

absl::Status StoreCheck::CheckRecipe(const storage::StoredVersion& stored,
                                     const storage::ChunkList& chunks,
                                     const content::StoredContent& content) {
  const auto checked = checked_.find(chunks.chunk);
  if (checked != checked_.end() && checked->second == stored.version.sha256)
    return absl::OkStatus();
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
  if (offset != size) return WrongRecipe(size, offset);
  if (chunks.recipe == 0 || size == 0) return absl::OkStatus();
  // Whoever reads from there on finds the end, too.
  ASSIGN_OR_RETURN(const std::vector<StoredChunk> end,
                   places_.catalog.Read([&](storage::Snapshot& snapshot) {
                     return snapshot.ListChunks(chunks, size - 1, /*limit=*/1);
                   }));
  return end.empty() ? WrongRecipe(size, size - 1) : absl::OkStatus();
}

absl::Status StoreCheck::CheckChunk(const content::StoredContent& content,
                                    const StoredChunk& chunk) {
  const bool is_packed = chunk.pack != 0;
  const bool is_all = chunk.ref.size_bytes == content.version().size_bytes;
  const std::string sha256 = is_all ? content.version().sha256 : std::string();
  if (is_packed) {
    if (!chunk.is_damaged && !suspects_.Contains(chunk.number)) return absl::OkStatus();
  } else {
    const auto checked = checked_.find(chunk.number);
    if (checked != checked_.end() && checked->second == sha256) return absl::OkStatus();
    RETURN_IF_ERROR(hooks_.moved(chunk.stored_size));
    checked_bytes_ += chunk.ref.size_bytes;
  }
  RETURN_IF_ERROR(ReadRange(content, chunk.offset_in_content, chunk.ref.size_bytes,
                            [](int64_t) { return absl::OkStatus(); }));
  if (chunk.is_damaged) {
    RETURN_IF_ERROR(places_.catalog.Run([&](storage::Transaction& transaction) {
      return transaction.MarkWhole(chunk.number, chunk.pack);
    }));
  }
  if (is_packed) return absl::OkStatus();
  if (checked_.size() == kMaxChecked) checked_.clear();
  checked_[chunk.number] = sha256;
  return absl::OkStatus();
}

// Blobs.

// A blob becomes known before it is stored, and is forgotten after it was deleted; so one that is
// not known may just have gone.
absl::Status StoreCheck::CheckBlob(const BlobId& blob) {
  const auto use = [&] {
    return places_.catalog.Read(
        [&](storage::Snapshot& snapshot) { return snapshot.FindBlob(blob); });
  };
  ASSIGN_OR_RETURN(const storage::BlobUse first_look, use());
  if (first_look != storage::BlobUse::kUnknown) return absl::OkStatus();
  const absl::Status still_there = places_.blobs.Open(blob).status();
  if (absl::IsNotFound(still_there)) return absl::OkStatus();
  RETURN_IF_ERROR(still_there);
  ASSIGN_OR_RETURN(const storage::BlobUse second_look, use());
  if (second_look != storage::BlobUse::kUnknown) return absl::OkStatus();
  v1::VerifyFinding finding;
  finding.set_kind(v1::VerifyFinding::ORPHAN);
  finding.set_detail(absl::StrCat("blob ", ToHex(blob), " has no version"));
  return hooks_.found(finding);
}

}  // namespace backup::handlers
