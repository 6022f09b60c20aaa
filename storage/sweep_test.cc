#include "storage/sweep.h"

#include "base/clock.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "storage/memory/memory_blob_store.h"
#include "storage/memory/memory_catalog.h"
#include "storage/testing/faulty_blob_store.h"

namespace backup::storage {
namespace {

using testing::IsOkAndHolds;
using testing::StatusIs;

auto Result(int64_t removed, int64_t kept_bytes) {
  return ::testing::AllOf(::testing::Field(&SweepResult::removed, removed),
                          ::testing::Field(&SweepResult::kept_bytes, kept_bytes));
}

class SweepTest : public ::testing::Test {
 protected:
  BlobId Put() {
    StringSource source("bytes");
    return blobs_.Put(source, std::nullopt).value().id;
  }

  void Refer(const BlobId& blob) {
    const ClientId client = *ClientId::FromBytes("0123456789abcdef");
    ASSERT_OK(catalog_.RegisterClient("name", client, DuplicateNames::kReject, clock_.Now()));
    Version version;
    version.client_id = client;
    version.file_name = "file";
    version.version_id = 1;
    ASSERT_OK(catalog_.AddVersion(version, blob, {}));
  }

  FakeClock clock_{absl::FromUnixSeconds(1'700'000'000)};
  MemoryCatalog catalog_;
  MemoryBlobStore blobs_{clock_};
};

TEST_F(SweepTest, DeletesOldBlobsToWhichNoVersionRefers) {
  const BlobId referred = Put();
  const BlobId orphan = Put();
  const BlobId second_orphan = Put();
  Refer(referred);
  clock_.Advance(absl::Seconds(1));
  EXPECT_THAT(Sweep(catalog_, blobs_, clock_.Now()), IsOkAndHolds(Result(2, 5)));
  EXPECT_OK(blobs_.Open(referred));
  EXPECT_THAT(blobs_.Open(orphan), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(blobs_.Open(second_orphan), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Sweep(catalog_, blobs_, clock_.Now()), IsOkAndHolds(Result(0, 5)));
}

TEST_F(SweepTest, SparesBlobsThatAnUploadMayStillWriteARowFor) {
  const BlobId young = Put();
  EXPECT_THAT(Sweep(catalog_, blobs_, clock_.Now()), IsOkAndHolds(Result(0, 5)));
  EXPECT_OK(blobs_.Open(young));
}

TEST_F(SweepTest, EndsWithTheErrorOfTheStore) {
  Put();
  clock_.Advance(absl::Seconds(1));
  FaultyBlobStore faulty(blobs_,
                         {.error = MakeError(Reason::kStorageIo, "broken"), .after_calls = 1});
  EXPECT_THAT(Sweep(catalog_, faulty, clock_.Now()), testing::HasReason(Reason::kStorageIo));
}

}  // namespace
}  // namespace backup::storage
