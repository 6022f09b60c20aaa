#include "services/backupctl/tar_stream.h"

#include <string>

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::ctl {
namespace {

using ::backup::testing::StatusIs;
using ::testing::EndsWith;
using ::testing::HasSubstr;

const std::string kEnd(1024, '\0');

absl::Status AddFile(TarStream& tar, const std::string& path, absl::string_view content) {
  const absl::Status begun =
      tar.BeginFile(path, static_cast<int64_t>(content.size()), absl::FromUnixSeconds(1));
  if (!begun.ok()) return begun;
  const absl::Status written = tar.Write(content);
  return written.ok() ? tar.EndFile() : written;
}

TEST(TarStream, HasNamesAsBytesAndAnEnd) {
  StringSink out;
  const auto tar = TarStream::Open(out);
  ASSERT_OK(tar);
  ASSERT_OK(AddFile(**tar, "caf\xe9", "content"));
  ASSERT_OK(AddFile(**tar, std::string(255, 'n'), ""));
  EXPECT_THAT(out.bytes(), HasSubstr("hdrcharset=BINARY"));
  const size_t before = out.bytes().size();
  ASSERT_OK(AddFile(**tar, "caf\xc3\xa9", ""));
  EXPECT_EQ(out.bytes().find("hdrcharset", before), std::string::npos);
  ASSERT_OK((*tar)->Finish());
  EXPECT_THAT(out.bytes(), HasSubstr("path=caf\xe9\n"));
  EXPECT_THAT(out.bytes(), HasSubstr("path=caf\xc3\xa9\n"));
  EXPECT_THAT(out.bytes(), HasSubstr("content"));
  EXPECT_THAT(out.bytes(), HasSubstr("path=" + std::string(255, 'n') + "\n"));
  EXPECT_THAT(out.bytes(), EndsWith(kEnd));
  EXPECT_EQ(out.bytes().size() % 512, 0u);
}

TEST(TarStream, TakesFilesOfAnySize) {
  StringSink out;
  const auto tar = TarStream::Open(out);
  ASSERT_OK(tar);
  ASSERT_OK((*tar)->BeginFile("huge", int64_t{1} << 40, absl::Now()));
  ASSERT_OK((*tar)->Write("begin"));
  EXPECT_THAT(out.bytes(), HasSubstr("size=1099511627776\n"));
}

TEST(TarStream, HasNoEndIfItBreaksOff) {
  StringSink out;
  {
    const auto tar = TarStream::Open(out);
    ASSERT_OK(tar);
    ASSERT_OK((*tar)->BeginFile("file", 1000, absl::Now()));
    ASSERT_OK((*tar)->Write("begin"));
    EXPECT_THAT((*tar)->EndFile(), StatusIs(absl::StatusCode::kInternal));
  }
  EXPECT_THAT(out.bytes(), EndsWith("begin"));
}

TEST(TarStream, TakesNoMoreThanAFilesSize) {
  StringSink out;
  const auto tar = TarStream::Open(out);
  ASSERT_OK(tar);
  ASSERT_OK((*tar)->BeginFile("file", 3, absl::Now()));
  EXPECT_THAT((*tar)->Write("four"), StatusIs(absl::StatusCode::kInternal));
}

TEST(TarStream, FailsAsItsSinkDoes) {
  class FullSink final : public ByteSink {
   public:
    absl::Status Write(absl::string_view) override { return absl::ResourceExhaustedError("full"); }
  };
  FullSink full;
  const auto tar = TarStream::Open(full);
  ASSERT_OK(tar);
  EXPECT_THAT(AddFile(**tar, "file", "content"), StatusIs(absl::StatusCode::kResourceExhausted));
}

}  // namespace
}  // namespace backup::ctl
