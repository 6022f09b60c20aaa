#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/byte_stream.h"

namespace backup::content {

// Adds up how long something takes, each time that it is done. Used by one thread at a time, but
// for total().
class Stopwatch {
 public:
  template <typename Work>
  auto Time(const Work& work) {
    const auto begin = std::chrono::steady_clock::now();
    auto result = work();
    total_nanoseconds_ +=
        std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin).count();
    return result;
  }
  absl::Duration total() const { return absl::Nanoseconds(total_nanoseconds_.load()); }

 private:
  std::atomic<int64_t> total_nanoseconds_ = 0;
};

// Measures how long a source is waited for. Used by one thread at a time.
class TimedSource final : public ByteSource {
 public:
  explicit TimedSource(ByteSource& source) : source_(source) {}
  absl::StatusOr<absl::string_view> Read() override {
    return stopwatch_.Time([&] { return source_.Read(); });
  }
  absl::Duration total() const { return stopwatch_.total(); }

 private:
  ByteSource& source_;
  Stopwatch stopwatch_;
};

// The same of a source whose pieces can be made to last.
class TimedLastingSource final : public LastingSource {
 public:
  explicit TimedLastingSource(LastingSource& source) : source_(source) {}
  void MakeLast(size_t pieces) override { source_.MakeLast(pieces); }
  absl::StatusOr<absl::string_view> Read() override {
    return stopwatch_.Time([&] { return source_.Read(); });
  }
  absl::Duration total() const { return stopwatch_.total(); }

 private:
  LastingSource& source_;
  Stopwatch stopwatch_;
};

}  // namespace backup::content
