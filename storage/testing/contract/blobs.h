#pragma once

#include <functional>
#include <string>
#include <vector>

#include "storage/testing/contract/fixture.h"

namespace backup::storage {

using testing::HasReason;
using testing::IsOkAndHolds;

class CatalogBlobs : public CatalogContract {
 protected:
  std::vector<BlobId> Dropped(const BlobId& after = BlobId(), int limit = 100) {
    return Read([&](Snapshot& snapshot) { return snapshot.ListDroppedBlobs(after, limit); })
        .value();
  }
  void DropPending(const BlobId& id) {
    EXPECT_OK(Run([&](Transaction& transaction) { return transaction.DropPendingBlob(id); }));
  }
  int64_t DropOfOthers(const OwnerId& self, absl::Time ended_before, int limit = 100) {
    return Run([&](Transaction& transaction) {
             return transaction.DropPendingBlobsOfOthers(self, ended_before, limit);
           })
        .value();
  }
  void Forget(const std::vector<BlobId>& ids) {
    EXPECT_OK(Run([&](Transaction& transaction) { return transaction.ForgetDroppedBlobs(ids); }));
  }

  const ClientId client_ = Register("name", 1).id;
  const BlobId blob_ = IdOf<BlobId>(1);
  const OwnerId owner_ = IdOf<OwnerId>(1);
  const OwnerId other_ = IdOf<OwnerId>(2);
};

TEST_P(CatalogBlobs, ArePendingThenReferencedThenDroppedThenForgotten) {
  EXPECT_EQ(UseOf(blob_), BlobUse::kUnknown);
  ASSERT_OK(AddPending(blob_));
  EXPECT_EQ(UseOf(blob_), BlobUse::kPending);
  const Version version = AddVersion(MakeVersion(client_, "file"), Blob(blob_)).value();
  EXPECT_EQ(UseOf(blob_), BlobUse::kReferenced);
  EXPECT_EQ(Count().blob_bytes, kBlobSize);
  ASSERT_OK(RemoveVersion(client_, "file", version.version_id));
  EXPECT_EQ(UseOf(blob_), BlobUse::kDropped);
  EXPECT_EQ(Count().blob_bytes, 0);
  EXPECT_EQ(Count().dropped_blobs, 1);
  EXPECT_THAT(Dropped(), ::testing::ElementsAre(blob_));
  Forget({blob_});
  EXPECT_EQ(UseOf(blob_), BlobUse::kUnknown);
  EXPECT_EQ(Count().dropped_blobs, 0);
  Forget({blob_});
  EXPECT_EQ(Count().dropped_blobs, 0);
}

TEST_P(CatalogBlobs, MakeNoVersionUnlessTheyArePending) {
  const auto add = [&](const BlobId& blob) {
    LegacyProfile observed;
    observed.family = "A/B";
    return AddVersion(MakeVersion(client_, "file"), Blob(blob), observed);
  };
  EXPECT_THAT(add(blob_), HasReason(Reason::kBackendDown));
  ASSERT_OK(AddPending(blob_));
  DropPending(blob_);
  EXPECT_THAT(add(blob_), HasReason(Reason::kBackendDown));
  EXPECT_EQ(UseOf(blob_), BlobUse::kDropped);
  Forget({blob_});
  EXPECT_THAT(add(blob_), HasReason(Reason::kBackendDown));
  EXPECT_EQ(UseOf(blob_), BlobUse::kUnknown);
  EXPECT_EQ(Count().files, 0);
  EXPECT_EQ(Count().versions, 0);
  EXPECT_EQ(FindClient(client_)->legacy, LegacyProfile());
  EXPECT_EQ(FindClient(client_)->last_seen_time, At(0));
}

TEST_P(CatalogBlobs, BelongToOneVersion) {
  Add(client_, "file", Blob(blob_));
  EXPECT_THAT(AddVersion(MakeVersion(client_, "other"), Blob(blob_)),
              HasReason(Reason::kBackendDown));
  EXPECT_EQ(Count().versions, 1);
}

TEST_P(CatalogBlobs, OfAnUploadThatWasThereAlreadyAreDropped) {
  const BlobId second = IdOf<BlobId>(2);
  Add(client_, "file", Blob(blob_), IdOf<UploadId>(1));
  Add(client_, "file", Blob(second), IdOf<UploadId>(1));
  EXPECT_EQ(UseOf(second), BlobUse::kDropped);
  EXPECT_EQ(UseOf(blob_), BlobUse::kReferenced);
  // The same once more, as after a commit of which nobody knows whether it succeeded.
  EXPECT_OK(AddVersion(MakeVersion(client_, "file", IdOf<UploadId>(1)), Blob(blob_)));
  EXPECT_EQ(UseOf(blob_), BlobUse::kReferenced);
}

TEST_P(CatalogBlobs, AreDroppedByTheTransactionThatEndsTheReference) {
  const std::vector<std::function<absl::Status(Transaction&, const Version&)>> ends = {
      [](Transaction& transaction, const Version& version) {
        return transaction
            .SettleVersion({version.client_id, version.file_name, std::nullopt, Outcome::kRetrying},
                           At(3))
            .status();
      },
      [](Transaction& transaction, const Version& version) {
        return transaction
            .SettleVersion(
                {version.client_id, version.file_name, std::nullopt, Outcome::kAbandoned}, At(3))
            .status();
      },
      [](Transaction& transaction, const Version& version) {
        return transaction.DeleteVersion(version.client_id, version.file_name, version.version_id,
                                         kForGood);
      },
      [](Transaction& transaction, const Version& version) {
        return RemoveClient(transaction, version.client_id);
      }};
  uint8_t number = 10;
  for (const auto& end : ends) {
    const BlobId blob = IdOf<BlobId>(++number);
    const BlobId kept = IdOf<BlobId>(number, 1);
    const Version version = Add(client_, "file", Blob(blob));
    Add(Register(absl::StrCat("client ", number), number).id, "file", Blob(kept));
    // Undone with the rest, and seen by whoever reads in the same transaction.
    EXPECT_THAT(Run([&](Transaction& transaction) -> absl::Status {
                  RETURN_IF_ERROR(end(transaction, version));
                  EXPECT_THAT(transaction.FindBlob(blob), IsOkAndHolds(BlobUse::kDropped));
                  return absl::AbortedError("on purpose");
                }),
                testing::StatusIs(absl::StatusCode::kAborted));
    EXPECT_EQ(UseOf(blob), BlobUse::kReferenced);
    EXPECT_OK(Run([&](Transaction& transaction) { return end(transaction, version); }));
    EXPECT_EQ(UseOf(blob), BlobUse::kDropped);
    EXPECT_EQ(UseOf(kept), BlobUse::kReferenced);
  }
}

TEST_P(CatalogBlobs, OfAnUploadThatIsOverAreDroppedUnlessReferenced) {
  const BlobId referenced = IdOf<BlobId>(2);
  const BlobId forgotten = IdOf<BlobId>(3);
  ASSERT_OK(AddPending(blob_));
  Add(client_, "file", Blob(referenced));
  for (const BlobId& id : {blob_, referenced, forgotten}) DropPending(id);
  EXPECT_EQ(UseOf(blob_), BlobUse::kDropped);
  EXPECT_EQ(UseOf(referenced), BlobUse::kReferenced);
  EXPECT_EQ(UseOf(forgotten), BlobUse::kDropped);
  for (const BlobId& id : {blob_, referenced, forgotten}) DropPending(id);
  EXPECT_EQ(Count().dropped_blobs, 2);
}

TEST_P(CatalogBlobs, AreListedPageByPageWhenDropped) {
  std::vector<BlobId> dropped;
  for (const uint8_t id : {1, 2, 100, 200, 250}) {
    dropped.push_back(IdOf<BlobId>(id));
    ASSERT_OK(AddPending(dropped.back()));
    DropPending(dropped.back());
  }
  ASSERT_OK(AddPending(IdOf<BlobId>(3)));
  std::vector<BlobId> listed;
  while (true) {
    const std::vector<BlobId> page = Dropped(listed.empty() ? BlobId() : listed.back(), 2);
    if (page.empty()) break;
    EXPECT_LE(page.size(), 2u);
    listed.insert(listed.end(), page.begin(), page.end());
  }
  EXPECT_EQ(listed, dropped);
  Forget({dropped[0], dropped[3]});
  EXPECT_THAT(Dropped(), ::testing::ElementsAre(dropped[1], dropped[2], dropped[4]));
}

// Leases.

TEST_P(CatalogBlobs, OfOthersAreDroppedOnceTheirLeaseHasEnded) {
  const BlobId mine = IdOf<BlobId>(1);
  const BlobId early = IdOf<BlobId>(2);
  const BlobId late = IdOf<BlobId>(3);
  ASSERT_OK(AddPending(mine, owner_, At(1)));
  ASSERT_OK(AddPending(early, other_, At(10)));
  ASSERT_OK(AddPending(late, other_, At(20)));
  EXPECT_EQ(DropOfOthers(owner_, At(10)), 0);
  EXPECT_EQ(DropOfOthers(owner_, At(11)), 1);
  EXPECT_EQ(UseOf(mine), BlobUse::kPending);
  EXPECT_EQ(UseOf(early), BlobUse::kDropped);
  EXPECT_EQ(UseOf(late), BlobUse::kPending);
  EXPECT_EQ(DropOfOthers(other_, At(11)), 1);
  EXPECT_EQ(UseOf(mine), BlobUse::kDropped);
  EXPECT_EQ(UseOf(late), BlobUse::kPending);
}

TEST_P(CatalogBlobs, OfOthersAreDroppedWhateverTheirLeaseIfSoAsked) {
  ASSERT_OK(AddPending(IdOf<BlobId>(1), owner_, absl::InfiniteFuture()));
  ASSERT_OK(AddPending(IdOf<BlobId>(2), other_, absl::InfiniteFuture()));
  ASSERT_OK(AddPending(IdOf<BlobId>(3), other_, At(10)));
  EXPECT_EQ(DropOfOthers(owner_, absl::InfiniteFuture()), 2);
  EXPECT_EQ(UseOf(IdOf<BlobId>(1)), BlobUse::kPending);
}

TEST_P(CatalogBlobs, ThatArePendingAreForgottenIfSoAskedAndNotDropped) {
  ASSERT_OK(AddPending(blob_));
  ASSERT_OK(AddPending(IdOf<BlobId>(2)));
  AddVersion(MakeVersion(client_, "file"), Blob(blob_)).value();
  ASSERT_OK(Run([](Transaction& transaction) { return transaction.ForgetPending(); }));
  EXPECT_EQ(UseOf(blob_), BlobUse::kReferenced);
  EXPECT_EQ(UseOf(IdOf<BlobId>(2)), BlobUse::kUnknown);
  EXPECT_THAT(Dropped(), ::testing::IsEmpty());
}

TEST_P(CatalogBlobs, OfOthersAreDroppedAFewAtATime) {
  for (const uint8_t id : {1, 2, 3, 4, 5}) ASSERT_OK(AddPending(IdOf<BlobId>(id), other_, At(1)));
  EXPECT_EQ(DropOfOthers(owner_, At(2), 3), 3);
  EXPECT_EQ(Count().dropped_blobs, 3);
  EXPECT_EQ(DropOfOthers(owner_, At(2), 3), 2);
  EXPECT_EQ(DropOfOthers(owner_, At(2), 3), 0);
}

TEST_P(CatalogBlobs, StayPendingWhileTheirOwnerRenewsItsLeases) {
  ASSERT_OK(AddPending(IdOf<BlobId>(1), other_, At(10)));
  ASSERT_OK(AddPending(IdOf<BlobId>(2), other_, At(10)));
  ASSERT_OK(AddPending(IdOf<BlobId>(3), owner_, At(10)));
  ASSERT_OK(Run([&](Transaction& transaction) {
    return transaction.RenewLeases({other_, At(100)});
  }));
  EXPECT_EQ(DropOfOthers(IdOf<OwnerId>(3), At(50)), 1);
  EXPECT_EQ(UseOf(IdOf<BlobId>(1)), BlobUse::kPending);
  EXPECT_EQ(UseOf(IdOf<BlobId>(2)), BlobUse::kPending);
  EXPECT_EQ(UseOf(IdOf<BlobId>(3)), BlobUse::kDropped);
}

TEST_P(CatalogBlobs, WhoseLeaseEndedBeforeTheirVersionCameMakeNone) {
  ASSERT_OK(AddPending(blob_, other_, At(10)));
  EXPECT_EQ(DropOfOthers(owner_, At(11)), 1);
  EXPECT_THAT(AddVersion(MakeVersion(client_, "file"), Blob(blob_)),
              HasReason(Reason::kBackendDown));
  EXPECT_EQ(UseOf(blob_), BlobUse::kDropped);
}

}  // namespace backup::storage
