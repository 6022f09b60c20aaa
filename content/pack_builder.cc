#include "content/pack_builder.h"

#include <algorithm>
#include <iterator>

#include "base/aligned_buffer.h"
#include "content/chunker.h"
#include "crypto/random.h"

namespace backup::content {
namespace {

using storage::ChunkCoding;
using storage::ChunkRef;
using storage::StorageForm;

// At least what chunks, steps and the rest take in a footer.
constexpr int64_t kChunkInFooter = 64;
constexpr int64_t kStepInFooter = 40;
constexpr int64_t kRestOfFooter = 2048;

constexpr char kZeros[kBufferAlignment] = {};

size_t PlaceInBlock(const char* address) {
  return reinterpret_cast<uintptr_t>(address) % kBufferAlignment;
}

// How far it is from the one to the other place in a block.
size_t Distance(size_t from, size_t to) {
  return (to + kBufferAlignment - from) % kBufferAlignment;
}

}  // namespace

PackBuilder::PackBuilder(const BlobId& id, StorageForm form, absl::string_view sealed_secret,
                         const crypto::KeyRing& master_key)
    : sealed_secret_(sealed_secret) {
  pack_.blob_id = id;
  pack_.form = form;
  if (form != StorageForm::kSealed) return;
  pack_key_ = crypto::RandomBytes(kPackKeySize);
  pack_.wrapped_key = WrapPackKey(pack_key_, id, master_key);
  sealer_.emplace(pack_key_, id);
}

int64_t PackBuilder::LargestSize(int64_t content_bytes, size_t steps) {
  const int64_t chunks = content_bytes / static_cast<int64_t>(kMinChunkSize) + 1;
  const int64_t footer = chunks * (kChunkInFooter + kStepInFooter) +
                         static_cast<int64_t>(steps) * kStepInFooter + kRestOfFooter;
  return std::min(kMaxPackSize, SealedChunkSize(content_bytes) + std::ssize(kZeros) + footer);
}

int64_t PackBuilder::LargestFooterSize(size_t chunks, size_t steps) {
  return static_cast<int64_t>(chunks) * kChunkInFooter +
         static_cast<int64_t>(steps) * kStepInFooter + kRestOfFooter;
}

bool PackBuilder::HasRoom(int64_t size_bytes, size_t steps) const {
  const int64_t footer = LargestFooterSize(pack_.chunks.size() + 1, steps);
  return pack_.chunks.size() < kMaxPackChunks && steps <= kMaxFooterSteps &&
         offset_ + static_cast<int64_t>(kBufferAlignment) + SealedChunkSize(size_bytes) + footer <=
             kMaxPackSize;
}

void PackBuilder::AddRaw(const ChunkRef& ref, std::span<const Part> parts, bool waits) {
  Begin(parts.front().bytes.data());
  for (const Part& part : parts) Append(part);
  End(ref, waits);
}

void PackBuilder::AddOwned(const ChunkRef& ref, ChunkCoding coding, Part part) {
  begin_ = offset_;
  if (sealer_) {
    std::string sealed;
    sealed.reserve(static_cast<size_t>(SealedChunkSize(std::ssize(part.bytes))));
    sealer_->Begin(index_);
    sealer_->Update(part.bytes, sealed);
    sealer_->Finish(ref.id, sealed);
    part = Own(std::move(sealed));
  }
  Push(std::move(part));
  Enter(ref, coding, /*waits=*/false);
}

void PackBuilder::Begin(const char* address) {
  if (sealer_) {
    sealer_->Begin(index_);
  } else {
    Align(address);
  }
  begin_ = offset_;
}

void PackBuilder::Append(const Part& part) { sealer_ ? SealInto(part) : Emit(part); }

void PackBuilder::End(const ChunkRef& ref, bool waits) {
  if (sealer_) {
    std::string sealed;
    sealer_->Finish(ref.id, sealed);
    PushOwn(std::move(sealed));
  }
  Enter(ref, ChunkCoding::kRaw, waits);
}

void PackBuilder::Enter(const ChunkRef& ref, ChunkCoding coding, bool waits) {
  pack_.chunks.push_back(
      {ref.id, ref.size_bytes, begin_, offset_ - begin_, index_++, coding, waits});
}

void PackBuilder::SealInto(const Part& part) {
  std::string sealed;
  sealer_->Update(part.bytes, sealed);
  PushOwn(std::move(sealed));
}

void PackBuilder::Align(const char* address) {
  const size_t place = static_cast<size_t>(offset_) % kBufferAlignment;
  const size_t padding = Distance(place, PlaceInBlock(address));
  if (padding > 0) Push({absl::string_view(kZeros, padding), Part::kNoPiece, nullptr});
}

void PackBuilder::Emit(const Part& part) {
  const char* const held_end = held_.bytes.data() + held_.bytes.size();
  const bool goes_on = !held_.bytes.empty() && held_.piece == part.piece &&
                       held_.owner == part.owner && held_end == part.bytes.data();
  if (!goes_on) Flush();
  if (held_.bytes.empty()) {
    held_ = part;
  } else {
    held_.bytes = absl::string_view(held_.bytes.data(), held_.bytes.size() + part.bytes.size());
  }
  offset_ += std::ssize(part.bytes);
}

void PackBuilder::Push(Part part) {
  Flush();
  offset_ += std::ssize(part.bytes);
  if (!part.bytes.empty()) parts_.push_back(std::move(part));
}

PackBuilder::Part PackBuilder::Own(std::string bytes) {
  auto owner = std::make_shared<const std::string>(std::move(bytes));
  const absl::string_view view = *owner;
  return {view, Part::kNoPiece, std::move(owner)};
}

void PackBuilder::Flush() {
  const Part held = std::exchange(held_, {});
  const absl::string_view bytes = held.bytes;
  const size_t place = static_cast<size_t>(offset_ - std::ssize(bytes)) % kBufferAlignment;
  size_t head = bytes.size();
  size_t tail = 0;
  // Whole blocks apart from the end of the one before and the begin of the one behind them.
  if (place == PlaceInBlock(bytes.data())) {
    head = std::min(head, Distance(place, 0));
    tail = (bytes.size() - head) % kBufferAlignment;
  }
  const auto push = [&](absl::string_view part) {
    if (!part.empty()) parts_.push_back({part, held.piece, held.owner});
  };
  push(bytes.substr(0, head));
  push(bytes.substr(head, bytes.size() - head - tail));
  push(bytes.substr(bytes.size() - tail));
}

void PackBuilder::Finish(std::vector<PackFooter::Part> parts) {
  PackFooter footer;
  footer.pack_id = pack_.blob_id;
  footer.form = pack_.form;
  footer.chunks = pack_.chunks;
  footer.parts = std::move(parts);
  footer.sealed_secret = sealed_secret_;
  footer.wrapped_key = pack_.wrapped_key;
  std::string encoded = EncodePackFooter(footer, pack_key_);
  pack_.footer_bytes = std::ssize(encoded);
  PushOwn(std::move(encoded));
}

std::optional<PackBuilder::Part> PackBuilder::Next() {
  if (parts_.empty()) return std::nullopt;
  Part part = std::move(parts_.front());
  parts_.pop_front();
  return part;
}

}  // namespace backup::content
