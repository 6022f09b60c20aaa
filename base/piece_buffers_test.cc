#include "base/piece_buffers.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using testing::HasReason;
using testing::IsOkAndHolds;
using testing::PseudoRandomBytes;

TEST(PieceBuffers, AreAlignedAndUsedInTurn) {
  PieceBudget budget;
  PieceBuffers buffers(budget);
  buffers.set_count(3);
  std::vector<char*> round = {buffers.Next(), buffers.Next(), buffers.Next()};
  for (char* buffer : round) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer) % PieceBuffers::kAlignment, 0u);
    EXPECT_EQ(buffers.Next(), buffer);
  }
  EXPECT_NE(round[0], round[1]);
  EXPECT_NE(round[1], round[2]);
}

TEST(PieceBuffers, HoldASmallContentInOnePieceOfAboutItsSize) {
  for (const int64_t size : {0, 1, 4095, 4096, 100'000}) {
    PieceBudget budget;
    PieceBuffers buffers(budget, size);
    buffers.Next();
    EXPECT_GT(buffers.piece_size(), static_cast<size_t>(size));
    EXPECT_LE(buffers.piece_size(), static_cast<size_t>(size) + PieceBuffers::kAlignment);
  }
}

TEST(PieceBuffers, AreSmallOnceManyOfTheSameBudgetAreInUse) {
  PieceBudget budget;
  std::vector<std::unique_ptr<PieceBuffers>> in_use;
  for (int64_t bytes = 0; bytes < PieceBudget::kMaxBytes; bytes += kPieceSize) {
    in_use.push_back(std::make_unique<PieceBuffers>(budget));
    in_use.back()->Next();
    EXPECT_EQ(in_use.back()->piece_size(), kPieceSize);
  }
  PieceBuffers one_more(budget);
  one_more.Next();
  EXPECT_EQ(one_more.piece_size(), PieceBuffers::kSmallPieceSize);
  PieceBudget other_budget;
  PieceBuffers of_another_budget(other_budget);
  of_another_budget.Next();
  EXPECT_EQ(of_another_budget.piece_size(), kPieceSize);
  in_use.pop_back();
  PieceBuffers in_its_place(budget);
  in_its_place.Next();
  EXPECT_EQ(in_its_place.piece_size(), kPieceSize);
}

TEST(PieceGrant, IsOfAllPiecesThatAreWantedOrOfNone) {
  PieceBudget budget(int64_t{5 * kPieceSize});
  std::optional<PieceGrant> first(std::in_place, budget, 3);
  EXPECT_TRUE(first->is_granted());
  PieceGrant second(budget, 3);
  EXPECT_FALSE(second.is_granted());
  for (auto [grant, size] :
       {std::pair(&*first, kPieceSize), std::pair(&second, PieceBuffers::kSmallPieceSize)}) {
    PieceBuffers buffers(grant->budget());
    buffers.set_count(3);
    buffers.Next();
    EXPECT_EQ(buffers.piece_size(), size);
  }
  first.reset();
  EXPECT_TRUE(PieceGrant(budget, 5).is_granted());
}

TEST(GatherSource, YieldsTheSameBytesInFullPieces) {
  const std::string bytes = testing::PseudoRandomBytes((5 << 20) / 2);
  testing::RandomCutSource cut(bytes, /*max_piece=*/300'000);
  PieceBudget budget;
  GatherSource gathered(cut, budget, std::nullopt);
  EXPECT_THAT(gathered.Read(), IsOkAndHolds(bytes.substr(0, kPieceSize)));
  EXPECT_THAT(gathered.Read(), IsOkAndHolds(bytes.substr(kPieceSize, kPieceSize)));
  EXPECT_THAT(gathered.Read(), IsOkAndHolds(bytes.substr(2 * kPieceSize)));
  EXPECT_THAT(gathered.Read(), IsOkAndHolds(""));
  EXPECT_THAT(gathered.Read(), IsOkAndHolds(""));
}

TEST(GatherSource, ShowsAllBytesToItsObserverInSmallPartsHoweverTheyCome) {
  const std::string bytes = testing::PseudoRandomBytes((5 << 20) / 2);
  testing::RandomCutSource cut(bytes, /*max_piece=*/300'000);
  PieceBudget budget;
  GatherSource gathered(cut, budget, std::nullopt);
  std::string seen;
  size_t parts = 0;
  gathered.set_observer([&](absl::string_view part) {
    EXPECT_LE(part.size(), kHotSize);
    absl::StrAppend(&seen, part);
    ++parts;
  });
  EXPECT_THAT(ReadAll(gathered, bytes.size()), IsOkAndHolds(bytes));
  EXPECT_TRUE(seen == bytes);
  EXPECT_EQ(parts, bytes.size() / kHotSize);
}

TEST(RangeSource, YieldsExactlyTheRangeInPiecesOfLimitedSize) {
  const std::string bytes = PseudoRandomBytes(2 * kPieceSize + 1000);
  const StringAccess access(bytes);
  PieceBudget budget;
  RangeSource source(access, budget, 10, 2 * kPieceSize + 500);
  std::string all;
  size_t largest = 0;
  while (true) {
    const absl::StatusOr<absl::string_view> piece = source.Read();
    ASSERT_OK(piece);
    if (piece->empty()) break;
    largest = std::max(largest, piece->size());
    all.append(piece->data(), piece->size());
  }
  EXPECT_EQ(largest, kPieceSize);
  EXPECT_TRUE(all == bytes.substr(10, 2 * kPieceSize + 500));
}

TEST(RangeSource, ReportsBytesThatAreMissing) {
  const StringAccess access("0123456789");
  PieceBudget budget;
  RangeSource source(access, budget, 5, 6);
  EXPECT_THAT(source.Read(), HasReason(Reason::kBlobDamaged));
}

TEST(RangeSource, OfNothingIsEmpty) {
  const StringAccess access("0123456789");
  PieceBudget budget;
  RangeSource source(access, budget, 10, 0);
  EXPECT_THAT(source.Read(), IsOkAndHolds(""));
}

}  // namespace
}  // namespace backup
