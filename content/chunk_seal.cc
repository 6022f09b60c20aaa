#include "content/chunk_seal.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "crypto/sealed_file.h"
#include "glog/logging.h"

namespace backup::content {
namespace {

constexpr auto kSegment = static_cast<size_t>(crypto::kSegmentSize);
constexpr size_t kTag = crypto::Aead::kTagSize;

absl::Status Changed() {
  return MakeError(Reason::kBlobDamaged,
                   "a sealed chunk was changed, or sealed for another place or under another key");
}

std::string KeyContext(const BlobId& pack_id) {
  return absl::StrCat("backup pack key ", pack_id.bytes());
}

// No two segments of a pack have the same.
crypto::Aead::Nonce NonceOf(int index, uint32_t segment, bool last) {
  return crypto::SegmentNonce(static_cast<uint64_t>(index) << 32 | segment, last);
}

std::string LastContext(const BlobId& pack_id, const ChunkId& id) {
  return absl::StrCat(pack_id.bytes(), id.bytes());
}

}  // namespace

std::string WrapPackKey(absl::string_view pack_key, const BlobId& pack_id,
                        const crypto::KeyRing& master_key) {
  CHECK_EQ(pack_key.size(), kPackKeySize);
  return master_key.Seal(pack_key, KeyContext(pack_id));
}

absl::StatusOr<SecretBytes> OpenPackKey(absl::string_view wrapped_key, const BlobId& pack_id,
                                        const crypto::KeyRing& master_key) {
  ASSIGN_OR_RETURN(SecretBytes key, master_key.Open(wrapped_key, KeyContext(pack_id)));
  if (key.size() != kPackKeySize) return Changed();
  return key;
}

bool HasKeyOfPack(absl::string_view wrapped_key, const BlobId& pack_id,
                  const crypto::KeyRing& master_key) {
  return ReasonOf(OpenPackKey(wrapped_key, pack_id, master_key).status()) != Reason::kKeyMissing;
}

uint32_t GenerationOfPackKey(absl::string_view wrapped_key, const BlobId& pack_id,
                             const crypto::KeyRing& master_key) {
  return master_key.GenerationOf(wrapped_key, KeyContext(pack_id));
}

int64_t SealedChunkSize(int64_t size_bytes) { return crypto::SealedSize(size_bytes); }

ChunkSealer::ChunkSealer(absl::string_view pack_key, const BlobId& pack_id)
    : aead_(pack_key), pack_id_(pack_id) {}

void ChunkSealer::Begin(int index) {
  CHECK_GT(index, index_);
  index_ = index;
  segment_ = 0;
  pending_.clear();
}

void ChunkSealer::SealSegment(absl::string_view segment, bool last, absl::string_view context,
                              std::string& sealed) {
  CHECK_GE(index_, 0);
  aead_.Seal(NonceOf(index_, segment_++, last), context, segment, sealed);
}

void ChunkSealer::Update(absl::string_view bytes, std::string& sealed) {
  const size_t segments = (pending_.size() + bytes.size()) / kSegment;
  sealed.reserve(sealed.size() + segments * (kSegment + kTag));
  while (pending_.size() + bytes.size() > kSegment) {
    const size_t taken = kSegment - pending_.size();
    if (pending_.empty()) {
      SealSegment(bytes.substr(0, taken), false, pack_id_.bytes(), sealed);
    } else {
      pending_.append(bytes.data(), taken);
      SealSegment(pending_, false, pack_id_.bytes(), sealed);
      pending_.clear();
    }
    bytes.remove_prefix(taken);
  }
  pending_.append(bytes.data(), bytes.size());
}

void ChunkSealer::Finish(const ChunkId& id, std::string& sealed) {
  SealSegment(pending_, true, LastContext(pack_id_, id), sealed);
  pending_.clear();
}

absl::StatusOr<std::string> UnsealChunk(absl::string_view pack_key, const ChunkPlace& place,
                                        const ChunkId& id, absl::string_view sealed) {
  const size_t segments = (sealed.size() + kSegment + kTag - 1) / (kSegment + kTag);
  if (pack_key.size() != kPackKeySize || place.index < 0 || sealed.size() < segments * kTag ||
      segments == 0) {
    return Changed();
  }
  std::string plain(sealed.size() - segments * kTag, '\0');
  if (crypto::SealedSize(static_cast<int64_t>(plain.size())) !=
      static_cast<int64_t>(sealed.size())) {
    return Changed();
  }
  crypto::Aead aead(pack_key);
  for (size_t i = 0; i < segments; ++i) {
    const bool last = i + 1 == segments;
    const absl::string_view segment = sealed.substr(i * (kSegment + kTag), kSegment + kTag);
    const std::string context =
        last ? LastContext(place.pack_id, id) : std::string(place.pack_id.bytes());
    if (!aead.Open(NonceOf(place.index, static_cast<uint32_t>(i), last), context, segment,
                   plain.data() + i * kSegment)) {
      return Changed();
    }
  }
  return plain;
}

std::string SealInline(absl::string_view key, const ChunkId& id, absl::string_view bytes) {
  return crypto::SealAlone(key, id.bytes(), bytes);
}

absl::StatusOr<std::string> UnsealInline(absl::string_view key, const ChunkId& id,
                                         absl::string_view sealed) {
  std::optional<std::string> plain = crypto::OpenAlone(key, id.bytes(), sealed);
  if (!plain) return Changed();
  return *std::move(plain);
}

}  // namespace backup::content
