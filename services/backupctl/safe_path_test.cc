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

constexpr NameRules kLinux;
constexpr NameRules kPortable = {.portable = true};

std::vector<std::string> Components(const std::string& path) { return absl::StrSplit(path, '/'); }

TEST(SafePaths, NeverLeaveTheFolderWhateverTheNameSays) {
  for (const NameRules& rules : {kLinux, kPortable}) {
    for (const std::string& name : HostileNames()) {
      for (const std::string& path : SafePaths(name, rules)) {
        SCOPED_TRACE(path);
        for (const std::string& component : Components(path)) {
          EXPECT_NE(component, "");
          EXPECT_NE(component, ".");
          EXPECT_NE(component, "..");
          EXPECT_EQ(component.find('\0'), std::string::npos);
          EXPECT_LE(component.size(), kMaxComponentSize);
        }
      }
    }
  }
}

TEST(SafePaths, ArePortableIfTheyAreToBe) {
  for (const std::string& name : HostileNames()) {
    for (const std::string& path : SafePaths(name, kPortable)) {
      SCOPED_TRACE(path);
      for (const std::string& component : Components(path)) {
        EXPECT_EQ(component.find_first_of("\\:*?\"<>|"), std::string::npos);
        EXPECT_FALSE(absl::EndsWith(component, ".") || absl::EndsWith(component, " "));
        for (const unsigned char c : component) EXPECT_TRUE(c >= 0x20 && c != 0x7f);
      }
    }
  }
}

TEST(SafePaths, KeepEveryNameThatLinuxTakes) {
  for (const std::string& name : HostileNames()) {
    bool takes = name.find('\0') == std::string::npos;
    for (const std::string& component : Components(std::string(NaturalPath(name))))
      takes &= !component.empty() && component != "." && component != "..";
    EXPECT_EQ(SafePaths(name, kLinux)[0] == NaturalPath(name), takes) << name;
  }
}

TEST(SafePaths, KeepSubFoldersAndOfferASingleComponentToo) {
  EXPECT_THAT(SafePaths("reports/2024/may.txt", kLinux),
              ElementsAre("reports/2024/may.txt", "reports%2F2024%2Fmay.txt"));
  EXPECT_THAT(SafePaths("caf\xe9 100% ", kLinux), ElementsAre("caf\xe9 100% "));
  EXPECT_THAT(SafePaths("/etc/passwd", kLinux), ElementsAre("etc/passwd", "%2Fetc%2Fpasswd"));
  EXPECT_THAT(SafePaths("//file", kLinux), ElementsAre("file", "%2F%2Ffile"));
  EXPECT_THAT(SafePaths("C:\\Windows\\x", kLinux), ElementsAre("C:\\Windows\\x"));
  EXPECT_THAT(SafePaths("docs/con.txt", kPortable),
              ElementsAre("docs/%63on.txt", "docs%2Fcon.txt"));
}

TEST(SafePaths, EncodeTheSeparatorsOfNamesThatLeadElsewhere) {
  EXPECT_THAT(SafePaths("../x", kLinux), ElementsAre("..%2Fx"));
  EXPECT_THAT(SafePaths("/etc/../passwd", kLinux), ElementsAre("%2Fetc%2F..%2Fpasswd"));
  EXPECT_THAT(SafePaths("a//b", kLinux), ElementsAre("a%2F%2Fb"));
  EXPECT_THAT(SafePaths("a/", kLinux), ElementsAre("a%2F"));
  EXPECT_THAT(SafePaths("/", kLinux), ElementsAre("%2F"));
  EXPECT_THAT(SafePaths("..\\x", kPortable), ElementsAre("..%5Cx"));
  EXPECT_THAT(SafePaths("\\\\host\\share", kPortable), ElementsAre("%5C%5Chost%5Cshare"));
}

TEST(SafeComponent, EncodesWhatLinuxForbids) {
  EXPECT_EQ(SafeComponent(".", kLinux), "%2E");
  EXPECT_EQ(SafeComponent("..", kLinux), "%2E%2E");
  EXPECT_EQ(SafeComponent(std::string("nul\0%", 5), kLinux), "nul%00%25");
  EXPECT_EQ(SafeComponent("new\nline", kLinux), "new\nline");
  constexpr char kPart[] = ".backupctl-0123456789abcdef.part";
  EXPECT_EQ(SafeComponent(kPart, kLinux), "%2Ebackupctl-0123456789abcdef%2Epart");
  EXPECT_EQ(SafeComponent(kPart, kPortable), "%2Ebackupctl-0123456789abcdef.part");
}

TEST(SafeComponent, EncodesWhatMeansSomethingToASystem) {
  EXPECT_EQ(SafeComponent(".profile", kPortable), ".profile");
  EXPECT_EQ(SafeComponent("-rf", kPortable), "-rf");
  EXPECT_EQ(SafeComponent("con.txt", kPortable), "%63on.txt");
  EXPECT_EQ(SafeComponent("CONOUT$", kPortable), "%43ONOUT$");
  EXPECT_EQ(SafeComponent("console", kPortable), "console");
  EXPECT_EQ(SafeComponent("end.", kPortable), "end%2E");
  EXPECT_EQ(SafeComponent("end ", kPortable), "end%20");
  EXPECT_EQ(SafeComponent("new\nline", kPortable), "new%0Aline");
  EXPECT_EQ(SafeComponent("100%", kPortable), "100%");
  EXPECT_EQ(SafeComponent("100%?", kPortable), "100%25%3F");
  EXPECT_EQ(SafeComponent("caf\xe9", kPortable), "caf%E9");
}

TEST(SafeComponent, ShortensWhatIsTooLongWithoutMakingOneOfTwo) {
  const std::string one = SafeComponent(std::string(254, '\n') + "1", kPortable);
  const std::string two = SafeComponent(std::string(254, '\n') + "2", kPortable);
  EXPECT_LE(one.size(), kMaxComponentSize);
  EXPECT_NE(one, two);
  EXPECT_THAT(SafeComponent(std::string(255, 'x'), kLinux), SizeIs(255));
  const NameRules short_names = {.max_component_size = 143};
  EXPECT_THAT(SafeComponent(std::string(143, 'x'), short_names), std::string(143, 'x'));
  EXPECT_THAT(SafeComponent(std::string(144, 'x'), short_names), SizeIs(143));
}

TEST(SafeBaseName, IsTheEndOfANameOfAnySystem) {
  EXPECT_EQ(SafeBaseName("/etc/hostname"), "hostname");
  EXPECT_EQ(SafeBaseName("C:\\Users\\x\\notes.txt"), "notes.txt");
  EXPECT_EQ(SafeBaseName("a/.."), "%2E%2E");
  EXPECT_EQ(SafeBaseName("a/"), "a%2F");
}

TEST(NumberedPath, NumbersTheLastComponentWithinItsLimit) {
  EXPECT_EQ(NumberedPath("a/b", 2, kLinux), "a/b~2");
  EXPECT_EQ(NumberedPath("b", 12, kLinux), "b~12");
  EXPECT_THAT(NumberedPath(std::string(255, 'x'), 2, kLinux), SizeIs(255));
}

TEST(FoldCase, MakesOneOfNamesThatDifferInCaseOnly) {
  EXPECT_EQ(FoldCase("Docs/README"), FoldCase("docs/readme"));
  EXPECT_EQ(FoldCase("\xc3\x89t\xc3\xa9"), FoldCase("\xc3\xa9T\xc3\x89"));
  EXPECT_NE(FoldCase("a"), FoldCase("b"));
  EXPECT_EQ(FoldCase("A\xff\xc3"), "a\xff\xc3");
}

}  // namespace
}  // namespace backup::ctl
