#include "content/arriving_content.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/low_priority_thread.h"
#include "content/decoding.h"

namespace backup::content {
namespace {

// How many large pieces a content may have; nothing if nobody knows.
std::optional<size_t> LargePieces(const Encoding& encoding) {
  if (encoding.in_sized_segments()) return std::nullopt;
  return static_cast<size_t>(encoding.size_bytes) / kPieceSize + 1;
}

}  // namespace

ArrivingContent::ArrivingContent(Arrival arrival, const Clock& clock, StageResources& stages,
                                 ByteSource& chunks, size_t lasting_pieces,
                                 const std::optional<Cutting>& cutting)
    : arrival_(std::move(arrival)), clock_(clock), received_(chunks) {
  const Encoding& encoding = arrival_.encoding;
  const bool of_plaintext = IsOfPlaintext(arrival_.checksum_kind);
  measures_.sums = of_plaintext ? SumOf(arrival_.checksum_kind) : Checksums();
  if (cutting) cuts_.emplace(cutting->gear, cutting->id_key, measures_);
  const Checksums sent_sums = of_plaintext ? Checksums() : SumOf(arrival_.checksum_kind);
  if (encoding.in_sized_segments()) {
    bounded_ = std::make_unique<BoundedEncoded>(received_, encoding.max_size_bytes);
  } else {
    whole_ = std::make_unique<WholeEncoded>(received_, encoding.size_bytes, sent_sums);
  }
  ByteSource& encoded = whole_ ? static_cast<ByteSource&>(*whole_) : *bounded_;
  if (!storage::IsClientsForm(arrival_.form)) {
    StackPlaintext(stages, lasting_pieces, sent_sums, encoded);
    return;
  }
  auto beside = DecodeBeside(encoding, arrival_.session_key, sent_sums, encoded, measures_);
  segments_ = beside.segments;
  ciphertext_ = std::move(beside.source);
  payload_ = ciphertext_.get();
}

void ArrivingContent::StackPlaintext(StageResources& stages, size_t lasting_pieces,
                                     const Checksums& sent_sums, ByteSource& encoded) {
  const Encoding& encoding = arrival_.encoding;
  // Smaller content is not worth a thread of its own.
  const bool reads_ahead = encoding.size_bytes >= kLowPriorityMinSize;
  const std::optional<size_t> all = LargePieces(encoding);
  const size_t lasting = all ? std::min(lasting_pieces, *all) : lasting_pieces;
  constexpr int64_t kSmall = PieceBuffers::kSmallPieceSize;
  const bool is_small = all && encoding.size_bytes <= kSmall;
  // That is relied on only so far: whatever comes, it does not need large pieces.
  const bool is_said_to_be_small = !all && arrival_.original_size.value_or(kSmall + 1) <= kSmall;
  grant_.emplace(stages.pieces, is_small || is_said_to_be_small
                                    ? 0
                                    : lasting + 1 + (reads_ahead ? ReadAheadSource::kPieces : 0));
  is_wide_ = is_small || grant_->is_granted();

  Observer observer = [this](absl::string_view part) { measures_.Update(part); };
  if (cuts_) observer = [this](absl::string_view part) { cuts_->Update(part); };
  auto decoded = Decode(encoding, arrival_.session_key, sent_sums, encoded, grant_->budget(),
                        std::move(observer));
  segments_ = decoded.segments;
  plain_ = std::move(decoded.source);
  timed_plain_ = std::make_unique<TimedLastingSource>(*plain_);
  payload_ = timed_plain_.get();
  if (reads_ahead) ahead_ = ReadAheadSource::TryMake(*timed_plain_, stages.read_ahead);
  if (ahead_) payload_ = ahead_.get();
  if (!is_wide_) return;
  lasting_pieces_ = lasting;
  if (ahead_) {
    ahead_->MakeLast(lasting);
  } else {
    timed_plain_->MakeLast(lasting);
  }
}

std::optional<absl::Duration> ArrivingContent::decrypt_time() const {
  if (!arrival_.encoding.encrypted() || timed_plain_ == nullptr) return std::nullopt;
  return timed_plain_->total() - received_.total();
}

absl::StatusOr<storage::Version> ArrivingContent::Finish() {
  if (arrival_.original_size && *arrival_.original_size != measures_.size_bytes) {
    return MakeError(Reason::kContentRejected,
                     "the content does not have its announced original size");
  }
  if (arrival_.version) return *arrival_.version;
  storage::Version version;
  version.client_id = arrival_.client_id;
  version.file_name = arrival_.file_name;
  version.size_bytes = measures_.size_bytes;
  version.encoded_size = segments_ ? segments_->ciphertext_size() : arrival_.encoding.size_bytes;
  version.checksum_kind = arrival_.checksum_kind;
  const Checksums& sent_sums = segments_ ? segments_->ciphertext_sums() : whole_->sums();
  const Checksums& sums = IsOfPlaintext(arrival_.checksum_kind) ? measures_.sums : sent_sums;
  version.checksum = sums.cksum ? sums.cksum->Value() : sums.crc32->Value();
  version.sha256 = measures_.sha256.Finish();
  version.receive_time = arrival_.receive_time.value_or(clock_.Now());
  version.form = arrival_.form;
  return version;
}

}  // namespace backup::content
