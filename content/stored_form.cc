#include "content/stored_form.h"

#include <utility>

#include "base/io_queue.h"
#include "base/low_priority_thread.h"
#include "base/status_macros.h"
#include "crypto/random.h"
#include "crypto/sealed_file.h"

namespace backup::content {
namespace {

using storage::StorageForm;

// So that several writes may be in flight.
size_t LastingPieces(StorageForm form) {
  return form == StorageForm::kPlain ? IoQueue::kMaxDepth - 1 : 0;
}

}  // namespace

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

StoredForm::StoredForm(Arrival arrival, const crypto::KeyRing& master_key, const Clock& clock,
                       StageResources& stages, NextVersionId next_version_id, ByteSource& chunks)
    : master_key_(master_key),
      next_version_id_(std::move(next_version_id)),
      content_(arrival, clock, stages, chunks, LastingPieces(arrival.form)) {
  if (storage::IsClientsForm(arrival.form)) file_key_ = arrival.session_key;
  if (arrival.form != StorageForm::kSealed) return;
  file_key_ = crypto::RandomBytes(crypto::kFileKeySize);
  sealed_ = std::make_unique<crypto::SealSource>(content_, file_key_);
}

absl::StatusOr<absl::string_view> StoredForm::Read() {
  if (!encoded_footer_.empty()) return absl::string_view();
  ASSIGN_OR_RETURN(const absl::string_view piece, sealed_ ? sealed_->Read() : content_.Read());
  payload_size_ += static_cast<int64_t>(piece.size());
  if (payload_size_ >= kLowPriorityMinSize) BecomeLowPriority();
  if (!piece.empty()) return piece;
  RETURN_IF_ERROR(MakeFooter());
  ended_.emplace(std::chrono::steady_clock::now());
  return encoded_footer_;
}

absl::Status StoredForm::MakeFooter() {
  ASSIGN_OR_RETURN(const storage::Version version, content_.Finish());
  ASSIGN_OR_RETURN(footer_.version_id, next_version_id_());
  footer_.client_id = version.client_id;
  footer_.file_name = version.file_name;
  footer_.size_bytes = version.size_bytes;
  footer_.encoded_size = version.encoded_size;
  footer_.payload_size = payload_size_;
  footer_.checksum_kind = version.checksum_kind;
  footer_.checksum = version.checksum;
  footer_.sha256 = version.sha256;
  footer_.form = version.form;
  if (content_.arrival().encoding.cbc) footer_.cbc = *content_.arrival().encoding.cbc;
  footer_.receive_time = version.receive_time;
  if (!file_key_.empty())
    footer_.wrapped_key = master_key_.Seal(file_key_, EncodeFooterFields(footer_));
  encoded_footer_ = EncodeFooter(footer_);
  return absl::OkStatus();
}

}  // namespace backup::content
