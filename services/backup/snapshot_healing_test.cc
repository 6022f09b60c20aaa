#include "services/backup/snapshot_healing.h"

#include <cstdint>
#include <utility>

#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/testing/memory_service.h"
#include "storage/testing/faulty_blob_store.h"
#include "storage/testing/ids.h"

namespace backup {
namespace {

using storage::FaultyBlobStore;
using testing::HasReason;
using testing::IsOkAndHolds;

class SnapshotHealingTest : public ::testing::Test {
 protected:
  SnapshotHealingTest() {
    service_.uploads.inline_blob_limit = 0;
    version_ = service_.StoreWhole(service_.Register("client"), "file", "content",
                                   storage::StorageForm::kSealed);
  }
  // By a snapshot that has the same, while the store fails for the snapshot's or for today's state.
  absl::StatusOr<bool> Heal(FaultyBlobStore::Fault of_snapshot, FaultyBlobStore::Fault now) {
    FaultyBlobStore snapshot_blobs(service_.blobs, std::move(of_snapshot));
    FaultyBlobStore blobs(service_.blobs, std::move(now));
    return HealFromSnapshot(Places(snapshot_blobs), Places(blobs),
                            {storage::IdOf<OwnerId>(1), absl::InfiniteFuture()}, version_);
  }

  testing::MemoryService service_;
  int64_t version_ = 0;

 private:
  handlers::StoredPlaces Places(const storage::BlobStore& blobs) const {
    return {service_.catalog, blobs, service_.master_key, service_.store_keys,
            *service_.dictionaries};
  }
};

TEST_F(SnapshotHealingTest, AStoreThatIsAwaySaysNothingOfWhatIsLost) {
  const FaultyBlobStore::Fault is_away = {
      MakeError(Reason::kBackendDown, "no answer", storage::kBlobsSubject), /*after_calls=*/0};
  EXPECT_THAT(Heal(is_away, {}), HasReason(Reason::kBackendDown));
  EXPECT_THAT(Heal({}, is_away), HasReason(Reason::kBackendDown));
  EXPECT_THAT(Heal({}, {}), IsOkAndHolds(true));
}

TEST_F(SnapshotHealingTest, WhatASnapshotCannotReadHealsNothing) {
  const FaultyBlobStore::Fault fails = {MakeError(Reason::kStorageIo, "the medium is broken"),
                                        /*after_calls=*/0};
  EXPECT_THAT(Heal(fails, {}), IsOkAndHolds(false));
  EXPECT_THAT(Heal({}, fails), IsOkAndHolds(false));
}

}  // namespace
}  // namespace backup
