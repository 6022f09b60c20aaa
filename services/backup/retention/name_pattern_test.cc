#include "services/backup/retention/name_pattern.h"

#include <string>

#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::retention {
namespace {

bool Matches(absl::string_view pattern, absl::string_view name) {
  const absl::StatusOr<NamePattern> parsed = NamePattern::Parse("pattern", pattern);
  EXPECT_OK(parsed) << pattern;
  return parsed.ok() && parsed->Matches(name);
}

TEST(NamePattern, MatchesWhatItSays) {
  const struct {
    absl::string_view pattern;
    absl::string_view name;
    bool matches;
  } cases[] = {
      {"/etc/hostname", "/etc/hostname", true},
      {"hostname", "/etc/hostname", false},
      {"/etc/*", "/etc/hostname", true},
      {"/etc/*", "/etc/", true},
      {"/etc/*", "/etc/ssh/config", false},
      {"/etc/**", "/etc/ssh/config", true},
      {"**/config", "/etc/ssh/config", true},
      {"**/config", "config", true},
      {"**/config", "xconfig", false},
      {"a/**/b", "a/b", true},
      {"a/**/b", "a/x/y/b", true},
      {"a/**/b", "a/xb", false},
      {"**/**/b", "b", true},
      {"**", "/any\nthing", true},
      {"**", "", true},
      {"*.txt", "a.txt", true},
      {"*.txt", "a.txt2", false},
      {"a*b*c", "aXbYbZc", true},
      {"a?c", "abc", true},
      {"a?c", "a/c", false},
      {"a?c",
       "a\xff"
       "c",
       true},
      {"a??c",
       "a\xc3\xa9"
       "c",
       true},  // By bytes.
      {"[a-c]x", "bx", true},
      {"[a-c]x", "dx", false},
      {"[!a-c]x", "dx", true},
      {"[!a-c]x", "/x", false},
      {"[^a-c]x", "bx", false},
      {"[\x80-\xff]", "\xe9", true},
      {"[]]", "]", true},
      {"[[]1]", "[1]", true},
      {"[a-]", "-", true},
      {"a[1].txt", "a1.txt", true},
      {"a[1].txt", "a[1].txt", true},  // As a name.
      {"C:\\Users\\*", "C:\\Users\\x.txt", true},
      {"a.b", "aXb", false},
      {"(a|b)+$", "(a|b)+$", true},
  };
  for (const auto& [pattern, name, matches] : cases)
    EXPECT_EQ(Matches(pattern, name), matches) << pattern << " and " << name;
}

TEST(NamePattern, RefusesWhatMakesNoSense) {
  for (const std::string& pattern :
       {std::string(), std::string("a[b"), std::string("["), std::string("[!]"),
        std::string("[z-a]"), std::string(NamePattern::kMaxSize + 1, 'a')}) {
    const absl::Status status = NamePattern::Parse("pattern", pattern).status();
    EXPECT_EQ(ReasonOf(status), Reason::kInvalidField) << pattern;
    EXPECT_EQ(SubjectOf(status), "pattern");
  }
}

TEST(NamePattern, TakesNoLongerForHostilePatterns) {
  std::string pattern;
  while (pattern.size() < NamePattern::kMaxSize - 5) pattern += "a**";
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(Matches(pattern + "b", std::string(255, 'a')));
}

TEST(NamePattern, KnowsHowItsNamesBegin) {
  EXPECT_EQ(NamePattern::Parse("pattern", "/var/log/*.gz")->literal_prefix_size(), 9u);
  EXPECT_EQ(NamePattern::Parse("pattern", "**")->literal_prefix_size(), 0u);
  EXPECT_EQ(NamePattern::Parse("pattern", "whole")->literal_prefix_size(), 5u);
}

}  // namespace
}  // namespace backup::retention
