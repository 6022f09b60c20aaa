#include "storage/s3/stretch.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "storage/s3/answers.h"

namespace backup::storage::s3 {
namespace {

constexpr absl::string_view kReading = "read an object";

struct Range {
  int64_t first = 0;
  int64_t last = 0;
  int64_t size_bytes = 0;  // Of the whole.
};

// "bytes FIRST-LAST/SIZE".
std::optional<Range> ParseContentRange(absl::string_view text) {
  Range range;
  if (!absl::ConsumePrefix(&text, "bytes ")) return std::nullopt;
  const size_t dash = text.find('-');
  const size_t slash = text.find('/');
  if (dash == absl::string_view::npos || slash == absl::string_view::npos || slash < dash)
    return std::nullopt;
  if (!absl::SimpleAtoi(text.substr(0, dash), &range.first) ||
      !absl::SimpleAtoi(text.substr(dash + 1, slash - dash - 1), &range.last) ||
      !absl::SimpleAtoi(text.substr(slash + 1), &range.size_bytes))
    return std::nullopt;
  if (range.first < 0 || range.last < range.first || range.last >= range.size_bytes)
    return std::nullopt;
  return range;
}

}  // namespace

int64_t Stretch::MemoryOf(int64_t size_bytes) {
  const int64_t step = size_bytes <= kSmallStep ? kSmallStep : kMemoryStep;
  return (size_bytes + step - 1) / step * step;
}

Stretch::Stretch(std::shared_ptr<S3Client> client, std::shared_ptr<MemoryBound> memory,
                 const std::string& key, int64_t offset, int64_t size_bytes,
                 std::optional<int64_t> object_size)
    : client_(std::move(client)),
      memory_(std::move(memory)),
      object_size_(object_size),
      offset_(offset),
      size_(size_bytes),
      buffer_(TakeAlignedBuffer(static_cast<size_t>(MemoryOf(size_bytes)))),
      call_(client_->Start(
          {.operation = Operation::kGet,
           .key = key,
           .headers = {absl::StrCat("Range: bytes=", offset, "-", offset + size_bytes - 1)},
           .out = bytes()})) {}

Stretch::~Stretch() {
  call_.reset();
  memory_->GiveBack(MemoryOf(size_));
}

absl::StatusOr<int64_t> Stretch::Finish() {
  MutexLock lock(mutex_);
  if (!finished_) finished_ = Check(call_->Wait());
  return *finished_;
}

absl::StatusOr<int64_t> Stretch::Check(const absl::StatusOr<HttpAnswer>& got) const {
  if (object_size_ && absl::IsOutOfRange(got.status()))
    return Senseless(kReading, got.status().message());
  RETURN_IF_ERROR(got.status());
  const auto came = static_cast<int64_t>(got->out_size);
  const std::optional<Range> range = ParseContentRange(got->Header("content-range"));
  if (!range) {
    // Who has nothing more to give may leave out that it is a range.
    const bool is_whole = got->status == 200 && offset_ == 0 && came < size_ && !object_size_;
    if (is_whole) return came;
  } else if (range->first == offset_ && range->last + 1 == std::min(end(), range->size_bytes) &&
             range->last + 1 - range->first == came &&
             range->size_bytes == object_size_.value_or(range->size_bytes)) {
    return range->size_bytes;
  }
  return Senseless(kReading, absl::StrCat(came, " bytes of ", size_, " came"));
}

absl::StatusOr<size_t> Stretch::Read(int64_t offset, std::span<char> out) {
  ASSIGN_OR_RETURN(const int64_t object_size, Finish());
  const int64_t left = std::min(end(), object_size) - offset;
  const size_t size = std::min(out.size(), static_cast<size_t>(std::max<int64_t>(left, 0)));
  std::memcpy(out.data(), buffer_.get() + (offset - offset_), size);
  return size;
}

}  // namespace backup::storage::s3
