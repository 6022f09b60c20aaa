#include "services/backup/jobs/rewritten_pack.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/status_macros.h"
#include "content/chunk_seal.h"
#include "content/chunker.h"
#include "glog/logging.h"

namespace backup::jobs {
namespace {

using storage::ChunkCoding;
using storage::StorageForm;
using storage::StoredChunk;

// To read so much for nothing is faster than to begin a new range.
constexpr int64_t kMaxGap = 512 << 10;
// What zstd and sealing add at most to a chunk that they do not make smaller.
constexpr int64_t kMaxStoredSize = static_cast<int64_t>(content::kMaxChunkSize) * 9 / 8;

int64_t EndOf(const StoredChunk& chunk) { return chunk.offset + chunk.stored_size; }

absl::Status Damaged(absl::string_view what) { return MakeError(Reason::kBlobDamaged, what); }

}  // namespace

absl::Status PackedChunkReader::Open(const StoredChunk& chunk) {
  if (pack_id_ == chunk.pack_blob) {
    return pack_ != nullptr ? absl::OkStatus() : Damaged("the pack is missing");
  }
  range_ = nullptr;
  pack_ = nullptr;
  pack_id_ = chunk.pack_blob;
  absl::StatusOr<std::unique_ptr<RandomAccess>> opened = blobs_.Open(chunk.pack_blob);
  if (absl::IsNotFound(opened.status())) return Damaged("the pack is missing");
  if (!opened.ok()) pack_id_ = std::nullopt;
  RETURN_IF_ERROR(opened.status());
  pack_ = *std::move(opened);
  return absl::OkStatus();
}

absl::Status PackedChunkReader::Read(size_t number, std::string& stored) {
  const StoredChunk& chunk = chunks_[number];
  RETURN_IF_ERROR(Open(chunk));
  if (chunk.stored_size <= 0 || chunk.stored_size > kMaxStoredSize || chunk.offset < 0 ||
      EndOf(chunk) > pack_->size_bytes()) {
    return Damaged("the chunk is not in its pack");
  }
  if (ReadAhead(number, stored).ok()) return absl::OkStatus();
  // What is wrong near it is not its fault.
  range_ = nullptr;
  stored.resize(static_cast<size_t>(chunk.stored_size));
  return pack_->ReadAt(chunk.offset, stored);
}

void PackedChunkReader::BeginRange(size_t number) {
  const StoredChunk& first = chunks_[number];
  range_end_ = EndOf(first);
  for (size_t i = number + 1; i < chunks_.size(); ++i) {
    const StoredChunk& next = chunks_[i];
    if (next.pack_blob != first.pack_blob || next.offset < range_end_ ||
        next.offset > range_end_ + kMaxGap || EndOf(next) > pack_->size_bytes()) {
      break;
    }
    range_end_ = EndOf(next);
  }
  // Direct reads need whole blocks.
  constexpr int64_t kBlock = PieceBuffers::kAlignment;
  range_offset_ = first.offset / kBlock * kBlock;
  rest_ = {};
  range_ =
      std::make_unique<RangeSource>(*pack_, pieces_, range_offset_, range_end_ - range_offset_);
}

absl::Status PackedChunkReader::ReadAhead(size_t number, std::string& stored) {
  const StoredChunk& chunk = chunks_[number];
  if (range_ == nullptr || chunk.offset < range_offset_ || EndOf(chunk) > range_end_)
    BeginRange(number);
  stored.clear();
  while (std::ssize(stored) < chunk.stored_size) {
    if (rest_.empty()) {
      ASSIGN_OR_RETURN(rest_, range_->Read());
      if (rest_.empty()) return Damaged("the pack is too short");
    }
    const int64_t wanted = chunk.offset + std::ssize(stored);
    const size_t skipped = static_cast<size_t>(
        std::min<int64_t>(wanted - range_offset_, static_cast<int64_t>(rest_.size())));
    const size_t taken =
        std::min(rest_.size() - skipped, static_cast<size_t>(chunk.stored_size) - stored.size());
    stored.append(rest_.data() + skipped, taken);
    rest_.remove_prefix(skipped + taken);
    range_offset_ += static_cast<int64_t>(skipped + taken);
  }
  return absl::OkStatus();
}

RewrittenPack::RewrittenPack(const RewriteResources& resources, const BlobId& pack_id,
                             std::vector<StoredChunk> chunks, StorageForm form,
                             const content::CompressionPolicy& compression, std::stop_token token)
    : resources_(resources),
      chunks_(std::move(chunks)),
      form_(form),
      compression_(compression),
      token_(std::move(token)),
      reader_(resources_.blobs, resources_.pieces, chunks_),
      builder_(pack_id, form, resources_.keys.sealed_secret(), resources_.master_key) {}

absl::StatusOr<absl::string_view> RewrittenPack::Read() {
  while (rest_.empty()) {
    std::optional<content::PackBuilder::Part> part = builder_.Next();
    if (!part && is_finished_) return absl::string_view();
    if (!part) {
      RETURN_IF_ERROR(AddNext());
      continue;
    }
    // Each part is one piece at least.
    if (parts_.size() > lasting_pieces_) parts_.pop_front();
    parts_.push_back(*std::move(part));
    rest_ = parts_.back().bytes;
  }
  const absl::string_view piece = rest_.substr(0, kPieceSize);
  rest_.remove_prefix(piece.size());
  return piece;
}

absl::Status RewrittenPack::AddNext() {
  if (next_ == chunks_.size()) {
    builder_.Finish(/*recipe=*/{}, /*version=*/std::nullopt);
    is_finished_ = true;
    return absl::OkStatus();
  }
  const StoredChunk& chunk = chunks_[next_];
  if (!resources_.pace.Move(2 * chunk.stored_size, token_)) return absl::CancelledError("stopped");
  ChunkCoding coding = chunk.coding;
  const absl::Status read = reader_.Read(next_, stored_);
  const absl::StatusOr<bool> is_needed =
      read.ok() ? Convert(chunk, stored_, coding) : absl::StatusOr<bool>(read);
  ++next_;
  if (is_needed.ok()) {
    if (*is_needed) builder_.AddOwned(chunk.ref, coding, std::move(stored_));
    return absl::OkStatus();
  }
  // Another time the medium may give what it does not give now.
  if (ReasonOf(is_needed.status()) != Reason::kBlobDamaged) return is_needed.status();
  LOG(ERROR) << "chunk " << chunk.number << " of pack " << ToHex(chunk.pack_blob)
             << " cannot be read: " << is_needed.status()
             << "; it heals when a client sends the same bytes again, and backupctl verify tells "
                "whose files have it";
  damaged_.push_back(chunk);
  return absl::OkStatus();
}

absl::StatusOr<bool> RewrittenPack::Convert(const StoredChunk& chunk, std::string& stored,
                                            ChunkCoding& coding) {
  if (form_ == StorageForm::kSealed) {
    if (key_pack_ != chunk.pack) {
      key_pack_ = std::nullopt;
      ASSIGN_OR_RETURN(
          key_, content::OpenPackKey(chunk.wrapped_key, chunk.pack_blob, resources_.master_key));
      key_pack_ = chunk.pack;
    }
    ASSIGN_OR_RETURN(
        stored, content::UnsealChunk(key_, {chunk.pack_blob, chunk.index}, chunk.ref.id, stored));
  }
  std::string decompressed;
  if (coding == ChunkCoding::kZstd) {
    ASSIGN_OR_RETURN(decompressed, content::Decompress(stored, chunk.ref.size_bytes));
  }
  const absl::string_view plain = coding == ChunkCoding::kZstd ? decompressed : stored;
  if (std::ssize(plain) != chunk.ref.size_bytes) return Damaged("the chunk has another size");
  ASSIGN_OR_RETURN(const bool is_right, resources_.id_keys.Made(chunk.ref.id, chunk.form, plain));
  if (!is_right) {
    ASSIGN_OR_RETURN(const bool is_needed, resources_.id_keys.IsStillReferenced(chunk));
    return is_needed ? absl::StatusOr<bool>(Damaged("the chunk is not what was stored")) : false;
  }
  if (coding != ChunkCoding::kRaw ||
      compression_.when == content::CompressionPolicy::When::kNever) {
    return true;
  }
  const absl::string_view parts[] = {plain};
  if (!content::MayShrink(parts)) return true;
  std::optional<std::string> frame = content::Compress(parts, compression_.level);
  if (!frame) return true;
  stored = *std::move(frame);
  coding = ChunkCoding::kZstd;
  return true;
}

}  // namespace backup::jobs
