#include "legacy_client/transfer_info.h"

#include <fstream>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::legacy_client {
namespace {

using ::backup::testing::StatusIs;
using ::testing::ElementsAre;

TEST(TransferInfo, HoldsServerNameAndFilesInOrder) {
  const auto info = ParseTransferInfo("127.0.0.1:1357\nlaptop 7\nb.txt\n/etc/a name.txt");
  ASSERT_OK(info);
  EXPECT_EQ(info->server.host, "127.0.0.1");
  EXPECT_EQ(info->server.port, "1357");
  EXPECT_EQ(info->client_name, "laptop 7");
  EXPECT_THAT(info->files, ElementsAre("b.txt", "/etc/a name.txt"));
}

TEST(TransferInfo, UnderstandsEverySpellingOfAnAddress) {
  for (const auto& [line, host, port] :
       std::initializer_list<std::tuple<const char*, const char*, const char*>>{
           {"[::1]:5", "::1", "5"},
           {"::1", "::1", "1357"},
           {"tcp://backup.example:5", "backup.example", "5"},
           {"*:5", "localhost", "5"}}) {
    const auto info = ParseTransferInfo(absl::StrCat(line, "\nname\nfile"));
    ASSERT_OK(info);
    EXPECT_EQ(info->server.host, host);
    EXPECT_EQ(info->server.port, port);
  }
}

TEST(TransferInfo, MayHaveCarriageReturnsAndEmptyLines) {
  const auto info = ParseTransferInfo("localhost:1\r\nname\r\n\r\none\r\n\r\ntwo\r\n");
  ASSERT_OK(info);
  EXPECT_EQ(info->client_name, "name");
  EXPECT_THAT(info->files, ElementsAre("one", "two"));
}

TEST(TransferInfo, NameMayHave100BytesAndNoMore) {
  EXPECT_OK(ParseTransferInfo(absl::StrCat("h:1\n", std::string(100, 'n'), "\nf\n")));
  EXPECT_THAT(ParseTransferInfo(absl::StrCat("h:1\n", std::string(101, 'n'), "\nf\n")),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(TransferInfo, IsRefusedWhenSomethingIsMissing) {
  for (const absl::string_view text :
       {"", "\n", "host\nname\nfile", ":1\nname\nfile", "host:\nname\nfile", "host:x\nname\nfile",
        "host:0\nname\nfile", "host:65536\nname\nfile", "host:1", "host:1\n\nfile", "host:1\nname",
        "host:1\nname\n\n"}) {
    EXPECT_THAT(ParseTransferInfo(text), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}

TEST(TransferInfo, IsReadFromAFile) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/transfer_info_test.", getpid());
  EXPECT_THAT(ReadTransferInfo(path), StatusIs(absl::StatusCode::kNotFound));
  std::ofstream(path) << "host:5\nname\nfile\n";
  const auto info = ReadTransferInfo(path);
  unlink(path.c_str());
  ASSERT_OK(info);
  EXPECT_EQ(info->server.port, "5");
}

}  // namespace
}  // namespace backup::legacy_client
