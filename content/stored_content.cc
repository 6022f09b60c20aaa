#include "content/stored_content.h"

#include <algorithm>
#include <optional>

#include "absl/memory/memory.h"
#include "base/error.h"
#include "base/low_priority_thread.h"
#include "base/name_text.h"
#include "base/piece_buffers.h"
#include "base/secret_bytes.h"
#include "base/status_macros.h"
#include "content/decoding.h"
#include "content/encoding.h"
#include "crypto/cipher.h"
#include "crypto/sealed_file.h"
#include "crypto/sha256.h"

namespace backup::content {
namespace {

using storage::StorageForm;

// As what the client's ciphertext came. Zeros or a surplus at its end are not read:
// footer.size_bytes ends before.
Encoding EncodingOf(const BlobFooter& footer) {
  Encoding encoding;
  encoding.cbc = footer.cbc;
  encoding.size_bytes = footer.payload_size;
  return encoding;
}

// The client's ciphertext, decrypted; CBC begins at the front, so what is before the range is
// decrypted and dropped.
class DecryptedRange final : public LastingSource {
 public:
  DecryptedRange(const RandomAccess& access, PieceBudget& budget, const BlobFooter& footer,
                 absl::string_view key, int64_t offset, int64_t size_bytes)
      : ciphertext_(access, budget, 0, footer.payload_size),
        plain_(ciphertext_, budget, footer.payload_size,
               Decrypt(EncodingOf(footer), key).decryptor),
        skip_(offset),
        left_(size_bytes) {}
  void MakeLast(size_t pieces) override { plain_.MakeLast(pieces); }
  absl::StatusOr<absl::string_view> Read() override {
    while (left_ > 0) {
      const absl::StatusOr<absl::string_view> read = plain_.Read();
      // It was right when it came, so what cannot be decrypted now is damage, not the client's
      // fault.
      const std::optional<Reason> reason = ReasonOf(read.status());
      if (reason == Reason::kContentRejected || reason == Reason::kInvalidField) {
        return MakeError(Reason::kBlobDamaged, "the stored content can no longer be decrypted");
      }
      RETURN_IF_ERROR(read.status());
      absl::string_view piece = *read;
      if (piece.empty())
        return MakeError(Reason::kBlobDamaged, "the stored content is shorter than it should be");
      const int64_t skipped = std::min<int64_t>(skip_, static_cast<int64_t>(piece.size()));
      skip_ -= skipped;
      piece.remove_prefix(static_cast<size_t>(skipped));
      piece = piece.substr(0, static_cast<size_t>(left_));
      left_ -= static_cast<int64_t>(piece.size());
      if (!piece.empty()) return piece;
    }
    return absl::string_view();
  }

 private:
  RangeSource ciphertext_;
  crypto::DecryptSource plain_;
  int64_t skip_;
  int64_t left_;
};

// Compares what passes with the SHA-256 that it should have.
class VerifiedSource final : public LastingSource {
 public:
  VerifiedSource(std::unique_ptr<LastingSource> source, std::string sha256)
      : source_(std::move(source)), expected_(std::move(sha256)) {}
  void MakeLast(size_t pieces) override { source_->MakeLast(pieces); }
  absl::StatusOr<absl::string_view> Read() override {
    if (ended_) return absl::string_view();
    ASSIGN_OR_RETURN(const absl::string_view piece, source_->Read());
    hash_.Update(piece);
    ended_ = piece.empty();
    if (ended_ && hash_.Finish() != expected_) {
      return MakeError(Reason::kBlobDamaged, "the stored content does not match its SHA-256");
    }
    return piece;
  }

 private:
  const std::unique_ptr<LastingSource> source_;
  const std::string expected_;
  crypto::Sha256 hash_;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<LastingSource> WholeContent::ReadUnverified(PieceBudget& budget, int64_t offset,
                                                            int64_t size_bytes) const {
  switch (footer_.form) {
    case StorageForm::kPlain:
      return std::make_unique<RangeSource>(*access_, budget, offset, size_bytes);
    case StorageForm::kSealed:
      return std::make_unique<crypto::UnsealSource>(*access_, budget, key_, footer_.size_bytes,
                                                    offset, size_bytes);
    case StorageForm::kClientCiphertext:
    case StorageForm::kClientSegments:
    case StorageForm::kClientFormat:
      return std::make_unique<DecryptedRange>(*access_, budget, footer_, key_, offset, size_bytes);
  }
  return nullptr;
}

absl::StatusOr<std::unique_ptr<LastingSource>> WholeContent::Read(PieceBudget& budget,
                                                                  int64_t offset,
                                                                  int64_t size_bytes,
                                                                  Verification verification) const {
  std::unique_ptr<LastingSource> range = ReadUnverified(budget, offset, size_bytes);
  if (!IsToBeVerified(size_bytes, verification)) return range;
  return std::make_unique<VerifiedSource>(std::move(range), footer_.sha256);
}

absl::StatusOr<std::unique_ptr<LastingSource>> ChunkedContent::Read(
    PieceBudget& budget, int64_t offset, int64_t size_bytes, Verification verification) const {
  ChunkSource::Checks checks;
  if (verification == Verification::kOn) checks.id_keys = id_keys_;
  if (IsToBeVerified(size_bytes, verification)) checks.sha256 = version().sha256;
  auto source =
      std::make_unique<ChunkSource>(*store_, keys_, std::move(checks), budget, offset, size_bytes);
  RETURN_IF_ERROR(source->Open());
  return source;
}

absl::StatusOr<std::unique_ptr<StoredContent>> StoredContent::Open(
    std::unique_ptr<RandomAccess> access, const crypto::KeyRing& master_key,
    const storage::Version& version) {
  ASSIGN_OR_RETURN(BlobFooter footer, ReadFooter(*access));
  if (footer.client_id != version.client_id || footer.file_name != version.file_name ||
      footer.version_id != version.version_id || footer.sha256 != version.sha256 ||
      footer.size_bytes != version.size_bytes) {
    return MakeError(Reason::kBlobDamaged, "the stored content belongs to another version",
                     NameToText(version.file_name));
  }
  SecretBytes key;
  if (footer.form != StorageForm::kPlain) {
    ASSIGN_OR_RETURN(key, master_key.Open(footer.wrapped_key, EncodeFooterFields(footer)));
  }
  return std::make_unique<WholeContent>(std::move(access), std::move(footer), std::move(key));
}

absl::StatusOr<std::unique_ptr<ContentRange>> ContentRange::Open(
    std::unique_ptr<StoredContent> content, StageResources& stages, int64_t offset,
    int64_t size_bytes, Verification verification) {
  auto range = absl::WrapUnique(new ContentRange());
  range->content_ = std::move(content);
  ASSIGN_OR_RETURN(range->range_,
                   range->content_->Read(stages.pieces, offset, size_bytes, verification));
  // Smaller content is not worth a thread of its own.
  if (size_bytes >= kLowPriorityMinSize)
    range->ahead_ = ReadAheadSource::TryMake(*range->range_, stages.read_ahead);
  return range;
}

absl::StatusOr<absl::string_view> ContentRange::Read() {
  return ahead_ ? ahead_->Read() : range_->Read();
}

}  // namespace backup::content
