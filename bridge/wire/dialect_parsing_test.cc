// Files that contradict themselves, or each other, are refused with line and reason.

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/testing/status_matchers.h"
#include "bridge/wire/dialects.h"
#include "bridge/wire/testing/unusual_dialects.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::wire {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::StatusIs;

std::string SourceOf(absl::string_view name) {
  for (const Dialect& dialect : BuiltInDialects()) {
    if (dialect.name() == name) return std::string(dialect.source());
  }
  return "";
}

// Dialect E with one thing changed.
std::string Changed(absl::string_view from, absl::string_view to) {
  const std::string source = SourceOf("E");
  std::string text = absl::StrReplaceAll(source, {{from, to}});
  EXPECT_NE(text, source) << from;
  return text;
}

std::string ErrorOf(absl::string_view text) {
  const absl::StatusOr<Dialect> dialect = ParseDialect(text, "e.textproto");
  EXPECT_THAT(dialect, StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  return std::string(dialect.status().message());
}

TEST(ParseDialect, TakesTheBuiltInOnesAsTheyArePrinted) {
  for (const Dialect& dialect : BuiltInDialects()) {
    const absl::StatusOr<Dialect> again = ParseDialect(dialect.source(), "again.textproto");
    ASSERT_OK(again);
    EXPECT_EQ(again->name(), dialect.name());
  }
}

TEST(ParseDialect, TellsWhereASyntaxIsWrong) {
  EXPECT_THAT(ErrorOf("name: \"x\"\nnonsense: 1\n"), HasSubstr("e.textproto:2: "));
  EXPECT_THAT(ErrorOf("name: \"x\"\n\nrequests { kind: FIEL }"), HasSubstr("e.textproto:3: "));
  EXPECT_THAT(ErrorOf("name: \"x"), HasSubstr("e.textproto:1: "));
  EXPECT_THAT(ErrorOf(std::string(1 << 20, '#')), HasSubstr("more than 262144 bytes"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("a name must be"));
}

TEST(ParseDialect, TellsTheLineOfAContradiction) {
  const std::string text = Changed("codes: 827", "codes: 826");
  const size_t at = text.rfind("codes: 826");
  const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<long>(at), '\n');
  EXPECT_THAT(ErrorOf(text), HasSubstr(absl::StrCat("e.textproto:", line, ": code 826 means two")));
}

struct Contradiction {
  const char* from;
  const char* to;
  const char* reason;
};

class Contradictions : public ::testing::TestWithParam<Contradiction> {};

TEST_P(Contradictions, AreRefusedWithLineAndReason) {
  const std::string error = ErrorOf(Changed(GetParam().from, GetParam().to));
  EXPECT_THAT(error, HasSubstr(GetParam().reason));
  EXPECT_THAT(error, HasSubstr("e.textproto:"));
}

INSTANTIATE_TEST_SUITE_P(
    Each, Contradictions,
    ::testing::Values(
        Contradiction{"name: \"E\"", "name: \"E \"", "a name must be"},
        Contradiction{"request_header { kind: CODE width: 2 }", "",
                      "the request header has no CODE"},
        Contradiction{"answer_header { kind: CODE width: 2 }", "", "the answer header has no CODE"},
        Contradiction{
            "request_header { kind: CODE width: 2 }",
            "request_header { kind: CODE width: 2 } request_header { kind: CODE width: 2 }",
            "has CODE twice"},
        Contradiction{"request_header { kind: CODE width: 2 }",
                      "request_header { kind: CODE width: 3 }", "1, 2, 4 or 8 bytes"},
        Contradiction{"request_header { kind: CODE width: 2 }",
                      "request_header { kind: CODE width: 1 }", "does not fit into 1 bytes"},
        Contradiction{"request_header { kind: CODE width: 2 }",
                      "request_header { kind: CHECKSUM width: 4 }", "CHECKSUM cannot be in"},
        Contradiction{"request_header { kind: CODE width: 2 }", "request_header { kind: CODE }",
                      "has no width"},
        Contradiction{"kind: CLIENT_ID width: 16 }", "kind: CLIENT_ID width: 15 }", "not 16"},
        Contradiction{"kind: CLIENT_NAME width: 255 }", "kind: CLIENT_NAME }", "has no limit"},
        Contradiction{"kind: CLIENT_NAME width: 255 }", "kind: CLIENT_NAME max_width: 3000 }",
                      "has no limit"},
        Contradiction{"kind: CLIENT_NAME width: 255 }",
                      "kind: CLIENT_NAME width: 255 max_width: 3 }", "a width and a max_width"},
        Contradiction{"kind: FILE_NAME width: 255 }", "kind: FILE_NAME width: 2100 }",
                      "is wider than"},
        Contradiction{"kind: FILE_NAME width: 255 }", "kind: FILE_NAME width: 255 fill: 256 }",
                      "a fill byte"},
        Contradiction{"kind: FILE_NAME width: 255 }", "kind: FILE_NAME width: 255 text: HEX }",
                      "only ids and keys"},
        Contradiction{"kind: PUBLIC_KEY width: 160",
                      "kind: PUBLIC_KEY width: 160 may_be_shorter: true", "only the first field"},
        Contradiction{"kind: PUBLIC_KEY width: 160", "kind: PUBLIC_KEY max_width: 160",
                      "may vary or the last"},
        Contradiction{"kind: PACKET_NUMBER width: 2 ", "kind: FILL width: 2 ", "no PACKET_NUMBER"},
        Contradiction{"kind: SESSION_KEY width: 128", "kind: SESSION_KEY width: 127",
                      "less than 128"},
        Contradiction{"kind: CHECKSUM width: 4", "kind: CHECKSUM width: 2", "less than 4"},
        Contradiction{"codes: 828", "codes: 828 codes: 70000", "does not fit into 2 bytes"},
        Contradiction{"codes: 828\n", "\n", "FILE has no code"},
        Contradiction{"kind: VALID", "kind: RETRY", "two requests are RETRY"},
        Contradiction{"kind: REGISTER\n", "\n", "a request without a kind"},
        Contradiction{"kind: FILE_NAME width: 255 }", "kind: 99 width: 255 }",
                      "kind: 99 means nothing"},
        Contradiction{"kind: VALID", "kind: 77", "kind: 77 means nothing"},
        Contradiction{"kind: REGISTRATION_FAILED", "kind: REGISTERED", "is never sent"},
        Contradiction{"answers { kind: REGISTRATION_FAILED code: 1601 }", "",
                      "no answer is REGISTRATION_FAILED"},
        Contradiction{"codes: 825\n", "codes: 825 uncounted_bytes: 256\n", "less bytes than"},
        Contradiction{"codes: 826\n", "codes: 826 payload_size_lies: true\n",
                      "decides which fields"},
        Contradiction{"codes: 828\n", "codes: 828 payload_size_lies: true\n", "is not BY_CONTENT"},
        Contradiction{"codes: 825\n", "codes: 825 payload_size_lies: true uncounted_bytes: 1\n",
                      "and uncounted_bytes"},
        Contradiction{"length: BY_EITHER", "length: BY_CONTENT_SIZE", "cannot tell"},
        Contradiction{"length: BY_EITHER", "", "nothing tells how long"},
        Contradiction{"content_size_counts: CIPHERTEXT_OR_PLAINTEXT", "", "is not said"},
        Contradiction{"content_size_counts: CIPHERTEXT_OR_PLAINTEXT",
                      "content_size_counts: NOTHING", "needs BY_PAYLOAD_SIZE"},
        Contradiction{"packets { ", "blocks { size: 1024 } packets { ", "not in both"},
        Contradiction{"packets { ", "text: HEX packets { ", "cannot be text"},
        Contradiction{"packets { ", "packets { last_is_shorter: true ",
                      "needs header_on_first_only"},
        Contradiction{"packets { ", "content_size_factor: 2 packets { ", "of packets or blocks"},
        Contradiction{"cryptography { session_key_bits: 256 }",
                      "cryptography { session_key_bits: 256 padding: PKCS7_AND_SURPLUS }",
                      "of packets or blocks"},
        Contradiction{"packets { ", "text_line_width: 72 packets { ", "is no BASE64"},
        Contradiction{"packets { ", "text: BASE64 text_line_width: 70 packets { ",
                      "a multiple of 4"},
        Contradiction{"packets { ", "encrypted_piece_size: 32 packets { ",
                      "no encrypted_piece_size"},
        Contradiction{"surplus_is_ignored: true",
                      "surplus_is_ignored: true header_on_first_only: true",
                      "cannot be told from the next"},
        Contradiction{"cryptography { session_key_bits: 256 }", "", "128 or 256 bits"},
        Contradiction{"cryptography { session_key_bits: 256 }",
                      "cryptography { session_key_bits: 256 } padding { multiple_of: 1024 }",
                      "neither requests nor answers"},
        Contradiction{"cryptography { session_key_bits: 256 }",
                      "cryptography { session_key_bits: 256 } padding { requests: ALWAYS }",
                      "a multiple of 2 to"},
        Contradiction{
            "cryptography { session_key_bits: 256 }",
            "cryptography { session_key_bits: 256 } padding { multiple_of: 16 answers: BY_CLIENT }",
            "only if requests are"},
        Contradiction{"cryptography { session_key_bits: 256 }",
                      "cryptography { session_key_bits: 256 } conversation { end_versions: 3 }",
                      "connections stay open"},
        Contradiction{"cryptography { session_key_bits: 256 }",
                      "cryptography { session_key_bits: 256 } checksums { versions: 3 }",
                      "a rule without a checksum"},
        Contradiction{"cryptography { session_key_bits: 256 }",
                      "cryptography { session_key_bits: 256 } recognition { ports: 70000 "
                      "same_requests_as: \"C\" }",
                      "a port is 1 to 65535"},
        Contradiction{
            "cryptography { session_key_bits: 256 }",
            "cryptography { session_key_bits: 256 } recognition { versions: 1 not_versions: 2 }",
            "one of them is enough"}));

TEST(ParseDialect, RefusesListsWithoutEnd) {
  std::string versions;
  for (int i = 0; i < 65; ++i) absl::StrAppend(&versions, " versions: ", i);
  EXPECT_THAT(
      ErrorOf(Changed("name: \"E\"", absl::StrCat("name: \"E\" recognition {", versions, " }"))),
      HasSubstr("more than 64 versions"));
  std::string codes;
  for (int i = 2000; i < 2065; ++i) absl::StrAppend(&codes, " codes: ", i);
  EXPECT_THAT(ErrorOf(Changed("codes: 828", codes)), HasSubstr("more than 64 codes"));
}

std::string ConflictOf(absl::string_view text) {
  const absl::StatusOr<DialectSet> set =
      DialectSet::Make({*ParseDialect(text, "mine.textproto")}, {});
  EXPECT_THAT(set, StatusIs(absl::StatusCode::kInvalidArgument));
  return std::string(set.status().message());
}

TEST(DialectSet, TakesFurtherOnesThatAreTold) {
  ASSERT_OK(DialectSet::Make(UnusualDialects(), {}));
  ASSERT_OK(DialectSet::Make(
      {*ParseDialect(
          Changed("name: \"E\"", "name: \"mine\" recognition { same_requests_as: \"E\" }"),
          "mine.textproto")},
      {}));
}

TEST(DialectSet, RefusesASecondOneOfTheSameName) {
  EXPECT_THAT(ConflictOf(SourceOf("E")), HasSubstr("a dialect E is there already"));
}

TEST(DialectSet, RefusesRequestsThatLookTheSameButMeanSomethingElse) {
  const std::string error = ConflictOf(Changed("name: \"E\"", "name: \"mine\""));
  EXPECT_THAT(error, HasSubstr("mine.textproto:1: "));
  EXPECT_THAT(error, HasSubstr("same_requests_as"));
  EXPECT_THAT(error, HasSubstr("FILE in mine"));
}

TEST(DialectSet, RefusesADialectThatAnswersTheSameRequestsDifferently) {
  const std::string mine = absl::StrReplaceAll(SourceOf("a2"), {{"name: \"a2\"", "name: \"mine\""},
                                                                {"codes: 1102", "codes: 1999"},
                                                                {"code: 2100", "code: 2900"}});
  EXPECT_THAT(ConflictOf(mine), HasSubstr("REGISTER in"));
}

TEST(DialectSet, RefusesADialectThatBehavesDifferentlyOnTheSameRequests) {
  for (const char* conversation : {"zero_id: BY_NAME", "end_after_answer: ENDS"}) {
    const std::string mine = absl::StrReplaceAll(
        SourceOf("a2"),
        {{"name: \"a2\"", "name: \"mine\""},
         {"codes: 1102", "codes: 1999"},
         {"cryptography {", absl::StrCat("conversation { ", conversation, " } cryptography {")}});
    EXPECT_THAT(ConflictOf(mine), HasSubstr("looks the same")) << conversation;
  }
}

TEST(DialectSet, RefusesACodeThatMayStandInTheIdsOfOthers) {
  std::string mine = absl::StrReplaceAll(
      std::string(kBareDialect), {{"name: \"bare\"", "name: \"mine\""}, {"codes: ", "codes: 20"}});
  EXPECT_THAT(ConflictOf(mine), HasSubstr("may stand where"));
  // Ids that we give out have no byte below 16.
  mine = absl::StrReplaceAll(std::string(kBareDialect), {{"name: \"bare\"", "name: \"mine\""}});
  ASSERT_OK(DialectSet::Make({*ParseDialect(mine, "mine.textproto")}, {}));
}

TEST(DialectSet, RefusesToBeToldByADialectThatIsNotThere) {
  const std::string mine =
      Changed("name: \"E\"",
              "name: \"mine\" recognition { same_requests_as: \"E\" same_requests_as: \"F\" }");
  EXPECT_THAT(ConflictOf(mine), HasSubstr("names F, which is not there"));
}

}  // namespace
}  // namespace backup::wire
