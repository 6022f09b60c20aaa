#include "content/chunk_source.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "content/chunk_digest.h"

namespace backup::content {
namespace {

using storage::StoredChunk;

// A chunk may be moved again while it is looked for; more often than that it is not.
constexpr int kMaxLooks = 5;
// Packs that are told of before they are read, beside the one that is.
constexpr int kNotedAhead = 2;
// Packs that are remembered as told of: as many as are open at once.
constexpr size_t kRemembered = 8;

bool IsSamePlace(const StoredChunk& a, const StoredChunk& b) {
  return a.pack_blob == b.pack_blob && a.pack == b.pack && a.offset == b.offset &&
         a.index == b.index && a.stored_size == b.stored_size;
}

// What is wrong with which chunk.
absl::Status AtChunk(const StoredChunk& chunk, const absl::Status& status) {
  if (ReasonOf(status) != Reason::kBlobDamaged) return status;
  return MakeError(Reason::kBlobDamaged,
                   absl::StrCat("the chunk at byte ", chunk.offset_in_content,
                                " of the content cannot be read: ", status.message()));
}

absl::Status Incomplete(int64_t offset) {
  return MakeError(Reason::kBlobDamaged,
                   absl::StrCat("the chunks of this content do not go on at byte ", offset));
}

}  // namespace

ChunkSource::ChunkSource(ChunkStore& store, ChunkKeys keys, Checks checks, PieceBudget& budget,
                         int64_t offset, int64_t size_bytes)
    : store_(store),
      checks_(std::move(checks)),
      position_(offset),
      list_from_(offset),
      end_(offset + size_bytes),
      reader_(
          keys, [&store](const BlobId& id) { return store.OpenPack(id); }, budget) {}

absl::Status ChunkSource::Open() {
  RETURN_IF_ERROR(List());
  if (listed_.empty()) return absl::OkStatus();
  const absl::Status opened = reader_.Open(listed_.front());
  // It may have moved since: Read() looks for it.
  return ReasonOf(opened) == Reason::kBlobDamaged ? absl::OkStatus() : opened;
}

absl::Status ChunkSource::List() {
  if (!listed_.empty() || list_from_ == end_) return absl::OkStatus();
  ASSIGN_OR_RETURN(std::vector<StoredChunk> chunks, store_.ListChunks(list_from_));
  for (StoredChunk& chunk : chunks) {
    const int64_t chunk_end = chunk.offset_in_content + chunk.ref.size_bytes;
    const bool is_next = list_from_ == position_ ? chunk.offset_in_content <= list_from_
                                                 : chunk.offset_in_content == list_from_;
    if (!is_next || chunk_end <= list_from_) break;
    list_from_ = std::min(chunk_end, end_);
    listed_.push_back(std::move(chunk));
    if (list_from_ == end_) break;
  }
  if (listed_.empty()) return Incomplete(list_from_);
  NoteAhead();
  return absl::OkStatus();
}

void ChunkSource::NoteAhead() {
  int ahead = 0;
  for (auto begin = listed_.begin(); begin != listed_.end() && ahead <= kNotedAhead;) {
    const auto end = std::find_if(begin, listed_.end(), [&](const StoredChunk& chunk) {
      return chunk.pack_blob != begin->pack_blob || chunk.pack != begin->pack;
    });
    const auto last = std::prev(end);
    const bool is_known = std::find(noted_.begin(), noted_.end(), begin->pack_blob) != noted_.end();
    if (begin->pack != 0 && !is_known) {
      // The first one is opened now anyway.
      if (ahead > 0) {
        store_.NoteRead(begin->pack_blob, begin->offset,
                        last->offset + last->stored_size - begin->offset);
      }
      noted_.push_back(begin->pack_blob);
      if (noted_.size() > kRemembered) noted_.pop_front();
    }
    if (begin->pack != 0) ++ahead;
    begin = end;
  }
}

absl::Status ChunkSource::Begin() {
  while (true) {
    // What is read already is not lost for what comes after it.
    if (const absl::Status listed = List(); !listed.ok())
      return reader_.has_begun() ? absl::OkStatus() : listed;
    if (listed_.empty() || !reader_.TryBegin(listed_.front())) return absl::OkStatus();
    const bool ends_pack = listed_.size() > 1 && listed_[1].pack != listed_[0].pack;
    listed_.pop_front();
    if (ends_pack) NoteAhead();
  }
}

absl::StatusOr<absl::string_view> ChunkSource::Read() {
  ReleasePieces();
  if (rest_.empty() && position_ < end_) RETURN_IF_ERROR(ReadChunk());
  const absl::string_view piece = rest_.substr(0, kPieceSize);
  rest_.remove_prefix(piece.size());
  if (!piece.empty()) {
    used_.back().last_piece = pieces_++;
    return piece;
  }
  if (checks_.sha256 && !std::exchange(ended_, true) && hash_.Finish() != *checks_.sha256)
    return MakeError(Reason::kBlobDamaged, "the stored content does not match its SHA-256");
  return piece;
}

absl::Status ChunkSource::ReadChunk() {
  RETURN_IF_ERROR(Begin());
  ChunkReader::Result read = reader_.Next();
  absl::Status status = read.plain.status();
  if (status.ok()) status = Check(read.chunk.ref, (*read.plain)->bytes());
  if (!status.ok()) {
    ASSIGN_OR_RETURN(read.plain, LookAgain(read.chunk, status));
  }
  used_.push_back({*std::move(read.plain), pieces_});
  const int64_t skipped = position_ - read.chunk.offset_in_content;
  rest_ = used_.back().plain->bytes().substr(static_cast<size_t>(skipped),
                                             static_cast<size_t>(end_ - position_));
  position_ += std::ssize(rest_);
  return absl::OkStatus();
}

absl::Status ChunkSource::Check(const storage::ChunkRef& ref, absl::string_view bytes) {
  const std::vector<ChunkIdKey>& keys = checks_.id_keys;
  if (keys.empty()) {
    if (checks_.sha256) hash_.Update(bytes);
    return absl::OkStatus();
  }
  ChunkDigest digest(keys.front());
  crypto::Sha256 hash = hash_;
  // Both at once take hardly more time than one.
  if (checks_.sha256) {
    digest.UpdateWith(hash, bytes);
  } else {
    digest.Update(bytes);
  }
  const std::string made = digest.FinishDigest();
  const bool is_its = std::any_of(keys.begin(), keys.end(), [&](const ChunkIdKey& key) {
    return IdInScope(key.scope_key, made) == ref.id;
  });
  if (!is_its) return MakeError(Reason::kBlobDamaged, "it is not what its id says");
  hash_ = hash;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<PlainChunk>> ChunkSource::LookAgain(const StoredChunk& chunk,
                                                                   absl::Status found) {
  StoredChunk last = chunk;
  bool told = false;  // Of damage at that place.
  for (int look = 0; look < kMaxLooks && ReasonOf(found) == Reason::kBlobDamaged; ++look) {
    ASSIGN_OR_RETURN(std::vector<StoredChunk> now, store_.ListChunks(chunk.offset_in_content));
    // Its version may be gone by now: whoever reads that finds out.
    if (now.empty() || now.front().ref != chunk.ref ||
        now.front().offset_in_content != chunk.offset_in_content)
      break;
    const bool is_same = IsSamePlace(now.front(), last);
    if (is_same && told) break;
    absl::StatusOr<std::unique_ptr<PlainChunk>> plain = reader_.ReadNow(now.front());
    found = plain.ok() ? Check(chunk.ref, (*plain)->bytes()) : plain.status();
    if (found.ok()) {
      // Others of its pack have moved, too.
      if (!is_same) ListAgain();
      return plain;
    }
    last = std::move(now.front());
    told = is_same && ReasonOf(found) == Reason::kBlobDamaged;
    if (told) store_.TellDamaged(last);
  }
  return AtChunk(chunk, found);
}

void ChunkSource::ListAgain() {
  if (!listed_.empty()) list_from_ = listed_.front().offset_in_content;
  listed_.clear();
}

void ChunkSource::ReleasePieces() {
  const int64_t oldest = pieces_ - static_cast<int64_t>(lasting_pieces_);
  while (!used_.empty() && used_.front().last_piece < oldest && (used_.size() > 1 || rest_.empty()))
    used_.pop_front();
}

}  // namespace backup::content
