#include "services/backupctl/transfer.h"

#include <memory>
#include <string>

#include "base/low_priority_thread.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backupctl/testing/fake_service.h"
#include "services/backupctl/testing/temp_folder.h"

namespace backup::ctl {
namespace {

using ::backup::testing::HasReason;
using ::backup::testing::PseudoRandomBytes;
using ::backup::testing::StatusIs;
using ::testing::ElementsAre;
using testing::FakeService;
using ::testing::IsEmpty;
using testing::kClientId;
using ::testing::SizeIs;
using testing::TempFolder;
using Outcome = v1::ReportTransferRequest;

class TransferTest : public ::testing::Test {
 protected:
  absl::StatusOr<v1::FileVersion> BackUpBytes(const std::string& bytes) {
    folder_.Write("file", bytes);
    const auto file = LocalFile::Open(folder_.Path("file"));
    if (!file.ok()) return file.status();
    return BackUp(service_.connection(), kClientId, "a name", **file, progress_);
  }
  absl::Status DownloadEntry(const testing::FakeCatalog::Entry& entry, ByteSink& sink) {
    return Download(service_.connection(), entry.version, sink);
  }

  TempFolder folder_;
  FakeService service_;
  ProgressBar progress_{ProgressStyle(), "", 0};
};

TEST_F(TransferTest, BacksAFileOfManyChunksUpAndReportsItVerified) {
  const std::string bytes = PseudoRandomBytes(3 * kPieceSize + 17);
  const auto version = BackUpBytes(bytes);
  ASSERT_OK(version);
  EXPECT_EQ(version->state(), v1::FileVersion::VERIFIED);
  ASSERT_THAT(service_.ingest.uploads(), SizeIs(1));
  const auto& upload = service_.ingest.uploads()[0];
  EXPECT_EQ(upload.content, bytes);
  EXPECT_EQ(upload.header.client_id(), kClientId);
  EXPECT_EQ(upload.header.file_name(), "a name");
  EXPECT_EQ(upload.header.encoding(), v1::UploadFileHeader::IDENTITY);
  EXPECT_EQ(upload.header.encoded_size(), static_cast<int64_t>(bytes.size()));
  EXPECT_THAT(upload.header.upload_id(), SizeIs(36));
  EXPECT_THAT(service_.ingest.outcomes(), ElementsAre(Outcome::VERIFIED));
}

TEST_F(TransferTest, BacksAnEmptyFileUp) {
  ASSERT_OK(BackUpBytes(""));
  ASSERT_THAT(service_.ingest.uploads(), SizeIs(1));
  EXPECT_THAT(service_.ingest.uploads()[0].content, IsEmpty());
}

TEST_F(TransferTest, SendsAgainUnderANewIdAfterAWrongChecksum) {
  service_.ingest.CorruptChecksums(2);
  ASSERT_OK(BackUpBytes("content"));
  EXPECT_THAT(service_.ingest.outcomes(),
              ElementsAre(Outcome::RETRYING, Outcome::RETRYING, Outcome::VERIFIED));
  const auto& uploads = service_.ingest.uploads();
  EXPECT_NE(uploads[0].header.upload_id(), uploads[1].header.upload_id());
  EXPECT_THAT(service_.ingest.settled_uploads(),
              ElementsAre(uploads[0].header.upload_id(), uploads[1].header.upload_id(),
                          uploads[2].header.upload_id()));
  EXPECT_EQ(uploads[2].content, "content");
}

TEST_F(TransferTest, GivesUpAfterThreeWrongChecksums) {
  service_.ingest.CorruptChecksums(3);
  EXPECT_THAT(BackUpBytes("content"), StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(service_.ingest.outcomes(),
              ElementsAre(Outcome::RETRYING, Outcome::RETRYING, Outcome::ABANDONED));
}

TEST_F(TransferTest, RepeatsTheSameUploadWhenTheAnswerWasLost) {
  service_.ingest.LoseAnswers(1);
  ASSERT_OK(BackUpBytes("content"));
  const auto& uploads = service_.ingest.uploads();
  ASSERT_THAT(uploads, SizeIs(2));
  EXPECT_EQ(uploads[0].header.upload_id(), uploads[1].header.upload_id());
  EXPECT_THAT(service_.ingest.outcomes(), ElementsAre(Outcome::VERIFIED));
}

TEST_F(TransferTest, ReportsNothingWhenTheServiceStaysAway) {
  service_.ingest.LoseAnswers(3);
  EXPECT_THAT(BackUpBytes("content"), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(service_.ingest.outcomes(), IsEmpty());
}

TEST_F(TransferTest, RefusesWhatIsNoRegularFile) {
  EXPECT_THAT(LocalFile::Open(folder_.Path(".")), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(LocalFile::Open(folder_.Path("nothing")), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(TransferTest, DownloadsEveryByte) {
  const std::string bytes = PseudoRandomBytes(12345);
  StringSink sink;
  ASSERT_OK(DownloadEntry(service_.catalog.Add("f", bytes), sink));
  EXPECT_EQ(sink.bytes(), bytes);
}

TEST_F(TransferTest, DownloadsALargeFileInStages) {
  const std::string bytes = PseudoRandomBytes(kLowPriorityMinSize + 4097);
  StringSink sink;
  ASSERT_OK(DownloadEntry(service_.catalog.Add("f", bytes), sink));
  EXPECT_TRUE(sink.bytes() == bytes);
}

TEST_F(TransferTest, RefusesADownloadThatIsChangedOrShorterOrLonger) {
  for (const std::string& sent :
       {std::string("contenT"), std::string("conten"), std::string("contents")}) {
    auto& entry = service_.catalog.Add("f", "content");
    entry.sent = sent;
    StringSink sink;
    const absl::Status changed_on_its_way = DownloadEntry(entry, sink);
    EXPECT_THAT(changed_on_its_way, HasReason(Reason::kBlobDamaged)) << sent;
    entry.damaged = true;
    const absl::Status damaged = DownloadEntry(entry, sink);
    EXPECT_THAT(damaged, HasReason(Reason::kBlobDamaged)) << sent;
    EXPECT_EQ(damaged.message(), "damaged in the store");
    EXPECT_NE(changed_on_its_way.message(), damaged.message());
  }
}

TEST_F(TransferTest, ADownloadThatCannotBeWrittenEndsAtOnce) {
  class FullSink final : public ByteSink {
   public:
    absl::Status Write(absl::string_view) override {
      return absl::ResourceExhaustedError("the disk is full");
    }
  };
  const auto& entry = service_.catalog.Add("f", PseudoRandomBytes(4 * kLowPriorityMinSize));
  FullSink sink;
  EXPECT_THAT(DownloadEntry(entry, sink), StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_F(TransferTest, StopsWhenInterrupted) {
  const auto& entry = service_.catalog.Add("f", "content");
  service_.interrupt.Request();
  StringSink sink;
  EXPECT_THAT(DownloadEntry(entry, sink), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(BackUpBytes("content"), StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(TransferTest, AFileAppearsOnlyWhenItIsWhole) {
  const auto place = FindPlace(folder_.Path("out"), "default", /*replace=*/false);
  ASSERT_OK(place);
  {
    const auto abandoned = OutputFile::Create(place->folder.get(), /*expected_size=*/0);
    ASSERT_OK(abandoned);
    ASSERT_OK((*abandoned)->Write("half"));
  }
  EXPECT_THAT(folder_.List(), IsEmpty());
  const auto file = OutputFile::Create(place->folder.get(), /*expected_size=*/0);
  ASSERT_OK(file);
  ASSERT_OK((*file)->Write("whole"));
  ASSERT_OK((*file)->Commit(place->folder.get(), place->name, /*replace=*/false, absl::Now()));
  EXPECT_THAT(folder_.List(), ElementsAre("out"));
  EXPECT_EQ(folder_.Read("out"), "whole");
}

TEST_F(TransferTest, NothingIsReplacedWithoutForce) {
  folder_.Write("out", "old");
  EXPECT_THAT(FindPlace(folder_.Path("out"), "default", false),
              StatusIs(absl::StatusCode::kAlreadyExists));
  const auto place = FindPlace(folder_.Path("out"), "default", true);
  ASSERT_OK(place);
  const auto file = OutputFile::Create(place->folder.get(), /*expected_size=*/0);
  ASSERT_OK(file);
  ASSERT_OK((*file)->Write("new"));
  EXPECT_THAT((*file)->Commit(place->folder.get(), "out", false, absl::Now()),
              StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_EQ(folder_.Read("out"), "old");
  ASSERT_OK((*file)->Commit(place->folder.get(), "out", true, absl::Now()));
  EXPECT_EQ(folder_.Read("out"), "new");
}

TEST_F(TransferTest, AFolderAsTargetTakesTheDefaultName) {
  const auto place = FindPlace(folder_.Path("."), "default", false);
  ASSERT_OK(place);
  EXPECT_EQ(place->name, "default");
  EXPECT_THAT(FindPlace("/dev/null", "default", true), StatusIs(absl::StatusCode::kAlreadyExists));
}

TEST_F(TransferTest, AClientIsFoundByIdAndByName) {
  for (const char* text : {kClientId, "laptop"}) {
    const auto client = service_.connection().FindClient(text);
    ASSERT_OK(client);
    EXPECT_EQ(client->client_id(), kClientId);
  }
  EXPECT_THAT(service_.connection().FindClient("nobody"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(service_.connection().FindClient("00000000-0000-4000-8000-000000000000"),
              StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace backup::ctl
