#include "content/chunked_form.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/io_queue.h"
#include "base/low_priority_thread.h"
#include "base/status_macros.h"
#include "content/chunk_seal.h"
#include "content/chunker.h"
#include "crypto/random.h"
#include "crypto/sealed_file.h"

namespace backup::content {
namespace {

using storage::ChunkRef;
using storage::StorageForm;

constexpr size_t kContentIdSize = 16;
// A chunk with less than a block before it touches six pieces at most, and then the end is read.
constexpr size_t kLastingPieces = (kMaxChunkSize + kBufferAlignment) / kPieceSize + 2;
// Of what a pack yields, so many parts may be in use when the next is made.
constexpr size_t kPartsInUse = IoQueue::kMaxDepth - 1;
// What is smaller tells nothing of how the rest of its chunk compresses.
constexpr size_t kProbedSize = size_t{8} << 10;

int64_t StoredSize(StorageForm form, int64_t size_bytes) {
  return form == StorageForm::kSealed ? crypto::SealedSize(size_bytes) : size_bytes;
}

// Small content of known size is one chunk, wherever it could be cut.
bool IsKnownToBeSmall(const Arrival& arrival, int64_t inline_limit) {
  return !arrival.encoding.in_sized_segments() &&
         StoredSize(arrival.form, arrival.encoding.size_bytes) <= inline_limit;
}

std::optional<ArrivingContent::Cutting> CuttingOf(const Arrival& arrival,
                                                  const Chunking& chunking) {
  if (IsKnownToBeSmall(arrival, chunking.inline_limit)) return std::nullopt;
  return ArrivingContent::Cutting{chunking.keys.gear(), chunking.id_key};
}

// Few different sizes of buffers are best.
size_t RoundUp(size_t size) {
  return (size / PieceBuffers::kSmallPieceSize + 1) * PieceBuffers::kSmallPieceSize;
}

std::vector<absl::string_view> BytesOf(const std::vector<PackBuilder::Part>& parts) {
  std::vector<absl::string_view> bytes;
  bytes.reserve(parts.size());
  for (const PackBuilder::Part& part : parts) bytes.push_back(part.bytes);
  return bytes;
}

}  // namespace

class ChunkedForm::PackSource final : public ByteSource {
 public:
  explicit PackSource(ChunkedForm& form) : form_(form) {}
  absl::StatusOr<absl::string_view> Read() override { return form_.ReadPack(); }
  size_t lasting_pieces() const override { return form_.content_.is_wide() ? kPartsInUse : 0; }
  void set_end_uses(std::function<void()> end_uses) override {
    form_.end_uses_ = std::move(end_uses);
  }

 private:
  ChunkedForm& form_;
};

ChunkedForm::ChunkedForm(Arrival arrival, Chunking chunking, const crypto::KeyRing& master_key,
                         const Clock& clock, StageResources& stages, NextVersionId next_version_id,
                         ChunkIndex& index, ByteSource& chunks)
    : chunking_(std::move(chunking)),
      master_key_(master_key),
      next_version_id_(std::move(next_version_id)),
      index_(index),
      content_(arrival, clock, stages, chunks, kLastingPieces, CuttingOf(arrival, chunking_)),
      compressor_(chunking_.compression) {}

ChunkedForm::~ChunkedForm() = default;

absl::StatusOr<ChunkedForm::Next> ChunkedForm::Advance() {
  if (!has_begun_) {
    has_begun_ = true;
    RETURN_IF_ERROR(Begin());
  }
  if (is_inline_) return Next::kEnd;
  if (new_.recipe.size() > chunking_.max_recipe_part) return Next::kRecipe;
  return content_.is_wide() ? AdvanceWide() : AdvanceNarrow();
}

// Reads what may be small, and stores it if it is. Else what was read comes first.
absl::Status ChunkedForm::Begin() {
  const Encoding& encoding = content_.arrival().encoding;
  const bool is_small = IsKnownToBeSmall(content_.arrival(), chunking_.inline_limit);
  if (!is_small && !encoding.in_sized_segments()) return absl::OkStatus();
  const auto fits = [&](int64_t size) {
    return StoredSize(content_.arrival().form, size) <= chunking_.inline_limit;
  };
  size_t size = 0;
  while (fits(static_cast<int64_t>(size))) {
    RETURN_IF_ERROR(ReadPiece());
    if (version_) return StoreInline(absl::string_view(prefix_.get(), size));
    // The first piece need not be copied if it is too large alone.
    if (size == 0 && !fits(std::ssize(piece_))) return absl::OkStatus();
    if (prefix_ == nullptr) {
      prefix_ = TakeAlignedBuffer(
          RoundUp(is_small ? static_cast<size_t>(encoding.size_bytes)
                           : static_cast<size_t>(chunking_.inline_limit) + kMaxPieceSize));
    }
    std::memcpy(prefix_.get() + size, piece_.data(), piece_.size());
    size += piece_.size();
  }
  piece_ = absl::string_view(prefix_.get(), size);
  piece_number_ = Part::kNoPiece;
  return absl::OkStatus();
}

absl::Status ChunkedForm::StoreInline(absl::string_view bytes) {
  is_inline_ = true;
  if (bytes.empty()) return absl::OkStatus();
  std::optional<std::string> frame;
  if (chunking_.compression.when != CompressionPolicy::When::kNever)
    frame = Compress({&bytes, 1}, chunking_.compression.level, chunking_.dictionary.get());
  storage::InlineChunk chunk;
  chunk.ref = {ChunkIdOf(chunking_.id_key, bytes), std::ssize(bytes)};
  chunk.form = content_.arrival().form;
  chunk.coding = frame ? storage::ChunkCoding::kZstd : storage::ChunkCoding::kRaw;
  (frame ? totals_.compressed : totals_.raw) += std::ssize(bytes);
  chunk.payload = frame ? *std::move(frame) : std::string(bytes);
  totals_.stored += std::ssize(chunk.payload);
  if (chunk.form == StorageForm::kSealed) {
    chunk.payload = SealInline(chunking_.keys.InlineKey(chunk.ref.id), chunk.ref.id, chunk.payload);
  }
  // It may have been a part of large content.
  chunk.has_pack_key = [ring = &master_key_](absl::string_view wrapped_key, const BlobId& pack) {
    return HasKeyOfPack(wrapped_key, pack, *ring);
  };
  new_.recipe.push_back(chunk.ref);
  new_.inlined.push_back(std::move(chunk));
  return absl::OkStatus();
}

absl::Status ChunkedForm::ReadPiece() {
  const int64_t ends = pieces_read_ - 1 - static_cast<int64_t>(content_.lasting_pieces());
  const auto is_due = [&](const Part& part) {
    return part.piece != Part::kNoPiece && part.piece <= ends;
  };
  if (std::any_of(in_use_.begin(), in_use_.end(), is_due)) {
    if (end_uses_) end_uses_();
    in_use_.clear();
  }
  ASSIGN_OR_RETURN(piece_, content_.Read());
  piece_number_ = pieces_read_++;
  read_bytes_ += std::ssize(piece_);
  if (read_bytes_ >= kLowPriorityMinSize) BecomeLowPriority();
  if (!piece_.empty()) return absl::OkStatus();
  ended_ = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(storage::Version version, content_.Finish());
  ASSIGN_OR_RETURN(version.version_id, next_version_id_());
  version_ = std::move(version);
  if (content_.cuts() != nullptr) content_.cuts()->Finish();
  return absl::OkStatus();
}

ChunkedForm::Part ChunkedForm::TakePart() {
  const int64_t end = ending_ ? ending_->end : read_bytes_;
  const Part part{piece_.substr(0, static_cast<size_t>(end - position_)), piece_number_, nullptr};
  piece_.remove_prefix(part.bytes.size());
  position_ += std::ssize(part.bytes);
  return part;
}

absl::StatusOr<bool> ChunkedForm::GatherChunk() {
  chunk_.parts.clear();
  while (true) {
    if (!ending_) ending_ = content_.cuts()->Next(read_bytes_);
    if (!piece_.empty()) {
      chunk_.parts.push_back(TakePart());
    } else if (version_) {
      if (!ending_) return false;
    } else {
      RETURN_IF_ERROR(ReadPiece());
      continue;
    }
    if (!ending_ || position_ < ending_->end) continue;
    chunk_.ref = ending_->ref;
    ending_.reset();
    return true;
  }
}

absl::StatusOr<bool> ChunkedForm::IsKnown(const ChunkRef& ref) {
  if (own_.contains(ref.id)) return true;
  return index_.Knows(ref);
}

void ChunkedForm::AddStep(const ChunkRef& ref) {
  new_.recipe.push_back(ref);
  // A pack needs room for one step more. Without a pack nobody has these: a rebuilt catalog will
  // not have this content either, unless the same was stored before.
  if (!pack_ && footer_steps_.size() == kMaxFooterSteps - 1) {
    first_footer_step_ += std::ssize(footer_steps_);
    footer_steps_.clear();
  }
  footer_steps_.push_back(ref);
}

void ChunkedForm::AddKnown(const ChunkRef& ref) {
  AddStep(ref);
  totals_.known += ref.size_bytes;
}

absl::StatusOr<ChunkedForm::Next> ChunkedForm::AdvanceWide() {
  while (!has_chunk_) {
    if (new_.recipe.size() > chunking_.max_recipe_part) return Next::kRecipe;
    ASSIGN_OR_RETURN(const bool more, GatherChunk());
    if (!more) return Next::kEnd;
    ASSIGN_OR_RETURN(const bool known, IsKnown(chunk_.ref));
    if (known) AddKnown(chunk_.ref);
    has_chunk_ = !known;
  }
  return Next::kPack;
}

// Nothing can wait until it is known to be new.
absl::StatusOr<ChunkedForm::Next> ChunkedForm::AdvanceNarrow() {
  if (piece_.empty() && !version_) RETURN_IF_ERROR(ReadPiece());
  return piece_.empty() ? Next::kEnd : Next::kPack;
}

std::unique_ptr<ByteSource> ChunkedForm::OpenPack(const BlobId& id) {
  pack_.emplace(id, content_.arrival().form, chunking_.keys.sealed_secret(), master_key_);
  pack_is_finished_ = false;
  in_use_.clear();
  if (content_id_.empty()) content_id_ = crypto::RandomBytes(kContentIdSize);
  return std::make_unique<PackSource>(*this);
}

std::optional<int64_t> ChunkedForm::LargestPackSize() const {
  const Encoding& encoding = content_.arrival().encoding;
  if (encoding.in_sized_segments()) return std::nullopt;
  const int64_t taken = position_ - (has_chunk_ ? chunk_.ref.size_bytes : 0);
  return PackBuilder::LargestSize(encoding.size_bytes - taken, footer_steps_.size());
}

void ChunkedForm::PackIsStaged(int64_t size_bytes) {
  new_.packs.push_back(pack_->TakePack());
  new_.packs.back().size_bytes = size_bytes;
  pack_.reset();
}

storage::NewChunks ChunkedForm::TakeRecipePart() {
  storage::NewChunks part;
  part.packs = std::exchange(new_.packs, {});
  const auto end = new_.recipe.begin() + static_cast<ptrdiff_t>(chunking_.max_recipe_part);
  part.recipe.assign(new_.recipe.begin(), end);
  new_.recipe.erase(new_.recipe.begin(), end);
  own_.clear();
  return part;
}

absl::StatusOr<absl::string_view> ChunkedForm::ReadPack() {
  const size_t lasting = content_.is_wide() ? kPartsInUse : 0;
  while (in_use_.size() > lasting) in_use_.pop_front();
  while (true) {
    if (std::optional<Part> part = pack_->Next()) {
      in_use_.push_back(*std::move(part));
      return in_use_.back().bytes;
    }
    if (pack_is_finished_) return absl::string_view();
    RETURN_IF_ERROR(content_.is_wide() ? ProduceWide() : ProduceNarrow());
  }
}

absl::Status ChunkedForm::ProduceWide() {
  if (!has_chunk_) {
    ASSIGN_OR_RETURN(const bool more, GatherChunk());
    if (!more) {
      FinishPack();
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(const bool known, IsKnown(chunk_.ref));
    if (known) {
      AddKnown(chunk_.ref);
      pack_->Flush();
      if (!pack_->HasRoom(0, footer_steps_.size() + 1)) FinishPack();
      return absl::OkStatus();
    }
    has_chunk_ = true;
  }
  if (pack_->HasRoom(chunk_.ref.size_bytes, footer_steps_.size() + 1)) {
    StoreChunk();
  } else {
    FinishPack();
  }
  return absl::OkStatus();
}

void ChunkedForm::StoreChunk() {
  const ChunkRef& ref = chunk_.ref;
  ChunkCompressor::Result result =
      compressor_.Compress(BytesOf(chunk_.parts), content_.receive_time());
  if (result.frame) {
    totals_.compressed += ref.size_bytes;
    totals_.stored += std::ssize(*result.frame);
    pack_->AddCompressed(ref, *std::move(result.frame));
  } else {
    totals_.raw += ref.size_bytes;
    totals_.stored += ref.size_bytes;
    pack_->AddRaw(ref, chunk_.parts, result.waits);
  }
  own_.insert(ref.id);
  AddStep(ref);
  has_chunk_ = false;
}

absl::Status ChunkedForm::ProduceNarrow() {
  if (piece_.empty() && !version_) RETURN_IF_ERROR(ReadPiece());
  if (!has_chunk_) {
    if (piece_.empty() || !pack_->HasRoom(kMaxChunkSize, footer_steps_.size() + 1)) {
      FinishPack();
      return absl::OkStatus();
    }
    pack_->Begin(piece_.data());
    has_chunk_ = true;
    may_shrink_.reset();
  }
  if (!ending_) ending_ = content_.cuts()->Next(read_bytes_);
  if (!piece_.empty()) AppendNarrow(TakePart());
  if (piece_.empty()) pack_->Flush();
  if (!ending_ || position_ < ending_->end) return absl::OkStatus();
  has_chunk_ = false;
  return EndNarrowChunk(std::exchange(ending_, std::nullopt)->ref);
}

void ChunkedForm::AppendNarrow(const Part& part) {
  if (!may_shrink_ && part.bytes.size() >= kProbedSize)
    may_shrink_ = chunking_.compression.when != CompressionPolicy::When::kNever &&
                  MayShrink({&part.bytes, 1});
  pack_->Append(part);
}

absl::Status ChunkedForm::EndNarrowChunk(const ChunkRef& ref) {
  ASSIGN_OR_RETURN(const bool known, IsKnown(ref));
  if (known) {
    pack_->EndAsGarbage();
    AddKnown(ref);
    return absl::OkStatus();
  }
  // What nothing tells of is so small that compressing it gains nothing.
  pack_->End(ref, may_shrink_.value_or(false));
  totals_.raw += ref.size_bytes;
  totals_.stored += ref.size_bytes;
  own_.insert(ref.id);
  AddStep(ref);
  return absl::OkStatus();
}

void ChunkedForm::FinishPack() {
  const int64_t first_step = first_footer_step_;
  first_footer_step_ += std::ssize(footer_steps_);
  std::vector<PackFooter::Part> parts(1);
  parts[0] = {content_id_, first_step, std::exchange(footer_steps_, {}),
              has_chunk_ ? std::nullopt : version_};
  pack_->Finish(std::move(parts));
  pack_is_finished_ = true;
}

}  // namespace backup::content
