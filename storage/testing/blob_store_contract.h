#pragma once

#include <atomic>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "storage/blob_store.h"
#include "storage/testing/faulty_blob_store.h"
#include "storage/testing/ids.h"

namespace backup::storage {

// What storage/blob_store.h promises. An implementation's test instantiates it with a maker of
// empty stores.
class BlobStoreContract
    : public ::testing::TestWithParam<std::function<std::unique_ptr<BlobStore>()>> {
 protected:
  // Bytes in which no two stretches are alike.
  static std::string SomeBytes(size_t size) {
    std::string bytes(size, '\0');
    uint64_t state = size + 1;
    for (char& byte : bytes) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      byte = static_cast<char>(state >> 56);
    }
    return bytes;
  }

  // One that was not used before.
  BlobId NewId() {
    const uint64_t number = ++ids_;
    return IdOf<BlobId>(static_cast<uint8_t>(number), static_cast<uint8_t>(number >> 8));
  }

  BlobId Put(const std::string& bytes) {
    const BlobId id = NewId();
    StringSource source(bytes);
    EXPECT_THAT(store_->Put(id, source, std::nullopt),
                testing::IsOkAndHolds(static_cast<int64_t>(bytes.size())));
    return id;
  }

  static std::string Bytes(const RandomAccess& blob) {
    std::string bytes(static_cast<size_t>(blob.size_bytes()), '\0');
    EXPECT_OK(blob.ReadAt(0, {bytes.data(), bytes.size()}));
    return bytes;
  }

  std::map<BlobId, BlobInfo> Visited() const {
    std::map<BlobId, BlobInfo> visited;
    EXPECT_OK(store_->List([&](const BlobInfo& info) {
      EXPECT_TRUE(visited.emplace(info.id, info).second) << "visited twice";
      return absl::OkStatus();
    }));
    return visited;
  }

  const std::unique_ptr<BlobStore> store_ = GetParam()();
  std::atomic<uint64_t> ids_ = 0;
};

TEST_P(BlobStoreContract, GivesBackWhatWasPutWhateverItsSize) {
  for (const size_t size :
       {size_t{0}, size_t{1}, size_t{4095}, size_t{4096}, size_t{4097}, kPieceSize - 1, kPieceSize,
        kPieceSize + 1, 2 * kPieceSize, 3 * kPieceSize + 4096, 3 * kPieceSize + 5000}) {
    const std::string bytes = SomeBytes(size);
    StringSource source(bytes, 100'000);
    const BlobId id = NewId();
    EXPECT_THAT(store_->Put(id, source, std::nullopt),
                testing::IsOkAndHolds(static_cast<int64_t>(size)));
    const auto blob = store_->Open(id);
    ASSERT_OK(blob);
    EXPECT_EQ((*blob)->size_bytes(), static_cast<int64_t>(size));
    EXPECT_TRUE(Bytes(**blob) == bytes) << size;
  }
}

TEST_P(BlobStoreContract, TakesTheExpectedSizeAsAHintOnly) {
  for (const int64_t expected : {0, 1, 10'000, 3'000'000}) {
    const std::string bytes = SomeBytes(10'000);
    StringSource source(bytes);
    const BlobId id = NewId();
    EXPECT_THAT(store_->Put(id, source, expected), testing::IsOkAndHolds(10'000));
    EXPECT_TRUE(Bytes(*store_->Open(id).value()) == bytes);
  }
}

TEST_P(BlobStoreContract, ReadsAnyRangeAndRefusesOnesBeyondTheEnd) {
  const std::string bytes = SomeBytes(5000);
  const auto blob = store_->Open(Put(bytes)).value();
  std::string range(100, '\0');
  ASSERT_OK(blob->ReadAt(4900, {range.data(), range.size()}));
  EXPECT_EQ(range, bytes.substr(4900));
  EXPECT_THAT(blob->ReadAt(4901, {range.data(), range.size()}),
              testing::StatusIs(absl::StatusCode::kDataLoss));
}

TEST_P(BlobStoreContract, NeverStoresAnythingInThePlaceOfABlob) {
  const std::string bytes = SomeBytes(10'000);
  const BlobId id = Put(bytes);
  for (const std::string& other : {std::string(), SomeBytes(9'999), SomeBytes(3 * kPieceSize)}) {
    StringSource source(other);
    EXPECT_THAT(store_->Put(id, source, std::nullopt), testing::HasReason(Reason::kStorageIo));
    EXPECT_TRUE(Bytes(*store_->Open(id).value()) == bytes);
  }
  EXPECT_EQ(Visited().size(), 1u);
}

TEST_P(BlobStoreContract, StoresABlobOnceThoughManyThreadsPutIt) {
  const BlobId id = NewId();
  std::atomic<int> stored = 0;
  {
    std::vector<std::jthread> threads;
    for (size_t t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        StringSource source(SomeBytes(1000 + t));
        if (store_->Put(id, source, std::nullopt).ok()) ++stored;
      });
    }
  }
  EXPECT_EQ(stored, 1);
  EXPECT_OK(store_->Open(id));
}

TEST_P(BlobStoreContract, StoresNothingWhenTheSourceFails) {
  for (const int64_t after_bytes :
       {int64_t{0}, int64_t{5000}, int64_t{kPieceSize}, int64_t{2 * kPieceSize}}) {
    FaultyBlobStore faulty(*store_,
                           {.error = absl::CancelledError("gone"), .after_bytes = after_bytes});
    StringSource source(SomeBytes(3 * kPieceSize), 5000);
    EXPECT_THAT(faulty.Put(NewId(), source, 3 * kPieceSize),
                testing::StatusIs(absl::StatusCode::kCancelled));
  }
  EXPECT_TRUE(Visited().empty());
}

TEST_P(BlobStoreContract, ShowsAStagedBlobOnlyOnceItIsCommitted) {
  const BlobId id = NewId();
  const std::string bytes = SomeBytes(3 * kPieceSize + 5000);
  auto source = std::make_unique<StringSource>(bytes);
  auto staged = store_->Stage(id, *source, std::nullopt);
  ASSERT_OK(staged);
  source.reset();
  EXPECT_EQ((*staged)->size_bytes(), std::ssize(bytes));
  EXPECT_THAT(store_->Open(id), testing::StatusIs(absl::StatusCode::kNotFound));
  EXPECT_TRUE(Visited().empty());
  // From any thread.
  absl::Status committed;
  std::thread([&] { committed = (*staged)->Commit(); }).join();
  ASSERT_OK(committed);
  staged->reset();
  EXPECT_TRUE(Bytes(*store_->Open(id).value()) == bytes);
}

TEST_P(BlobStoreContract, StoresNothingThatIsNotCommitted) {
  const BlobId id = NewId();
  StringSource source(SomeBytes(10'000));
  ASSERT_OK(store_->Stage(id, source, 10'000));
  EXPECT_TRUE(Visited().empty());
  StringSource again("the id is free");
  EXPECT_OK(store_->Put(id, again, std::nullopt));
}

TEST_P(BlobStoreContract, SaysThatABlobIsNotThere) {
  EXPECT_THAT(store_->Open(BlobId()), testing::StatusIs(absl::StatusCode::kNotFound));
}

TEST_P(BlobStoreContract, DeletesAndIsContentWithNothingToDelete) {
  const BlobId id = Put("bytes");
  const BlobId other = Put("other");
  EXPECT_THAT(store_->Delete(id), testing::IsOkAndHolds(true));
  EXPECT_THAT(store_->Open(id), testing::StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_->Delete(id), testing::IsOkAndHolds(false));
  EXPECT_OK(store_->Open(other));
}

TEST_P(BlobStoreContract, LetsAReaderFinishABlobThatIsDeletedMeanwhile) {
  const std::string bytes = SomeBytes(100'000);
  const BlobId id = Put(bytes);
  const auto blob = store_->Open(id).value();
  ASSERT_OK(store_->Delete(id));
  EXPECT_TRUE(Bytes(*blob) == bytes);
}

TEST_P(BlobStoreContract, VisitsEveryBlobWithItsSize) {
  EXPECT_TRUE(Visited().empty());
  std::map<BlobId, int64_t> put;
  for (int size = 0; size < 20; ++size) put[Put(SomeBytes(size))] = size;
  const std::map<BlobId, BlobInfo> visited = Visited();
  ASSERT_EQ(visited.size(), put.size());
  for (const auto& [id, size] : put) {
    ASSERT_TRUE(visited.contains(id));
    EXPECT_EQ(visited.at(id).size_bytes, size);
  }
}

TEST_P(BlobStoreContract, EndsAVisitAtTheFirstErrorAndReturnsIt) {
  Put("one");
  Put("two");
  int visits = 0;
  EXPECT_THAT(store_->List([&](const BlobInfo&) {
    ++visits;
    return absl::AbortedError("enough");
  }),
              testing::StatusIs(absl::StatusCode::kAborted));
  EXPECT_EQ(visits, 1);
}

TEST_P(BlobStoreContract, LetsABlobBeDeletedWhileItIsVisited) {
  for (int i = 0; i < 10; ++i) Put("bytes");
  EXPECT_OK(store_->List([&](const BlobInfo& info) { return store_->Delete(info.id).status(); }));
  EXPECT_TRUE(Visited().empty());
}

TEST_P(BlobStoreContract, ServesManyThreads) {
  std::vector<std::vector<BlobId>> ids(8);
  {
    std::vector<std::jthread> threads;
    for (size_t t = 0; t < ids.size(); ++t) {
      threads.emplace_back([&, t] {
        for (size_t i = 0; i < 10; ++i) ids[t].push_back(Put(SomeBytes(1000 * t + i)));
      });
    }
  }
  std::set<BlobId> distinct;
  for (size_t t = 0; t < ids.size(); ++t) {
    for (size_t i = 0; i < ids[t].size(); ++i) {
      EXPECT_TRUE(distinct.insert(ids[t][i]).second);
      EXPECT_TRUE(Bytes(*store_->Open(ids[t][i]).value()) == SomeBytes(1000 * t + i));
    }
  }
  EXPECT_EQ(distinct.size(), 80u);
}

}  // namespace backup::storage
