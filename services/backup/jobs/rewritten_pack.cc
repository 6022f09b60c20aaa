#include "services/backup/jobs/rewritten_pack.h"

#include <iterator>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::jobs {
namespace {

using storage::ChunkCoding;
using storage::StorageForm;
using storage::StoredChunk;

absl::Status Damaged(absl::string_view what) { return MakeError(Reason::kBlobDamaged, what); }

}  // namespace

RewrittenPack::RewrittenPack(const RewriteResources& resources, const BlobId& pack_id,
                             std::vector<StoredChunk> chunks, CarriedParts parts, StorageForm form,
                             const content::CompressionPolicy& compression, std::stop_token token,
                             std::function<void()> all_is_read)
    : resources_(resources),
      chunks_(std::move(chunks)),
      carried_(std::move(parts)),
      compression_(compression),
      token_(std::move(token)),
      all_is_read_(std::move(all_is_read)),
      reader_(
          {&resources_.master_key, &resources_.keys},
          [this](const BlobId& id) { return resources_.blobs.Open(id); }, resources_.pieces),
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

bool RewrittenPack::BeginReading() {
  while (next_ < chunks_.size() && reader_.TryBegin(chunks_[next_])) ++next_;
  return reader_.has_begun();
}

absl::StatusOr<RewrittenPack::Taken> RewrittenPack::Take() {
  content::ChunkReader::Result read = reader_.NextUnsealed();
  if (!resources_.pace.Move(2 * read.chunk.stored_size, token_))
    return absl::CancelledError("stopped");
  Taken taken;
  taken.chunk = std::move(read.chunk);
  taken.status = read.plain.status();
  if (!read.plain.ok()) return taken;
  taken.bytes = *std::move(read.plain);
  const int64_t size = taken.chunk.ref.size_bytes;
  if (taken.chunk.coding == ChunkCoding::kZstd) {
    absl::StatusOr<std::string> plain = content::Decompress(taken.bytes->bytes(), size);
    taken.status = plain.status();
    if (plain.ok()) taken.decompressed = *std::move(plain);
  } else if (std::ssize(taken.bytes->bytes()) != size) {
    taken.status = Damaged("the chunk has another size");
  }
  return taken;
}

absl::Status RewrittenPack::AddNext() {
  std::vector<Taken> taken;
  while (taken.size() < kDigestedAtOnce && BeginReading()) {
    ASSIGN_OR_RETURN(Taken next, Take());
    taken.push_back(std::move(next));
  }
  if (taken.empty()) {
    builder_.Finish(std::move(carried_).PartsFor(builder_.chunks()));
    is_finished_ = true;
    all_is_read_();
    return absl::OkStatus();
  }
  // While these are compared, others come.
  BeginReading();
  std::vector<absl::string_view> plain;
  for (const Taken& each : taken)
    plain.push_back(each.status.ok() ? each.plain() : absl::string_view());
  const std::vector<std::string> digests = resources_.id_keys.DigestsOf(plain);
  for (size_t i = 0; i < taken.size(); ++i) RETURN_IF_ERROR(Add(std::move(taken[i]), digests[i]));
  return absl::OkStatus();
}

absl::Status RewrittenPack::Add(Taken taken, absl::string_view digest) {
  const absl::StatusOr<bool> is_needed = Check(taken, digest);
  if (is_needed.ok()) {
    if (*is_needed) Keep(std::move(taken));
    return absl::OkStatus();
  }
  // Another time the medium may give what it does not give now.
  if (ReasonOf(is_needed.status()) != Reason::kBlobDamaged) return is_needed.status();
  const StoredChunk& chunk = taken.chunk;
  LOG(ERROR) << "chunk " << chunk.number << " of pack " << ToHex(chunk.pack_blob)
             << " cannot be read: " << is_needed.status()
             << "; it heals when a client sends the same bytes again, and backupctl verify tells "
                "whose files have it";
  damaged_.push_back(chunk);
  return absl::OkStatus();
}

absl::StatusOr<bool> RewrittenPack::Check(const Taken& taken, absl::string_view digest) {
  RETURN_IF_ERROR(taken.status);
  ASSIGN_OR_RETURN(const bool is_right,
                   resources_.id_keys.MadeOf(taken.chunk.ref.id, taken.chunk.form, digest));
  if (is_right) return true;
  using Use = handlers::ChunkIdKeys::Use;
  ASSIGN_OR_RETURN(const Use use, resources_.id_keys.UseOf(taken.chunk));
  if (use == Use::kNeeded) return Damaged("the chunk is not what was stored");
  // Whoever reads it compares it again.
  return use == Use::kUnknown;
}

void RewrittenPack::Keep(Taken taken) {
  const StoredChunk& chunk = taken.chunk;
  const absl::string_view parts[] = {taken.bytes->bytes()};
  std::optional<std::string> frame;
  if (chunk.waits && compression_.when != content::CompressionPolicy::When::kNever &&
      content::MayShrink(parts))
    frame = content::Compress(parts, compression_.level);
  if (frame) return builder_.AddOwned(chunk.ref, ChunkCoding::kZstd, *std::move(frame));
  builder_.AddOwned(chunk.ref, chunk.coding,
                    {parts[0], content::PackBuilder::Part::kNoPiece, taken.bytes});
}

}  // namespace backup::jobs
