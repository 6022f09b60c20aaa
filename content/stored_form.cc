#include "content/stored_form.h"

#include <utility>

#include "base/error.h"
#include "base/io_queue.h"
#include "base/low_priority_thread.h"
#include "base/status_macros.h"
#include "content/decoding.h"
#include "crypto/random.h"
#include "crypto/sealed_file.h"

namespace backup::content {

using storage::StorageForm;

StorageForm FormOf(const Encoding& encoding, StorageForm wanted) {
  if (wanted != StorageForm::kClientCiphertext) return wanted;
  if (!encoding.encrypted()) return StorageForm::kSealed;
  return FormOf(*encoding.cbc);
}

std::optional<int64_t> LargestStoredSize(const Encoding& encoding, StorageForm form) {
  if (encoding.in_sized_segments()) return std::nullopt;
  const int64_t payload =
      form == StorageForm::kSealed ? crypto::SealedSize(encoding.size_bytes) : encoding.size_bytes;
  return payload + static_cast<int64_t>(kMaxFooterSize);
}

StoredForm::StoredForm(Arrival arrival, const crypto::MasterKey& master_key, const Clock& clock,
                       StageResources& stages, NextVersionId next_version_id, ByteSource& chunks)
    : arrival_(std::move(arrival)),
      master_key_(master_key),
      clock_(clock),
      stages_(stages),
      next_version_id_(std::move(next_version_id)),
      received_(chunks) {
  Stack();
}

void StoredForm::Stack() {
  const Encoding& encoding = arrival_.encoding;
  const bool of_plaintext = IsOfPlaintext(arrival_.checksum_kind);
  measures_.sums = of_plaintext ? SumOf(arrival_.checksum_kind) : Checksums();
  const Checksums sent_sums = of_plaintext ? Checksums() : SumOf(arrival_.checksum_kind);
  if (encoding.in_sized_segments()) {
    bounded_ = std::make_unique<BoundedEncoded>(received_, encoding.max_size_bytes);
  } else {
    whole_ = std::make_unique<WholeEncoded>(received_, encoding.size_bytes, sent_sums);
  }
  ByteSource& encoded = whole_ ? static_cast<ByteSource&>(*whole_) : *bounded_;
  if (storage::IsClientsForm(arrival_.form)) {
    auto beside = DecodeBeside(encoding, arrival_.session_key, sent_sums, encoded, measures_);
    segments_ = beside.segments;
    own_payload_ = std::move(beside.source);
    payload_ = own_payload_.get();
    file_key_ = arrival_.session_key;
    return;
  }
  auto decoded =
      Decode(encoding, arrival_.session_key, sent_sums, encoded, stages_.pieces, measures_);
  segments_ = decoded.segments;
  plain_ = std::move(decoded.source);
  timed_plain_ = std::make_unique<TimedLastingSource>(*plain_);
  // Smaller content is not worth a thread of its own.
  if (encoding.size_bytes >= kLowPriorityMinSize)
    ahead_ = ReadAheadSource::TryMake(*timed_plain_, stages_.read_ahead);
  // Several writes may be in flight then.
  if (ahead_ && arrival_.form == StorageForm::kPlain) ahead_->MakeLast(IoQueue::kMaxDepth - 1);
  payload_ = ahead_ ? static_cast<ByteSource*>(ahead_.get()) : timed_plain_.get();
  if (arrival_.form != StorageForm::kSealed) return;
  file_key_ = crypto::RandomBytes(crypto::kFileKeySize);
  own_payload_ = std::make_unique<crypto::SealSource>(*payload_, file_key_);
  payload_ = own_payload_.get();
}

absl::StatusOr<absl::string_view> StoredForm::Read() {
  if (!encoded_footer_.empty()) return absl::string_view();
  ASSIGN_OR_RETURN(const absl::string_view piece, payload_->Read());
  payload_size_ += static_cast<int64_t>(piece.size());
  if (payload_size_ >= kLowPriorityMinSize) BecomeLowPriority();
  if (!piece.empty()) return piece;
  RETURN_IF_ERROR(MakeFooter());
  ended_.emplace(std::chrono::steady_clock::now());
  return encoded_footer_;
}

size_t StoredForm::lasting_pieces() const {
  return payload_ == ahead_.get() && ahead_ ? ahead_->lasting_pieces() : 0;
}

std::optional<absl::Duration> StoredForm::decrypt_time() const {
  if (!arrival_.encoding.encrypted() || timed_plain_ == nullptr) return std::nullopt;
  return timed_plain_->total() - received_.total();
}

absl::Status StoredForm::MakeFooter() {
  if (arrival_.original_size && *arrival_.original_size != measures_.size_bytes) {
    return MakeError(Reason::kContentRejected,
                     "the content does not have its announced original size");
  }
  ASSIGN_OR_RETURN(footer_.version_id, next_version_id_());
  footer_.client_id = arrival_.client_id;
  footer_.file_name = arrival_.file_name;
  footer_.size_bytes = measures_.size_bytes;
  footer_.encoded_size = segments_ ? segments_->ciphertext_size() : arrival_.encoding.size_bytes;
  footer_.payload_size = payload_size_;
  footer_.checksum_kind = arrival_.checksum_kind;
  const Checksums& sent_sums = segments_ ? segments_->ciphertext_sums() : whole_->sums();
  const Checksums& sums = IsOfPlaintext(arrival_.checksum_kind) ? measures_.sums : sent_sums;
  footer_.checksum = sums.cksum ? sums.cksum->Value() : sums.crc32->Value();
  footer_.sha256 = measures_.sha256.Finish();
  footer_.form = arrival_.form;
  if (arrival_.encoding.cbc) footer_.cbc = *arrival_.encoding.cbc;
  footer_.receive_time = arrival_.receive_time.value_or(clock_.Now());
  if (!file_key_.empty())
    footer_.wrapped_key = master_key_.Seal(file_key_, EncodeFooterFields(footer_));
  encoded_footer_ = EncodeFooter(footer_);
  return absl::OkStatus();
}

}  // namespace backup::content
