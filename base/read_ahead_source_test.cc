#include "base/read_ahead_source.h"

#include <utility>
#include <vector>

#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using testing::IsOkAndHolds;
using testing::StatusIs;

// A piece, and then an error.
class FailingSource final : public ByteSource {
 public:
  absl::StatusOr<absl::string_view> Read() override {
    if (std::exchange(read_, true)) return absl::DataLossError("it broke");
    return absl::string_view("piece");
  }

 private:
  bool read_ = false;
};

// Never ends.
class EndlessSource final : public ByteSource {
 public:
  absl::StatusOr<absl::string_view> Read() override { return absl::string_view("piece"); }
};

TEST(ReadAheadSource, YieldsWhatTheSourceYieldsInOrder) {
  const std::string bytes = testing::PseudoRandomBytes(500'000);
  for (uint32_t seed = 1; seed <= 10; ++seed) {
    testing::RandomCutSource source(bytes, /*max_piece=*/5000, seed);
    const auto ahead = ReadAheadSource::TryStart(source);
    EXPECT_THAT(ReadAll(*ahead, bytes.size()), IsOkAndHolds(bytes));
    EXPECT_THAT(ahead->Read(), IsOkAndHolds(""));
  }
}

TEST(ReadAheadSource, YieldsWhatCameBeforeAnErrorAndThenTheError) {
  FailingSource source;
  const auto ahead = ReadAheadSource::TryStart(source);
  EXPECT_THAT(ahead->Read(), IsOkAndHolds("piece"));
  EXPECT_THAT(ahead->Read(), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(ReadAheadSource, EndsWithoutBeingReadToItsEnd) {
  EndlessSource source;
  const auto ahead = ReadAheadSource::TryStart(source);
  EXPECT_THAT(ahead->Read(), IsOkAndHolds("piece"));
}

TEST(ReadAheadSource, IsLimitedInNumber) {
  EndlessSource source;
  std::vector<std::unique_ptr<EndlessSource>> sources;
  std::vector<std::unique_ptr<ReadAheadSource>> aheads;
  for (int i = 0; i < ReadAheadSource::kMaxInstances; ++i) {
    sources.push_back(std::make_unique<EndlessSource>());
    aheads.push_back(ReadAheadSource::TryStart(*sources.back()));
    EXPECT_NE(aheads.back(), nullptr);
  }
  EXPECT_EQ(ReadAheadSource::TryStart(source), nullptr);
  aheads.pop_back();
  EXPECT_NE(ReadAheadSource::TryStart(source), nullptr);
}

}  // namespace
}  // namespace backup
