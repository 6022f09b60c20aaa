#pragma once

#include <optional>
#include <string>
#include <vector>

#include "storage/testing/contract/fixture.h"

namespace backup::storage {

using testing::HasReason;
using testing::IsOkAndHolds;

inline constexpr Outcome kOutcomes[] = {Outcome::kVerified, Outcome::kRetrying,
                                        Outcome::kAbandoned};

// Verdicts on the files of one client.
class CatalogVerdicts : public CatalogContract {
 protected:
  // An upload's number is its id.
  Version AddUpload(const std::string& file_name, uint8_t upload) {
    return Add(client_, file_name, std::string("bytes"), IdOf<UploadId>(upload));
  }
  Verdict On(const std::string& file_name, std::optional<uint8_t> upload, Outcome outcome) {
    return {client_, file_name, upload ? std::optional(IdOf<UploadId>(*upload)) : std::nullopt,
            outcome, Learning::kOn};
  }

  // All that a verdict may change but last_seen_time.
  std::string Everything() {
    const Client client = FindClient(client_).value();
    const Counts counts = Count();
    std::string text = absl::StrCat(
        client.resends, " resends, ", client.stored_bytes, " bytes, kind ",
        client.legacy.checksum_kind ? static_cast<int>(*client.legacy.checksum_kind) : 0,
        ", refusals ", client.legacy.checksum_refusals, ", verified at ",
        client.last_verified_time ? absl::FormatTime(*client.last_verified_time) : "never",
        ", files ", counts.files, ", dropped ", counts.dropped_blobs, "\n");
    const auto versions =
        Read([](Snapshot& snapshot) { return snapshot.ScanVersions(0, 1000); }).value();
    for (const StoredVersion& stored : versions) {
      absl::StrAppend(&text, stored.version.version_id, " ", stored.version.file_name, " state ",
                      static_cast<int>(stored.version.state), " content ", stored.content.index(),
                      "\n");
    }
    return text;
  }

  const ClientId client_ = Register("name", 1).id;
};

TEST_P(CatalogVerdicts, OnAFileOfOldDoNotTurnTheClientsTimesBack) {
  for (const uint8_t upload : {1, 2}) {
    AddUpload("file", upload);
    ASSERT_OK(Run([&](Transaction& transaction) {
      return transaction.SettleVersion(On("file", upload, Outcome::kVerified), At(10 - upload));
    }));
  }
  EXPECT_EQ(FindClient(client_).value().last_verified_time, At(9));
  EXPECT_EQ(FindClient(client_).value().last_seen_time, At(9));
  EXPECT_EQ(FindVersion(client_, "file", 0).value().version.verify_time, At(8));
}

TEST_P(CatalogVerdicts, CountAVerifiedVersionAsTheNewest) {
  Add(client_, "file");
  EXPECT_THAT(FindVersion(client_, "file", 0), HasReason(Reason::kVersionNotFound));
  EXPECT_TRUE(Settle(client_, "file", Outcome::kVerified));
  const Version second = Add(client_, "file");
  EXPECT_TRUE(Settle(client_, "file", Outcome::kVerified));
  Add(client_, "file");
  const Version newest = FindVersion(client_, "file", 0).value().version;
  EXPECT_EQ(newest.version_id, second.version_id);
  EXPECT_EQ(newest.verify_time, At(3));
  const Client client = FindClient(client_).value();
  EXPECT_EQ(client.last_verified_time, At(3));
  EXPECT_EQ(client.last_seen_time, At(3));
}

TEST_P(CatalogVerdicts, SettleTheUploadThatTheyNameAndNoOther) {
  for (const Outcome outcome : kOutcomes) {
    const std::string file = absl::StrCat("file ", static_cast<int>(outcome));
    const auto upload = static_cast<uint8_t>(10 * (1 + static_cast<int>(outcome)));
    const Version older = AddUpload(file, upload);
    const Version middle = AddUpload(file, upload + 1);
    const Version newer = AddUpload(file, upload + 2);
    EXPECT_THAT(SettleVersion(On(file, upload + 1, outcome)), IsOkAndHolds(true));
    EXPECT_EQ(StateOf(older), VersionState::kReceived);
    EXPECT_EQ(StateOf(newer), VersionState::kReceived);
    if (outcome == Outcome::kRetrying) {
      EXPECT_THAT(FindVersion(client_, file, middle.version_id),
                  HasReason(Reason::kVersionNotFound));
    } else {
      EXPECT_EQ(StateOf(middle),
                outcome == Outcome::kVerified ? VersionState::kVerified : VersionState::kAbandoned);
    }
  }
}

TEST_P(CatalogVerdicts, SettleTheLastVersionIfTheyNameNoUpload) {
  for (const Outcome outcome : kOutcomes) {
    const std::string file = absl::StrCat("file ", static_cast<int>(outcome));
    const Version older = Add(client_, file);
    const Version newer = Add(client_, file);
    const Version other = Add(client_, file + " other");
    EXPECT_TRUE(Settle(client_, file, outcome));
    EXPECT_EQ(StateOf(older), VersionState::kReceived);
    EXPECT_EQ(StateOf(other), VersionState::kReceived);
    EXPECT_EQ(ListVersions(client_, file, 0, 10)->size(), outcome == Outcome::kRetrying ? 1u : 2u);
  }
}

// Named or not, whatever came first, an older version lies there all the time.
TEST_P(CatalogVerdicts, ChangeNothingOnceTheirVersionIsSettled) {
  uint8_t upload = 1;
  for (const Outcome first : kOutcomes) {
    for (const bool is_first_named : {false, true}) {
      const std::string file = absl::StrCat("file ", upload);
      const Version older = AddUpload(file, upload++);
      AddUpload(file, upload);
      const std::optional<uint8_t> name = is_first_named ? std::optional(upload) : std::nullopt;
      EXPECT_THAT(SettleVersion(On(file, name, first)), IsOkAndHolds(true));
      const std::string settled = Everything();
      for (const Outcome later : kOutcomes) {
        EXPECT_THAT(SettleVersion(On(file, std::nullopt, later)), IsOkAndHolds(false));
        const absl::StatusOr<bool> named = SettleVersion(On(file, upload, later));
        if (later == Outcome::kVerified && first != Outcome::kVerified) {
          EXPECT_THAT(named, HasReason(Reason::kVersionNotFound));
        } else {
          EXPECT_THAT(named, IsOkAndHolds(false));
        }
        EXPECT_EQ(Everything(), settled);
        EXPECT_EQ(StateOf(older), VersionState::kReceived);
      }
      ++upload;
    }
  }
}

TEST_P(CatalogVerdicts, LeaveOlderVersionsAloneWhenTheLastWasDeletedByHand) {
  const Version older = Add(client_, "file");
  const Version newer = Add(client_, "file");
  ASSERT_OK(RemoveVersion(client_, "file", newer.version_id));
  for (const Outcome outcome : kOutcomes) EXPECT_FALSE(Settle(client_, "file", outcome));
  EXPECT_EQ(StateOf(older), VersionState::kReceived);
}

TEST_P(CatalogVerdicts, ReachTheNextVersionOfAFileThatWasGone) {
  Add(client_, "file");
  EXPECT_TRUE(Settle(client_, "file", Outcome::kRetrying));
  EXPECT_TRUE(ListFiles(client_, "", 10).value().empty());
  const Version again = Add(client_, "file");
  EXPECT_TRUE(Settle(client_, "file", Outcome::kVerified));
  EXPECT_EQ(StateOf(again), VersionState::kVerified);
}

TEST_P(CatalogVerdicts, AreNotAboutAnUploadThatSendsItsVersionAgain) {
  AddUpload("file", 1);
  const Version second = AddUpload("file", 2);
  AddUpload("file", 1);  // Adds nothing.
  EXPECT_TRUE(Settle(client_, "file", Outcome::kVerified));
  EXPECT_EQ(StateOf(second), VersionState::kVerified);
}

TEST_P(CatalogVerdicts, SayWhatIsNotThere) {
  EXPECT_THAT(SettleVersion(On("none", std::nullopt, Outcome::kVerified)),
              HasReason(Reason::kFileNotFound));
  EXPECT_THAT(SettleVersion(On("none", 1, Outcome::kVerified)),
              HasReason(Reason::kVersionNotFound));
  for (const Outcome outcome : {Outcome::kRetrying, Outcome::kAbandoned}) {
    EXPECT_THAT(SettleVersion(On("none", std::nullopt, outcome)), IsOkAndHolds(false));
    EXPECT_THAT(SettleVersion(On("none", 1, outcome)), IsOkAndHolds(false));
  }
}

TEST_P(CatalogVerdicts, LeaveUploadsOfOtherFilesAndClientsAlone) {
  const Version version = AddUpload("file", 1);
  const ClientId other = Register("other", 2).id;
  Add(other, "file", std::string("bytes"), IdOf<UploadId>(2));
  for (const Outcome outcome : {Outcome::kRetrying, Outcome::kAbandoned}) {
    EXPECT_THAT(SettleVersion(On("other file", 1, outcome)), IsOkAndHolds(false));
    EXPECT_THAT(SettleVersion(On("file", 2, outcome)), IsOkAndHolds(false));
  }
  EXPECT_THAT(SettleVersion(On("other file", 1, Outcome::kVerified)),
              HasReason(Reason::kVersionNotFound));
  EXPECT_THAT(SettleVersion(On("file", 2, Outcome::kVerified)),
              HasReason(Reason::kVersionNotFound));
  EXPECT_EQ(StateOf(version), VersionState::kReceived);
  EXPECT_EQ(FindUpload(other, IdOf<UploadId>(2)).value()->state, VersionState::kReceived);
}

TEST_P(CatalogVerdicts, DeleteAVersionThatIsRetriedAndTheFileWithItsLast) {
  Add(client_, "file");
  EXPECT_TRUE(Settle(client_, "file", Outcome::kRetrying));
  EXPECT_TRUE(ListFiles(client_, "", 10).value().empty());
  EXPECT_EQ(Count().versions, 0);
}

TEST_P(CatalogVerdicts, KeepTheRowOfAnAbandonedVersionWithoutItsContent) {
  const Version in_blob = Add(client_, "file", Blob(IdOf<BlobId>(1)));
  EXPECT_TRUE(Settle(client_, "file", Outcome::kAbandoned));
  const Version in_catalog = Add(client_, "file");
  EXPECT_TRUE(Settle(client_, "file", Outcome::kAbandoned));
  for (const Version& version : {in_blob, in_catalog}) {
    const StoredVersion stored = FindVersion(client_, "file", version.version_id).value();
    EXPECT_EQ(stored.version.state, VersionState::kAbandoned);
    EXPECT_EQ(stored.content, Content());
  }
  EXPECT_EQ(Count().stored_bytes, 0);
  EXPECT_EQ(Count().blob_bytes, 0);
  EXPECT_EQ(Count().versions, 2);
}

TEST_P(CatalogVerdicts, TeachWhatAClientComparesOnlyWhereAsked) {
  const auto settle = [&](Outcome outcome, Learning learning) {
    Add(client_, "file");
    EXPECT_OK(SettleVersion({client_, "file", std::nullopt, outcome, learning}));
    return FindClient(client_).value().legacy;
  };
  EXPECT_EQ(settle(Outcome::kRetrying, Learning::kOff), LegacyProfile());
  EXPECT_EQ(settle(Outcome::kVerified, Learning::kOff), LegacyProfile());
  EXPECT_EQ(settle(Outcome::kRetrying, Learning::kOn).checksum_refusals, 1);
  EXPECT_EQ(settle(Outcome::kVerified, Learning::kOn).checksum_kind,
            ChecksumKind::kCrc32OfCiphertext);
}

}  // namespace backup::storage
