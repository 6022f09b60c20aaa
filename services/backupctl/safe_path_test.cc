#include "services/backupctl/safe_path.h"

#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::ctl {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

// Names that clients may send to do harm, or that need care.
std::vector<std::string> HostileNames() {
  std::vector<std::string> names = {"..",
                                    ".",
                                    "/",
                                    "//",
                                    "\\",
                                    "\\\\",
                                    "../x",
                                    "..\\x",
                                    "x/..",
                                    "x/../../y",
                                    "x/..\\..\\y",
                                    "/etc/passwd",
                                    "//host/share/x",
                                    "\\\\host\\share\\x",
                                    "C:\\Windows\\x",
                                    "C:x",
                                    "c:/x",
                                    "a//b",
                                    "/a",
                                    "a/",
                                    "./a",
                                    "a/./b",
                                    "a/.",
                                    "trailing.",
                                    "trailing ",
                                    "a. /b",
                                    "a/b.",
                                    "...",
                                    " ",
                                    "CON",
                                    "con.txt",
                                    "nul",
                                    "Aux.tar.gz",
                                    "COM1",
                                    "lpt9.x",
                                    "PRN .txt",
                                    "a/CON/b",
                                    "a:b",
                                    "file:$DATA",
                                    "-rf",
                                    "--force",
                                    "a/-rf",
                                    "new\nline",
                                    "cr\rlf",
                                    "tab\t",
                                    "bell\a",
                                    "\x1b[2J",
                                    "\x7f",
                                    "a/\x01",
                                    "%2e%2e",
                                    "%2e%2e/x",
                                    "%",
                                    "100%",
                                    "~",
                                    "$HOME",
                                    "`id`",
                                    "a*b?",
                                    "\"quoted\"",
                                    "<a>|b",
                                    "\xff\xfe",
                                    "caf\xe9",
                                    "\xc0\xae\xc0\xae/x",
                                    "\xc2\x85",
                                    "\xed\xa0\x80",
                                    "name\xc3",
                                    std::string("nul\0byte", 8),
                                    std::string("\0", 1)};
  for (const char c : {'a', '/', '\\', '.', ' ', '%', '-', '\n', '\xff'}) {
    names.push_back(std::string(255, c));
  }
  std::string characters;
  while (characters.size() + 2 <= 255) characters += "\xc3\xa9";
  names.push_back(characters);
  return names;
}

TEST(SafePaths, NeverLeaveTheFolderWhateverTheNameSays) {
  for (const std::string& name : HostileNames()) {
    for (const std::string& path : SafePaths(name)) {
      SCOPED_TRACE(path);
      ASSERT_FALSE(path.empty());
      EXPECT_NE(path[0], '/');
      for (const std::string& component : std::vector<std::string>(absl::StrSplit(path, '/'))) {
        EXPECT_NE(component, "");
        EXPECT_NE(component, ".");
        EXPECT_NE(component, "..");
        EXPECT_NE(component[0], '-');
        EXPECT_LE(component.size(), kMaxComponentSize);
        EXPECT_EQ(component.find_first_of("\\:*?\"<>|"), std::string::npos);
        EXPECT_FALSE(absl::EndsWith(component, ".") || absl::EndsWith(component, " "));
        for (const unsigned char c : component) EXPECT_TRUE(c >= 0x20 && c != 0x7f);
      }
    }
  }
}

TEST(SafePaths, NeverMakeOneOfTwoNames) {
  std::set<std::string> names;
  for (const std::string& name : HostileNames()) names.insert(name);
  std::set<std::string> paths;
  for (const std::string& name : names) paths.insert(SafePaths(name).back());
  EXPECT_EQ(paths.size(), names.size());
}

TEST(SafePaths, KeepHarmlessSubFoldersAndOfferASingleComponentToo) {
  EXPECT_THAT(SafePaths("reports/2024/may.txt"),
              ElementsAre("reports/2024/may.txt", "reports%2F2024%2Fmay.txt"));
  EXPECT_THAT(SafePaths("caf\xc3\xa9.txt"), ElementsAre("caf\xc3\xa9.txt"));
  EXPECT_THAT(SafePaths("/etc/passwd"), ElementsAre("etc/passwd", "%2Fetc%2Fpasswd"));
  EXPECT_THAT(SafePaths("/file"), ElementsAre("file", "%2Ffile"));
}

TEST(SafePaths, EncodeTheSeparatorsOfNamesThatAreNotHarmless) {
  EXPECT_THAT(SafePaths("../x"), ElementsAre("..%2Fx"));
  EXPECT_THAT(SafePaths("..\\x"), ElementsAre("..%5Cx"));
  EXPECT_THAT(SafePaths("/etc/../passwd"), ElementsAre("%2Fetc%2F..%2Fpasswd"));
  EXPECT_THAT(SafePaths("C:\\Windows\\x"), ElementsAre("C%3A%5CWindows%5Cx"));
  EXPECT_THAT(SafePaths("\\\\host\\share"), ElementsAre("%5C%5Chost%5Cshare"));
  EXPECT_THAT(SafePaths("a//b"), ElementsAre("a%2F%2Fb"));
}

TEST(SafeComponent, EncodesWhatMeansSomethingToASystem) {
  EXPECT_EQ(SafeComponent("."), "%2E");
  EXPECT_EQ(SafeComponent(".."), "%2E%2E");
  EXPECT_EQ(SafeComponent(".profile"), ".profile");
  EXPECT_EQ(SafeComponent("-rf"), "%2Drf");
  EXPECT_EQ(SafeComponent("con.txt"), "%63on.txt");
  EXPECT_EQ(SafeComponent("console"), "console");
  EXPECT_EQ(SafeComponent("end."), "end%2E");
  EXPECT_EQ(SafeComponent("end "), "end%20");
  EXPECT_EQ(SafeComponent("new\nline"), "new%0Aline");
  EXPECT_EQ(SafeComponent("100%"), "100%25");
  EXPECT_EQ(SafeComponent("caf\xe9"), "caf%E9");
}

TEST(SafeComponent, ShortensWhatIsTooLongWithoutMakingOneOfTwo) {
  const std::string one = SafeComponent(std::string(254, '\n') + "1");
  const std::string two = SafeComponent(std::string(254, '\n') + "2");
  EXPECT_LE(one.size(), kMaxComponentSize);
  EXPECT_NE(one, two);
  EXPECT_THAT(SafeComponent(std::string(255, 'x')), SizeIs(255));
}

TEST(SafeBaseName, IsTheEndOfANameOfAnySystem) {
  EXPECT_EQ(SafeBaseName("/etc/hostname"), "hostname");
  EXPECT_EQ(SafeBaseName("C:\\Users\\x\\notes.txt"), "notes.txt");
  EXPECT_EQ(SafeBaseName("a/.."), "%2E%2E");
  EXPECT_EQ(SafeBaseName("a/"), "a%2F");
}

TEST(NumberedPath, NumbersTheLastComponentWithinItsLimit) {
  EXPECT_EQ(NumberedPath("a/b", 2), "a/b~2");
  EXPECT_EQ(NumberedPath("b", 12), "b~12");
  EXPECT_THAT(NumberedPath(std::string(255, 'x'), 2), SizeIs(255));
}

}  // namespace
}  // namespace backup::ctl
