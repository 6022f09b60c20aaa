#include "base/read_ahead_source.h"

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using testing::IsOkAndHolds;
using testing::StatusIs;

// A piece, and then an error.
class FailingSource final : public LastingSource {
 public:
  void MakeLast(size_t) override {}
  absl::StatusOr<absl::string_view> Read() override {
    if (std::exchange(read_, true)) return absl::DataLossError("it broke");
    return absl::string_view("piece");
  }

 private:
  bool read_ = false;
};

// Pieces that last exactly as long as was asked for, and are spoilt then.
class SmallPieces final : public LastingSource {
 public:
  SmallPieces(ByteSource& source, size_t piece_size) : source_(source), piece_size_(piece_size) {}
  void MakeLast(size_t pieces) override { lasting_ = pieces + 1; }
  absl::StatusOr<absl::string_view> Read() override {
    if (pieces_.size() == lasting_) {
      pieces_.front().assign(pieces_.front().size(), '?');
      spoilt_.push_back(std::move(pieces_.front()));
      pieces_.pop_front();
    }
    if (rest_.empty()) {
      ASSIGN_OR_RETURN(rest_, source_.Read());
    }
    pieces_.emplace_back(rest_.substr(0, piece_size_));
    rest_.remove_prefix(pieces_.back().size());
    return pieces_.back();
  }

 private:
  ByteSource& source_;
  const size_t piece_size_;
  size_t lasting_ = 1;
  absl::string_view rest_;
  std::deque<std::string> pieces_;
  std::deque<std::string> spoilt_;  // Kept, so that reading one is no use after free.
};

// Never ends.
class EndlessSource final : public LastingSource {
 public:
  void MakeLast(size_t) override {}
  absl::StatusOr<absl::string_view> Read() override { return absl::string_view("piece"); }
};

TEST(ReadAheadSource, YieldsWhatTheSourceYieldsInOrder) {
  const std::string bytes = testing::PseudoRandomBytes(500'000);
  for (uint32_t seed = 1; seed <= 10; ++seed) {
    testing::RandomCutSource cut(bytes, /*max_piece=*/5000, seed);
    SmallPieces source(cut, /*piece_size=*/777);
    ReadAheadSlots slots;
    const auto ahead = ReadAheadSource::TryMake(source, slots);
    const auto further_ahead = ReadAheadSource::TryMake(*ahead, slots);
    EXPECT_THAT(ReadAll(*further_ahead, bytes.size()), IsOkAndHolds(bytes));
    EXPECT_THAT(further_ahead->Read(), IsOkAndHolds(""));
  }
}

TEST(ReadAheadSource, YieldsWhatCameBeforeAnErrorAndThenTheError) {
  FailingSource source;
  ReadAheadSlots slots;
  const auto ahead = ReadAheadSource::TryMake(source, slots);
  EXPECT_THAT(ahead->Read(), IsOkAndHolds("piece"));
  EXPECT_THAT(ahead->Read(), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(ReadAheadSource, EndsWithoutBeingReadToItsEnd) {
  EndlessSource source;
  ReadAheadSlots slots;
  const auto ahead = ReadAheadSource::TryMake(source, slots);
  EXPECT_THAT(ahead->Read(), IsOkAndHolds("piece"));
}

TEST(ReadAheadSource, ReadsWithoutAThreadIfThereIsNoRoomForOne) {
  const std::string bytes = testing::PseudoRandomBytes(50'000);
  testing::RandomCutSource cut(bytes, /*max_piece=*/5000, /*seed=*/1);
  SmallPieces source(cut, /*piece_size=*/777);
  ReadAheadSlots slots;
  const auto ahead = ReadAheadSource::TryMake(
      source, slots, [](const std::function<void()>&) { return std::nullopt; });
  EXPECT_THAT(ReadAll(*ahead, bytes.size()), IsOkAndHolds(bytes));
}

TEST(ReadAheadSource, IsLimitedInNumberByItsSlots) {
  ReadAheadSlots slots;
  EndlessSource source;
  std::vector<std::unique_ptr<EndlessSource>> sources;
  std::vector<std::unique_ptr<ReadAheadSource>> aheads;
  for (int i = 0; i < ReadAheadSlots::kMaxSlots; ++i) {
    sources.push_back(std::make_unique<EndlessSource>());
    aheads.push_back(ReadAheadSource::TryMake(*sources.back(), slots));
    EXPECT_NE(aheads.back(), nullptr);
  }
  EXPECT_EQ(ReadAheadSource::TryMake(source, slots), nullptr);
  ReadAheadSlots other_slots;
  EXPECT_NE(ReadAheadSource::TryMake(source, other_slots), nullptr);
  aheads.pop_back();
  EXPECT_NE(ReadAheadSource::TryMake(source, slots), nullptr);
}

}  // namespace
}  // namespace backup
