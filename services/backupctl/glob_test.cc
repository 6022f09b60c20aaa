#include "services/backupctl/glob.h"

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::ctl {
namespace {

using ::backup::testing::StatusIs;

bool Matches(absl::string_view pattern, absl::string_view name) {
  const absl::StatusOr<Glob> glob = Glob::Parse(pattern);
  EXPECT_OK(glob) << pattern;
  return glob.ok() && glob->Matches(name);
}

TEST(Glob, MatchesWhatItSays) {
  const struct {
    const char* pattern;
    const char* name;
    bool matches;
  } cases[] = {
      {"/etc/hostname", "/etc/hostname", true},
      {"hostname", "/etc/hostname", false},
      {"/etc/*", "/etc/hostname", true},
      {"/etc/*", "/etc/ssh/config", false},
      {"/etc/**", "/etc/ssh/config", true},
      {"**/config", "/etc/ssh/config", true},
      {"**/config", "config", true},
      {"**", "/any%0Athing", true},
      {"*.txt", "a.txt", true},
      {"*.txt", "a.txt2", false},
      {"a?c", "abc", true},
      {"a?c", "a/c", false},
      {"a?c",
       "a\xc3\xa9"
       "c",
       true},
      {"a?c", "a%25c", true},
      {"a%25c", "a%25c", true},
      {"caf%E9", "caf%E9", true},
      {"caf?", "caf%E9", true},
      {"caf%e9", "caf%E9", true},
      {"[a-c]x", "bx", true},
      {"[a-c]x", "dx", false},
      {"[!a-c]x", "dx", true},
      {"[^a-c]x", "bx", false},
      {"[!-a]x", "-x", false},
      {"[!-a]x", "Bx", true},  // A "-" in front is no range.
      {"[!--a]x", "Bx", false},
      {"[]]", "]", true},
      {"[[]1]", "[1]", true},
      {"a[1].txt", "a1.txt", true},
      {"a[1].txt", "a[1].txt", true},  // As a name.
      {"C:\\Users\\*", "C:\\Users\\x.txt", true},
      {"a.b", "aXb", false},
      {"(a|b)+$", "(a|b)+$", true},
  };
  for (const auto& [pattern, name, matches] : cases) {
    EXPECT_EQ(Matches(pattern, name), matches) << pattern << " and " << name;
  }
}

TEST(Glob, RefusesWhatMakesNoSense) {
  for (const char* pattern : {"", "100%", "a[b", "[", "[!]", "[z-a]", "a\n"}) {
    EXPECT_THAT(Glob::Parse(pattern), StatusIs(absl::StatusCode::kInvalidArgument)) << pattern;
  }
}

TEST(Glob, TakesNoLongerForHostilePatterns) {
  std::string pattern;
  for (int i = 0; i < 80; ++i) pattern += "a**";
  EXPECT_FALSE(Matches(pattern + "b", std::string(255, 'a')));
}

}  // namespace
}  // namespace backup::ctl
