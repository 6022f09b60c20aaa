#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/testing/fault_file_system.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "services/backup/jobs/sweep.h"
#include "storage/blob_ledger.h"
#include "storage/local/local_blob_store.h"
#include "storage/memory/memory_catalog.h"
#include "storage/testing/ids.h"

namespace backup::jobs {
namespace {

using storage::BlobUse;
using storage::IdOf;
using testing::FaultFileSystem;
using Loss = FaultFileSystem::Loss;

constexpr std::array kLosses = {Loss::kNothing, Loss::kEverything, Loss::kAny};
constexpr uint64_t kSeeds = 10;
constexpr uint8_t kDropped = 3;  // Blobs, from 1.
constexpr uint8_t kPending = 4;

// A store of blobs that are dropped, of which one was deleted before, and one that is pending, on a
// disk that forgets what was not synced. What the catalog is told it keeps.
class World {
 public:
  explicit World(uint64_t seed) : disk_(seed) {
    OpenStore();
    for (uint8_t i = 1; i <= kPending; ++i) Put(IdOf<BlobId>(i), /*dropped=*/i <= kDropped);
    // As an upload does that fails.
    EXPECT_OK(blobs_->Delete(IdOf<BlobId>(1)));
  }

  FaultFileSystem& disk() { return disk_; }

  void OpenStore() {
    blobs_ = storage::LocalBlobStore::Open("/store", {}, nullptr, nullptr, disk_).value();
  }

  absl::Status Sweep() {
    jobs::Sweep sweep(catalog_, *blobs_, ledger_, clock_, Counter());
    return sweep.Step("", /*budget=*/100, std::stop_token()).status();
  }

  std::set<BlobId> Listed() {
    std::set<BlobId> listed;
    EXPECT_OK(blobs_->List([&](const storage::BlobInfo& info) {
      listed.insert(info.id);
      return absl::OkStatus();
    }));
    return listed;
  }

  void ExpectNoOrphan() {
    for (const BlobId& id : Listed()) {
      const auto use =
          catalog_.Read([&](storage::Snapshot& snapshot) { return snapshot.FindBlob(id); });
      ASSERT_OK(use);
      EXPECT_NE(*use, BlobUse::kUnknown) << ToHex(id) << " is an orphan";
    }
  }

 private:
  void Put(const BlobId& id, bool dropped) {
    EXPECT_OK(catalog_.Run([&](storage::Transaction& transaction) -> absl::Status {
      const absl::Status added =
          transaction.AddPendingBlobs({id}, {self_, clock_.Now() + absl::Hours(1)});
      if (!added.ok() || !dropped) return added;
      return transaction.DropPendingBlob(id);
    }));
    StringSource source("content");
    EXPECT_OK(blobs_->Put(id, source, std::nullopt));
  }

  FaultFileSystem disk_;
  FakeClock clock_{absl::FromUnixSeconds(1'700'000'000)};
  storage::MemoryCatalog catalog_;
  const OwnerId self_ = IdOf<OwnerId>(1);
  storage::BlobLedger ledger_{catalog_, clock_, self_};
  std::unique_ptr<storage::LocalBlobStore> blobs_;
};

TEST(SweepCrashTest, ForgetsNoBlobThatACrashBringsBack) {
  for (const Loss loss : kLosses) {
    for (uint64_t seed = 0; seed < kSeeds; ++seed) {
      bool has_struck = true;
      for (int nth = 1; has_struck; ++nth) {
        SCOPED_TRACE(absl::StrCat("seed ", seed, ", call ", nth));
        World world(seed);
        world.disk().StopAtNth(nth);
        const absl::Status swept = world.Sweep();
        has_struck = world.disk().has_struck();
        EXPECT_TRUE(swept.ok() || has_struck) << swept;
        world.disk().Restart(loss);
        world.OpenStore();
        world.ExpectNoOrphan();
        // What is left is found by the next.
        EXPECT_OK(world.Sweep());
        EXPECT_EQ(world.Listed(), std::set<BlobId>{IdOf<BlobId>(kPending)});
        world.disk().Restart(loss);
        world.OpenStore();
        world.ExpectNoOrphan();
        ASSERT_FALSE(::testing::Test::HasFailure());
      }
    }
  }
}

}  // namespace
}  // namespace backup::jobs
