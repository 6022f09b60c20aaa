#include "storage/catalog/stock.h"

#include <algorithm>
#include <set>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "storage/memory/memory_catalog.h"

namespace backup::storage {
namespace {

using testing::HasReason;
using testing::IsOkAndHolds;

// Keeps what is submitted until it is told to run it.
class SlowCatalog final : public Catalog {
 public:
  void Submit(Work work, Done done) override {
    MutexLock lock(mutex_);
    waiting_.push_back({std::move(work), std::move(done)});
    arrived_.NotifyAll();
  }

  // Waits for a work, and ends it with this error or by running it.
  void EndOne(const absl::Status& error = absl::OkStatus()) {
    Submitted next;
    {
      MutexLock lock(mutex_);
      while (waiting_.empty()) arrived_.Wait(mutex_);
      next = std::move(waiting_.front());
      waiting_.erase(waiting_.begin());
    }
    if (error.ok()) return catalog_.Submit(std::move(next.work), std::move(next.done));
    next.done(error);
  }

  size_t waiting() {
    MutexLock lock(mutex_);
    return waiting_.size();
  }

 private:
  struct Submitted {
    Work work;
    Done done;
  };

  absl::Status ReadSnapshot(const std::function<absl::Status(Snapshot&)>&) override {
    return absl::UnimplementedError("nobody reads");
  }

  MemoryCatalog catalog_;
  Mutex mutex_;
  CondVar arrived_;
  std::vector<Submitted> waiting_ ABSL_GUARDED_BY(mutex_);
};

constexpr int64_t kBlock = 4;

absl::StatusOr<std::vector<int64_t>> FetchBlock(Transaction& transaction) {
  ASSIGN_OR_RETURN(const int64_t first, transaction.ReserveVersionIds(kBlock));
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < kBlock; ++i) numbers.push_back(first + i);
  return numbers;
}

TEST(Stock, HandsOutWhatItFetchesInOrder) {
  MemoryCatalog catalog;
  Stock<int64_t> stock(catalog, FetchBlock, 2);
  for (int64_t number = 1; number <= 3 * kBlock; ++number)
    EXPECT_THAT(stock.Take(), IsOkAndHolds(number));
}

TEST(Stock, FetchesOnceWhenFewAreLeftAndGoesOnMeanwhile) {
  SlowCatalog catalog;
  Stock<int64_t> stock(catalog, FetchBlock, 2);
  EXPECT_EQ(stock.TryTake(), std::nullopt);
  EXPECT_EQ(stock.TryTake(), std::nullopt);
  EXPECT_EQ(catalog.waiting(), 1u);
  catalog.EndOne();
  EXPECT_EQ(stock.TryTake(), 1);
  EXPECT_EQ(catalog.waiting(), 0u);
  EXPECT_EQ(stock.TryTake(), 2);
  EXPECT_EQ(catalog.waiting(), 1u);
  EXPECT_EQ(stock.TryTake(), 3);
  EXPECT_EQ(stock.TryTake(), 4);
  EXPECT_EQ(stock.TryTake(), std::nullopt);
  EXPECT_EQ(catalog.waiting(), 1u);
  catalog.EndOne();
  EXPECT_EQ(stock.TryTake(), 5);
}

TEST(Stock, TellsWhoeverWaitsForAFetchThatItFailed) {
  SlowCatalog catalog;
  Stock<int64_t> stock(catalog, FetchBlock, 2);
  absl::StatusOr<int64_t> taken;
  std::jthread waiter([&] { taken = stock.Take(); });
  catalog.EndOne(MakeError(Reason::kStorageFull, "full"));
  waiter.join();
  EXPECT_THAT(taken, HasReason(Reason::kStorageFull));
}

TEST(Stock, WaitsForAFetch) {
  SlowCatalog catalog;
  Stock<int64_t> stock(catalog, FetchBlock, 2);
  absl::StatusOr<int64_t> taken;
  std::jthread waiter([&] { taken = stock.Take(); });
  catalog.EndOne();
  waiter.join();
  EXPECT_THAT(taken, IsOkAndHolds(1));
}

TEST(Stock, FetchesAgainAfterAFetchThatFailed) {
  SlowCatalog catalog;
  Stock<int64_t> stock(catalog, FetchBlock, 2);
  EXPECT_EQ(stock.TryTake(), std::nullopt);
  catalog.EndOne(MakeError(Reason::kStorageFull, "full"));
  EXPECT_EQ(stock.TryTake(), std::nullopt);
  catalog.EndOne();
  EXPECT_THAT(stock.Take(), IsOkAndHolds(1));
}

TEST(Stock, GivesEachOfManyThreadsItsOwn) {
  MemoryCatalog catalog;
  Stock<int64_t> stock(catalog, FetchBlock, 2);
  std::vector<std::vector<int64_t>> taken(8);
  {
    std::vector<std::jthread> threads;
    for (auto& mine : taken) {
      threads.emplace_back([&] {
        for (int i = 0; i < 1000; ++i) mine.push_back(stock.Take().value());
      });
    }
  }
  std::set<int64_t> distinct;
  for (const auto& mine : taken) {
    EXPECT_TRUE(std::is_sorted(mine.begin(), mine.end()));
    distinct.insert(mine.begin(), mine.end());
  }
  EXPECT_EQ(distinct.size(), 8000u);
}

TEST(Stock, MayGoWhileItFetches) {
  SlowCatalog catalog;
  { EXPECT_EQ(Stock<int64_t>(catalog, FetchBlock, 2).TryTake(), std::nullopt); }
  catalog.EndOne();
}

}  // namespace
}  // namespace backup::storage
