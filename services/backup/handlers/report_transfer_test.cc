#include "services/backup/handlers/report_transfer.h"

#include <string>

#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/testing/memory_service.h"

namespace backup::handlers {
namespace {

using testing::DownloadOf;
using testing::HasReason;
using testing::HeaderOf;
using testing::IsOkAndHolds;
using testing::KnownClient;
using testing::MemoryService;
using Report = v1::ReportTransferRequest;

constexpr char kNobody[] = "11111111-2222-4333-8444-555555555555";

class ReportTransferTest : public ::testing::Test {
 protected:
  MemoryService service_;
};

TEST_F(ReportTransferTest, DiscardsRetriedAndAbandonedContent) {
  service_.uploads.inline_blob_limit = 0;
  const KnownClient client = service_.MakeClient("laptop");
  service_.Store(client.id, "file", "kept");
  for (const Report::Outcome outcome : {Report::RETRYING, Report::ABANDONED}) {
    const auto header = HeaderOf(client.id, "file", v1::UploadFileHeader::IDENTITY, "wrong");
    ASSERT_OK(service_.Upload(header, "wrong"));
    EXPECT_EQ(service_.Count().chunks, 2);
    ASSERT_OK(service_.Report(client.id, "file", outcome));
    EXPECT_EQ(service_.Count().chunks, 1);
  }
  EXPECT_THAT(service_.Download(DownloadOf(client.id, "file", 0)), IsOkAndHolds("kept"));
}

TEST_F(ReportTransferTest, ReportingWantsAnOutcomeAndAFile) {
  const std::string id = service_.Register("laptop");
  EXPECT_THAT(service_.Report(id, "file", Report::OUTCOME_UNSPECIFIED),
              HasReason(Reason::kInvalidField));
  EXPECT_THAT(service_.Report(id, "", Report::VERIFIED), HasReason(Reason::kInvalidField));
  EXPECT_THAT(service_.Report(id, "file", Report::VERIFIED), HasReason(Reason::kFileNotFound));
  EXPECT_THAT(service_.Report(kNobody, "file", Report::VERIFIED),
              HasReason(Reason::kClientNotFound));
}

// An older version stays received because its client vanished; the verdict on a newer one is told
// twice, since the first answer was lost.
TEST_F(ReportTransferTest, ARepeatedVerdictSettlesNoOtherVersion) {
  const KnownClient client = service_.MakeClient("laptop");
  auto header = HeaderOf(client.id, "file", v1::UploadFileHeader::IDENTITY, "old");
  const auto old = service_.Upload(header, "old");
  header.set_upload_id("22222222-2222-4333-8444-555555555555");
  const auto current = service_.Upload(header, "new");
  ASSERT_OK(old);
  ASSERT_OK(current);
  for (const std::string& upload_id : {header.upload_id(), std::string()}) {
    for (const Report::Outcome outcome : {Report::VERIFIED, Report::RETRYING}) {
      ASSERT_OK(service_.Report(client.id, "file", Report::VERIFIED, upload_id));
      ASSERT_OK(service_.Report(client.id, "file", outcome, upload_id));
      EXPECT_EQ(service_.Stored(client.id, "file", old->version().version_id()).version.state,
                storage::VersionState::kReceived);
      EXPECT_EQ(service_.Stored(client.id, "file", current->version().version_id()).version.state,
                storage::VersionState::kVerified);
    }
  }
}

TEST_F(ReportTransferTest, WantsAnUploadIdThatIsOne) {
  const KnownClient client = service_.MakeClient("laptop");
  const absl::Status status = service_.Report(client.id, "file", Report::VERIFIED, "the last one");
  EXPECT_THAT(status, HasReason(Reason::kInvalidField));
  EXPECT_EQ(SubjectOf(status), "upload_id");
}

}  // namespace
}  // namespace backup::handlers
