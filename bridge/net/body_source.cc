#include "bridge/net/body_source.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace backup::bridge {
namespace {

constexpr size_t kAllPieces = size_t{32} << 20;
constexpr size_t kLeastPiece = size_t{32} << 10;

}  // namespace

size_t BodyBudget::PieceSize() const {
  // Of a few sizes, so that memory that was given back fits the next buffer.
  return std::clamp(std::bit_floor(kAllPieces / std::max<size_t>(bodies_.load(), 1)), kLeastPiece,
                    kPieceSize);
}

BodySource::BodySource(Connection& connection, uint64_t size, const BodyLimits& limits,
                       BodyBudget& budget)
    : connection_(connection), size_(size), left_(size), limits_(limits), budget_(budget) {
  budget_.AddBody();
}

BodySource::~BodySource() { budget_.RemoveBody(); }

absl::Status BodySource::WaitForClient() {
  while (left_ > 0 && !connection_.HasBytes()) {
    buffer_.reset();
    buffer_size_ = 0;
    const MonotonicTime begin = MonotonicClock::now();
    const absl::Status ready = connection_.WaitForBytes(limits_.window - waited_);
    waited_ += absl::FromChrono(MonotonicClock::now() - begin);
    if (!ready.ok() && !absl::IsDeadlineExceeded(ready)) return ready;
    RETURN_IF_ERROR(CheckRate());
  }
  return absl::OkStatus();
}

size_t BodySource::PrepareBuffer() {
  const size_t share = budget_.PieceSize();
  const size_t wanted = std::min<uint64_t>(left_, share);
  if (buffer_size_ < wanted || buffer_size_ > 2 * share) {
    buffer_.reset();
    // Not initialised, so that memory is only taken for what really comes.
    buffer_ = std::make_shared_for_overwrite<char[]>(wanted);
    buffer_size_ = wanted;
  }
  return wanted;
}

absl::StatusOr<absl::string_view> BodySource::Read() {
  if (status_.ok()) status_ = WaitForClient();
  if (!status_.ok()) return status_;
  const size_t wanted = PrepareBuffer();
  size_t filled = 0;
  std::optional<MonotonicTime> gather_end;
  while (filled < wanted) {
    const absl::Duration timeout = gather_end
                                       ? absl::FromChrono(*gather_end - MonotonicClock::now())
                                       : limits_.window - waited_;
    if (gather_end && timeout <= absl::ZeroDuration()) break;
    const absl::StatusOr<size_t> size = Fill(filled, wanted, timeout);
    status_ = size.status();
    if (status_.ok()) status_ = CheckRate();
    if (!status_.ok()) return status_;
    filled += *size;
    if (filled > 0 && !gather_end) gather_end = After(limits_.gather);
  }
  left_ -= filled;
  return absl::string_view(buffer_.get(), filled);
}

SharedPiece BodySource::Share(absl::string_view piece) {
  if (piece.size() < buffer_size_ / 4 * 3) return CopyPiece(piece);  // Memory counts, too.
  return {std::exchange(buffer_, nullptr), std::exchange(buffer_size_, 0), piece};
}

absl::StatusOr<size_t> BodySource::Fill(size_t filled, size_t wanted, absl::Duration timeout) {
  const MonotonicTime begin = MonotonicClock::now();
  const absl::StatusOr<size_t> size =
      connection_.Read(std::span<char>(buffer_.get() + filled, wanted - filled), timeout);
  waited_ += absl::FromChrono(MonotonicClock::now() - begin);
  if (absl::IsDeadlineExceeded(size.status())) return size_t{0};
  if (!size.ok()) return size;
  if (*size == 0) {
    return absl::DataLossError(
        absl::StrCat("the client stopped ", left_ - filled, " bytes too early"));
  }
  window_bytes_ += static_cast<int64_t>(*size);
  return size;
}

absl::Status BodySource::CheckRate() {
  if (waited_ < limits_.window) return absl::OkStatus();
  const double least = absl::ToDoubleSeconds(limits_.window) * limits_.least_bytes_per_second;
  if (window_bytes_ < least) {
    return absl::DeadlineExceededError(absl::StrCat("the client sent ", window_bytes_, " bytes in ",
                                                    absl::FormatDuration(waited_)));
  }
  waited_ = absl::ZeroDuration();
  window_bytes_ = 0;
  return absl::OkStatus();
}

}  // namespace backup::bridge
