#include "storage/s3/object_reader.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "storage/s3/answers.h"

namespace backup::storage::s3 {
namespace {

std::shared_ptr<Stretch> BeginAnyway(const std::shared_ptr<S3Client>& client,
                                     const std::shared_ptr<MemoryBound>& memory,
                                     const std::string& key, int64_t offset, int64_t size_bytes,
                                     std::optional<int64_t> object_size) {
  memory->TakeAnyway(Stretch::MemoryOf(size_bytes));
  return std::make_shared<Stretch>(client, memory, key, offset, size_bytes, object_size);
}

// That it has no first byte is no proof: whoever answers in the store's place may have none.
absl::Status CheckIsEmpty(S3Client& client, const std::string& key) {
  ASSIGN_OR_RETURN(const HttpAnswer head, client.Call({.operation = Operation::kHead, .key = key}));
  const absl::string_view size_bytes = head.Header("content-length");
  if (size_bytes == "0") return absl::OkStatus();
  return Senseless("read an object", absl::StrCat("no first byte of ", size_bytes));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ObjectReader>> ObjectReader::Open(
    std::shared_ptr<S3Client> client, std::shared_ptr<MemoryBound> memory, std::string key,
    std::shared_ptr<Stretch> noted, std::shared_ptr<Ownership> ownership) {
  const auto make = [&](int64_t size_bytes) {
    return std::unique_ptr<ObjectReader>(
        new ObjectReader(client, memory, key, size_bytes, ownership));
  };
  if (noted != nullptr) {
    // What failed is asked for anew.
    if (const absl::StatusOr<int64_t> size_bytes = noted->Finish(); size_bytes.ok()) {
      std::unique_ptr<ObjectReader> reader = make(*size_bytes);
      MutexLock lock(reader->mutex_);
      reader->next_ = noted->offset();
      reader->begun_until_ = std::min(noted->end(), *size_bytes);
      // Whoever notes what it is going to read reads on.
      reader->in_a_row_ = reader->begun_until_ - noted->offset();
      reader->windows_.push_back(std::move(noted));
      return reader;
    }
  }
  std::shared_ptr<Stretch> head = BeginAnyway(client, memory, key, 0, kHeadSize, std::nullopt);
  absl::StatusOr<int64_t> size_bytes = head->Finish();
  const bool is_empty = absl::IsOutOfRange(size_bytes.status());  // There is no first byte.
  if (is_empty) {
    RETURN_IF_ERROR(CheckIsEmpty(*client, key));
  } else {
    RETURN_IF_ERROR(size_bytes.status());
  }
  std::unique_ptr<ObjectReader> reader = make(is_empty ? 0 : *size_bytes);
  MutexLock lock(reader->mutex_);
  reader->begun_until_ = std::min(kHeadSize, reader->size_bytes_);
  if (!is_empty) reader->head_ = std::move(head);
  return reader;
}

absl::Status ObjectReader::ReadAt(int64_t offset, std::span<char> out) const {
  if (offset < 0 || offset > size_bytes_ - std::ssize(out))
    return MakeError(Reason::kBlobDamaged, "the stored content is shorter than it should be");
  {
    Stretches unused;
    MutexLock lock(mutex_);
    unused = Plan(offset, std::ssize(out));
  }
  while (!out.empty()) {
    const absl::StatusOr<size_t> read = ReadSome(offset, out);
    // All of them may be gone, and then this one was not deleted.
    if (absl::IsNotFound(read.status()) && ownership_ != nullptr)
      RETURN_IF_ERROR(ownership_->Check(Ownership::kMissingLookInterval));
    RETURN_IF_ERROR(read.status());
    offset += static_cast<int64_t>(*read);
    out = out.subspan(*read);
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> ObjectReader::ReadSome(int64_t offset, std::span<char> out) const {
  const auto read_directly = [&]() -> absl::StatusOr<size_t> {
    const int64_t size = std::min(std::ssize(out), kMaxWindowSize);
    return BeginAnyway(client_, memory_, key_, offset, size, size_bytes_)->Read(offset, out);
  };
  const StretchPtr there = FindOrBegin(offset, out);
  if (there == nullptr) return read_directly();
  const absl::StatusOr<size_t> read = there->Read(offset, out);
  if (!read.ok() || offset + static_cast<int64_t>(*read) == there->end())
    Drop(*there, read.status());
  // It may have been asked for long ago, and the store may be well again.
  return read.ok() || absl::IsNotFound(read.status()) ? read : read_directly();
}

ObjectReader::StretchPtr ObjectReader::FindOrBegin(int64_t offset, std::span<char> out) const {
  MutexLock lock(mutex_);
  StretchPtr found = Find(offset);
  const int64_t tail_begin = std::max<int64_t>(0, size_bytes_ - kTailSize);
  const bool is_footer = offset >= tail_begin && offset + std::ssize(out) == size_bytes_;
  if (found != nullptr || !is_footer) return found;
  tail_ = BeginAnyway(client_, memory_, key_, tail_begin, size_bytes_ - tail_begin, size_bytes_);
  return tail_;
}

ObjectReader::Stretches ObjectReader::Plan(int64_t offset, int64_t size) const {
  Stretches unused;
  const bool goes_on = offset >= next_ && offset - next_ <= kMaxGap;
  in_a_row_ = goes_on ? in_a_row_ + size : 0;
  next_ = offset + size;
  const int64_t head_end = head_ == nullptr ? 0 : head_->end();
  if (!goes_on && Find(offset) == nullptr) {
    unused.swap(windows_);
    begun_until_ = std::max(next_, head_end);
  }
  if (!goes_on || next_ <= head_end) return unused;
  // Many may stay open, and hardly any goes back.
  if (head_ != nullptr && offset >= head_end) unused.push_back(std::move(head_));
  while (!windows_.empty() && windows_.front()->end() <= offset) {
    unused.push_back(std::move(windows_.front()));
    windows_.pop_front();
  }
  begun_until_ = std::max(begun_until_, std::max(offset, head_end));
  const int64_t window = std::clamp(kGrowth * in_a_row_ / kMinWindowSize * kMinWindowSize,
                                    kMinWindowSize, kMaxWindowSize);
  while (begun_until_ < std::min(size_bytes_, next_ + kAhead * window) &&
         windows_.size() < kMaxWindows &&
         (TryBeginWindow(begun_until_, window, MemoryBound::For::kBeginning) ||
          (windows_.size() < kLeastWindows &&
           TryBeginWindow(begun_until_, kMinWindowSize, MemoryBound::For::kGoingOn)))) {
  }
  return unused;
}

bool ObjectReader::TryBeginWindow(int64_t offset, int64_t size, MemoryBound::For purpose) const {
  size = std::min(size, size_bytes_ - offset);
  if (!memory_->Take(Stretch::MemoryOf(size), absl::ZeroDuration(), purpose)) return false;
  windows_.push_back(std::make_shared<Stretch>(client_, memory_, key_, offset, size, size_bytes_));
  begun_until_ = windows_.back()->end();
  return true;
}

ObjectReader::StretchPtr ObjectReader::Find(int64_t offset) const {
  for (const StretchPtr& part : {head_, tail_})
    if (part != nullptr && part->Has(offset)) return part;
  for (const StretchPtr& window : windows_)
    if (window->Has(offset)) return window;
  return nullptr;
}

void ObjectReader::Drop(const Stretch& window, const absl::Status& why) const {
  StretchPtr unused;
  MutexLock lock(mutex_);
  const auto found = std::find_if(windows_.begin(), windows_.end(),
                                  [&](const StretchPtr& other) { return other.get() == &window; });
  if (tail_.get() == &window && !why.ok()) tail_.swap(unused);  // Else it is kept to the end.
  if (found == windows_.end()) return;
  unused = std::move(*found);
  windows_.erase(found);
}

}  // namespace backup::storage::s3
