#include "services/backup/handlers/verify_store.h"

#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/testing/memory_service.h"

namespace backup::handlers {
namespace {

using testing::KnownClient;
using testing::MemoryService;
using testing::StatusIs;

struct Verification {
  std::vector<v1::VerifyFinding> findings;
  v1::VerifySummary summary;
  int progress_count = 0;
};

class VerifyStoreTest : public ::testing::Test {
 protected:
  VerifyStoreTest() { service_.uploads.inline_blob_limit = 100; }

  Verification Verify() {
    Verification result;
    const absl::Status status =
        VerifyStore(service_.catalog, service_.blobs, service_.master_key, service_.stages.pieces,
                    [&](const v1::VerifyStoreResponse& event) {
                      if (event.has_finding()) result.findings.push_back(event.finding());
                      if (event.has_summary()) result.summary = event.summary();
                      result.progress_count += event.has_progress() ? 1 : 0;
                      return absl::OkStatus();
                    });
    EXPECT_OK(status);
    return result;
  }

  MemoryService service_;
  const KnownClient client_ = service_.MakeClient("laptop");
};

TEST_F(VerifyStoreTest, FindsNothingInAStoreThatIsWhole) {
  for (const auto form : {storage::StorageForm::kPlain, storage::StorageForm::kSealed}) {
    service_.uploads.form = form;
    for (int i = 0; i < 50; ++i) service_.Store(client_.id, "small", "x");
    service_.Store(client_.id, "large", std::string(1000, 'x'));
  }
  const Verification result = Verify();
  EXPECT_TRUE(result.findings.empty());
  EXPECT_EQ(result.summary.checked_versions(), 102);
  EXPECT_EQ(result.summary.checked_bytes(), 2100);
  EXPECT_EQ(result.progress_count, 2);
}

TEST_F(VerifyStoreTest, TellsWhichVersionIsDamagedAndWhichIsMissing) {
  const int64_t damaged = service_.Store(client_.id, "damaged", "content");
  const int64_t missing = service_.Store(client_.id, "missing", std::string(1000, 'x'));
  service_.Store(client_.id, "whole", "content");
  const auto stored = service_.Stored(client_.id, "damaged", damaged);
  std::string changed = std::get<std::string>(stored.content);
  changed[0] = 'C';
  service_.Replace(stored, changed);
  const auto lost = service_.Stored(client_.id, "missing", missing);
  ASSERT_OK(service_.blobs.Delete(std::get<BlobId>(lost.content)));

  const Verification result = Verify();
  ASSERT_EQ(result.findings.size(), 2u);
  EXPECT_EQ(result.findings[0].kind(), v1::VerifyFinding::DAMAGED);
  EXPECT_EQ(result.findings[0].reason(), "BLOB_DAMAGED");
  EXPECT_EQ(result.findings[0].version_id(), damaged);
  EXPECT_EQ(result.findings[0].file_name(), "damaged");
  EXPECT_EQ(result.findings[0].client_id(), client_.id);
  EXPECT_EQ(result.findings[1].kind(), v1::VerifyFinding::MISSING);
  EXPECT_EQ(result.findings[1].reason(), "BLOB_DAMAGED");
  EXPECT_EQ(result.findings[1].version_id(), missing);
  EXPECT_EQ(result.summary.damaged_versions(), 2);
  EXPECT_EQ(result.summary.checked_versions(), 3);
}

TEST_F(VerifyStoreTest, CallsABlobThatWasCutDamagedWhateverIsMissingOfIt) {
  const int64_t cut = service_.Store(client_.id, "cut", "content");
  const auto stored = service_.Stored(client_.id, "cut", cut);
  const std::string whole = std::get<std::string>(stored.content);
  for (size_t size = 0; size < whole.size(); size += 7) {
    service_.Replace(stored, whole.substr(0, size));
    const Verification result = Verify();
    ASSERT_EQ(result.findings.size(), 1u);
    EXPECT_EQ(result.findings[0].kind(), v1::VerifyFinding::DAMAGED) << size;
  }
}

TEST_F(VerifyStoreTest, DoesNotMissTheContentOfAbandonedVersions) {
  const auto header = testing::HeaderOf(client_.id, "file", v1::UploadFileHeader::IDENTITY, "x");
  ASSERT_OK(service_.Upload(header, "x"));
  ASSERT_OK(service_.Report(client_.id, "file", v1::ReportTransferRequest::ABANDONED));
  EXPECT_TRUE(Verify().findings.empty());
}

TEST_F(VerifyStoreTest, TellsOfBlobsThatNoVersionRefersTo) {
  StringSource source("nobody's");
  ASSERT_OK(service_.blobs.Put(storage::IdOf<BlobId>(1), source, std::nullopt));
  const Verification result = Verify();
  ASSERT_EQ(result.findings.size(), 1u);
  EXPECT_EQ(result.findings[0].kind(), v1::VerifyFinding::ORPHAN);
  EXPECT_EQ(result.summary.orphan_blobs(), 1);
  EXPECT_EQ(result.summary.damaged_versions(), 0);
}

TEST_F(VerifyStoreTest, DoesNotMissWhatIsDeletedMeanwhile) {
  const int64_t version = service_.Store(client_.id, "file", std::string(1000, 'x'));
  service_.blobs.before_open = [&](const BlobId&) {
    service_.blobs.before_open = [](const BlobId&) {};
    ASSERT_OK(service_.Delete(client_.id, "file", version));
    service_.Sweep();
  };
  const Verification result = Verify();
  EXPECT_TRUE(result.findings.empty());
  EXPECT_EQ(result.summary.damaged_versions(), 0);
}

TEST_F(VerifyStoreTest, TakesNoBlobForAnOrphanThatIsOnItsWayOrAboutToBeDeleted) {
  const int64_t version = service_.Store(client_.id, "file", std::string(1000, 'x'));
  ASSERT_OK(service_.Delete(client_.id, "file", version));  // Dropped, but still in the store.
  const auto pending = service_.ledger.Take();
  ASSERT_OK(pending);
  StringSource source("on its way");
  ASSERT_OK(service_.blobs.Put(*pending, source, std::nullopt));
  ASSERT_EQ(service_.BlobCount(), 2);
  EXPECT_TRUE(Verify().findings.empty());
}

TEST_F(VerifyStoreTest, TakesNoBlobForAnOrphanThatIsGoneWhenItIsLookedAtAgain) {
  StringSource source("nobody's");
  ASSERT_OK(service_.blobs.Put(storage::IdOf<BlobId>(1), source, std::nullopt));
  service_.blobs.before_open = [&](const BlobId& id) {
    ASSERT_OK(service_.memory_blobs.Delete(id));
  };
  EXPECT_TRUE(Verify().findings.empty());
}

TEST_F(VerifyStoreTest, EndsWhenNobodyListensAnyMore) {
  service_.Store(client_.id, "file", "x");
  EXPECT_THAT(
      VerifyStore(service_.catalog, service_.blobs, service_.master_key, service_.stages.pieces,
                  [](const v1::VerifyStoreResponse&) {
                    return absl::CancelledError("the caller is gone");
                  }),
      StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace backup::handlers
