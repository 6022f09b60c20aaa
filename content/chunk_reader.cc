#include "content/chunk_reader.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "content/chunk_decoding.h"
#include "content/chunk_seal.h"
#include "content/chunker.h"

namespace backup::content {
namespace {

using storage::ChunkCoding;
using storage::StorageForm;
using storage::StoredChunk;

// A content that came bit by bit has its chunks in so many packs by turns that it is worth it to
// keep a few open.
constexpr size_t kOpenPacks = 8;
constexpr size_t kMaxBegun = IoQueue::kMaxDepth + 1;
// Sizes of buffers are multiples of this: of few sizes the pool has one that was used before.
constexpr int64_t kBufferStep = int64_t{1} << 20;

int64_t RoundUp(int64_t size, int64_t step) { return (size + step - 1) / step * step; }
int64_t RoundDown(int64_t size, int64_t step) { return size / step * step; }

bool IsPacked(const StoredChunk& chunk) { return chunk.pack != 0; }

// Where in its pack, on whole blocks, a chunk is.
int64_t BlocksBegin(const StoredChunk& chunk) { return RoundDown(chunk.offset, kBufferAlignment); }
int64_t BlocksEnd(const StoredChunk& chunk) {
  return RoundUp(chunk.offset + chunk.stored_size, kBufferAlignment);
}

constexpr absl::string_view kPackIsMissing = "its pack is missing: ";

absl::Status Damaged(absl::string_view what) { return MakeError(Reason::kBlobDamaged, what); }

absl::Status MissingPack(const BlobId& id) {
  return Damaged(absl::StrCat(kPackIsMissing, ToHex(id)));
}

// The numbers tell how much memory is taken, and where a read begins.
absl::Status CheckNumbers(const StoredChunk& chunk) {
  constexpr auto kMaxSize = static_cast<int64_t>(kMaxChunkSize);
  const int64_t stored =
      IsPacked(chunk) ? chunk.stored_size : static_cast<int64_t>(chunk.payload.size());
  const bool are_right = chunk.ref.size_bytes > 0 && chunk.ref.size_bytes <= kMaxSize &&
                         stored > 0 && stored <= SealedChunkSize(kMaxSize) && chunk.offset >= 0;
  return are_right ? absl::OkStatus() : Damaged("a chunk has a size or a place that none can have");
}

// What a chunk takes until it is used.
int64_t MemoryOf(const StoredChunk& chunk) {
  const bool is_as_it_was = chunk.form == StorageForm::kPlain && chunk.coding == ChunkCoding::kRaw;
  return (IsPacked(chunk) ? RoundUp(BlocksEnd(chunk) - BlocksBegin(chunk), kBufferStep)
                          : static_cast<int64_t>(chunk.payload.size())) +
         (is_as_it_was ? 0 : chunk.ref.size_bytes);
}

}  // namespace

PlainChunk::~PlainChunk() {
  if (budget_ != nullptr) budget_->GiveBack(reserved_bytes_);
}

ChunkReader::ChunkReader(ChunkKeys keys, OpenPack open_pack, PieceBudget& budget, IoEngine* engine)
    : keys_(std::move(keys)), open_pack_(std::move(open_pack)), budget_(budget), queue_(engine) {}

bool ChunkReader::TryBegin(const StoredChunk& chunk) {
  const bool is_first = begun_.empty();
  // What is not in flight does not come any sooner.
  const auto is_started = [](const Part& part) { return part.state == Part::State::kStarted; };
  if (!is_first &&
      (begun_.size() == kMaxBegun ||
       (!begun_.back().parts.empty() &&
        std::none_of(begun_.back().parts.begin(), begun_.back().parts.end(), is_started))))
    return false;
  Begun begun;
  begun.chunk = chunk;
  begun.plain = absl::WrapUnique(new PlainChunk());
  begun.status = CheckNumbers(chunk);
  if (begun.status.ok()) {
    const int64_t bytes = MemoryOf(chunk);
    if (budget_.TryTake(bytes)) {
      begun.plain->budget_ = &budget_;
      begun.plain->reserved_bytes_ = bytes;
    } else if (!is_first) {
      return false;
    }
    begun.status = Lay(begun);
  }
  begun_.push_back(std::move(begun));
  Start();
  return true;
}

absl::Status ChunkReader::Lay(Begun& begun) {
  const StoredChunk& chunk = begun.chunk;
  if (!IsPacked(chunk)) return absl::OkStatus();
  if (begun.pack == nullptr) {
    ASSIGN_OR_RETURN(begun.pack, PackOf(chunk));
  }
  const RandomAccess& pack = *begun.pack->access;
  const int64_t exact_end = chunk.offset + chunk.stored_size;
  if (exact_end > pack.size_bytes())
    return Damaged(
        absl::StrCat("the pack ", ToHex(chunk.pack_blob), " is shorter than it should be"));
  // Whole blocks are read past the page cache; none is beyond the pack's last byte.
  const int64_t begin = BlocksBegin(chunk);
  const int64_t end = BlocksEnd(chunk) <= pack.size_bytes() ? BlocksEnd(chunk) : exact_end;
  begun.plain->stored_ =
      TakeAlignedBuffer(static_cast<size_t>(RoundUp(BlocksEnd(chunk) - begin, kBufferStep)));
  char* const buffer = begun.plain->stored_.get();
  begun.stored =
      absl::string_view(buffer + (chunk.offset - begin), static_cast<size_t>(chunk.stored_size));
  const int64_t parts = RoundUp(end - begin, kPieceSize) / static_cast<int64_t>(kPieceSize);
  const int64_t part_size = RoundUp((end - begin + parts - 1) / parts, kBufferAlignment);
  for (int64_t at = begin; at < end; at += part_size) {
    const std::span<char> bytes(buffer + (at - begin),
                                static_cast<size_t>(std::min(part_size, end - at)));
    begun.parts.push_back({.offset = at, .bytes = bytes, .state = Part::State::kWaits});
  }
  return absl::OkStatus();
}

ChunkReader::Result ChunkReader::Take(Decompressed decompressed) {
  absl::Status status = Finish(begun_.front());
  Begun begun = std::move(begun_.front());
  begun_.pop_front();
  if (status.ok()) status = OpenStored(begun, decompressed);
  if (!status.ok()) return {std::move(begun.chunk), status};
  return {std::move(begun.chunk), std::move(begun.plain)};
}

absl::StatusOr<std::unique_ptr<PlainChunk>> ChunkReader::ReadNow(const StoredChunk& chunk) {
  RETURN_IF_ERROR(CheckNumbers(chunk));
  Begun begun;
  begun.chunk = chunk;
  begun.plain = absl::WrapUnique(new PlainChunk());
  if (IsPacked(chunk)) {
    ASSIGN_OR_RETURN(begun.pack, OpenNew(chunk));
  }
  RETURN_IF_ERROR(Lay(begun));
  RETURN_IF_ERROR(Finish(begun));
  RETURN_IF_ERROR(OpenStored(begun, Decompressed::kYes));
  return std::move(begun.plain);
}

absl::Status ChunkReader::Open(const StoredChunk& chunk) {
  return IsPacked(chunk) ? PackOf(chunk).status() : absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<ChunkReader::Pack>> ChunkReader::PackOf(const StoredChunk& chunk) {
  const auto is_it = [&](const std::shared_ptr<Pack>& pack) { return pack->id == chunk.pack_blob; };
  if (const auto found = std::find_if(packs_.begin(), packs_.end(), is_it); found != packs_.end()) {
    std::rotate(packs_.begin(), found, std::next(found));
    return packs_.front();
  }
  ASSIGN_OR_RETURN(std::shared_ptr<Pack> pack, OpenNew(chunk));
  packs_.push_front(pack);
  if (packs_.size() > kOpenPacks) packs_.pop_back();
  return pack;
}

absl::StatusOr<std::shared_ptr<ChunkReader::Pack>> ChunkReader::OpenNew(const StoredChunk& chunk) {
  auto pack = std::make_shared<Pack>();
  pack->id = chunk.pack_blob;
  absl::StatusOr<std::unique_ptr<RandomAccess>> access = open_pack_(chunk.pack_blob);
  if (absl::IsNotFound(access.status())) return MissingPack(chunk.pack_blob);
  ASSIGN_OR_RETURN(pack->access, std::move(access));
  if (chunk.form == StorageForm::kSealed) {
    if (keys_.master_key == nullptr)
      return absl::InvalidArgumentError("the pack is sealed: the master key opens it");
    ASSIGN_OR_RETURN(pack->key, OpenPackKey(chunk.wrapped_key, chunk.pack_blob, *keys_.master_key));
  }
  return pack;
}

void ChunkReader::Start() {
  for (Begun& begun : begun_) {
    for (Part& part : begun.parts) {
      if (part.state != Part::State::kWaits) continue;
      if (queue_.in_flight() == IoQueue::kMaxDepth) return;
      const RandomAccess& pack = *begun.pack->access;
      const bool is_started =
          pack.read_depth() > 1 && pack.TryStartReadAt(queue_, part.offset, part.bytes);
      part.state = is_started ? Part::State::kStarted : Part::State::kCannotStart;
    }
  }
}

absl::Status ChunkReader::Finish(Begun& begun) {
  absl::Status status = begun.status;
  for (Part& part : begun.parts) {
    // Whatever was started must be waited for, in the order in which it was.
    const bool was_started = part.state == Part::State::kStarted;
    const bool is_read = was_started && queue_.Finish() == std::ssize(part.bytes);
    part.state = Part::State::kCannotStart;
    if (was_started) Start();
    if (!is_read && status.ok()) status = ReadAt(*begun.pack, part);
  }
  return status;
}

absl::Status ChunkReader::ReadAt(const Pack& pack, const Part& part) {
  const absl::Status read = pack.access->ReadAt(part.offset, part.bytes);
  // Some stores keep nothing for those that read it.
  return absl::IsNotFound(read) ? MissingPack(pack.id) : read;
}

absl::Status ChunkReader::OpenStored(Begun& begun, Decompressed decompressed) {
  PlainChunk& plain = *begun.plain;
  absl::string_view stored = begun.stored;
  if (!IsPacked(begun.chunk)) {
    plain.payload_ = std::move(begun.chunk.payload);
    stored = plain.payload_;
  }
  const absl::string_view key =
      begun.pack ? absl::string_view(begun.pack->key) : absl::string_view();
  ASSIGN_OR_RETURN(plain.bytes_,
                   decompressed == Decompressed::kYes
                       ? OpenChunk(begun.chunk, stored, key, keys_.store_keys, plain.scratch_,
                                   keys_.dictionaries)
                       : UnsealStored(begun.chunk, stored, key, keys_.store_keys, plain.scratch_));
  // What was unsealed or decompressed is not needed as it was stored.
  if (plain.bytes_.data() == plain.scratch_.data()) plain.stored_.reset();
  return absl::OkStatus();
}

bool SaysPackMissing(const absl::Status& status) {
  return absl::StrContains(status.message(), kPackIsMissing);
}

}  // namespace backup::content
