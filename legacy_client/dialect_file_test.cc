#include "legacy_client/dialect_file.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "legacy_client/built_in_dialects.h"

namespace backup::legacy_client {
namespace {

using ::backup::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ResultOf;

std::string TextOfC() {
  for (const BuiltInText& built_in : kBuiltInTexts) {
    if (built_in.file_name == "c.textproto") return std::string(built_in.text);
  }
  return "";
}

std::string ErrorWith(absl::string_view from, absl::string_view to) {
  const std::string text = absl::StrReplaceAll(TextOfC(), {{from, to}});
  EXPECT_NE(text, TextOfC()) << from;
  const auto dialect = ParseDialect(text, "x.textproto");
  EXPECT_THAT(dialect, StatusIs(absl::StatusCode::kInvalidArgument)) << to;
  return std::string(dialect.status().message());
}

TEST(DialectFile, BuiltInOnesAreThere) {
  std::vector<std::string> names;
  for (const Dialect& dialect : BuiltInDialects()) names.push_back(dialect.name());
  EXPECT_THAT(names, ::testing::IsSupersetOf({"A/B", "C", "D", "E", "a2", "b3", "e3"}));
  EXPECT_OK(BuiltInDialect("C"));
  EXPECT_THAT(
      BuiltInDialect("F").status(),
      AllOf(StatusIs(absl::StatusCode::kNotFound),
            ResultOf([](const absl::Status& status) { return std::string(status.message()); },
                     HasSubstr("A/B, A, B, C, D, E"))));
}

TEST(DialectFile, FamiliesAreBuiltInDialects) {
  for (const absl::string_view family : {"A", "B", "C", "D", "E"}) EXPECT_OK(FamilyDialect(family));
  EXPECT_THAT(FamilyDialect("F"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(FindRequest(*FamilyDialect("A"), RequestKind::RECONNECT), nullptr);
  EXPECT_NE(FindRequest(*FamilyDialect("B"), RequestKind::RECONNECT), nullptr);
  // Their labels are those of the bridge.
  EXPECT_EQ(FindRequest(*BuiltInDialect("A"), RequestKind::RECONNECT), nullptr);
  EXPECT_NE(FindRequest(*BuiltInDialect("B"), RequestKind::RECONNECT), nullptr);
  EXPECT_THAT(FamilyDialect("A/B"), StatusIs(absl::StatusCode::kNotFound));
}

TEST(DialectFile, SyntaxErrorsHaveFileAndLine) {
  const auto dialect = ParseDialect("name: \"x\"\nbyte_order: MIDDLE\n", "x.textproto");
  EXPECT_THAT(dialect, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(dialect.status().message(), AllOf(HasSubstr("x.textproto:2: "), HasSubstr("MIDDLE")));
}

TEST(DialectFile, MistakesHaveFileAndLine) {
  // The line of the field, of which there is only one like it.
  EXPECT_THAT(
      ErrorWith("answer_header { kind: CODE width: 2 }", "answer_header { kind: CODE width: 3 }"),
      HasSubstr("x.textproto:9: an integer's width must be 1, 2, 4 or 8"));
  EXPECT_THAT(ErrorWith("session_key_bits: 128", "session_key_bits: 64"),
              HasSubstr("session_key_bits must be 128 or 256"));
}

TEST(DialectFile, WhatCannotBePlayedIsRefused) {
  const std::pair<absl::string_view, absl::string_view> changes[] = {
      {"request_header { kind: CODE width: 2 }", ""},
      {"answer_header { kind: PAYLOAD_SIZE width: 4 }", ""},
      {"kind: PUBLIC_KEY width: 160", "kind: CHECKSUM width: 4"},
      {"kind: CONTENT_SIZE width: 4 }\n  fields { kind: FILE_NAME width: 255",
       "kind: CONTENT_SIZE width: 4 }\n  fields { kind: FILE_NAME max_width: 255"},
      {"request_header { kind: CLIENT_ID width: 16 }",
       "request_header { kind: CLIENT_ID width: 15 }"},
      {"kind: CLIENT_NAME width: 255", "kind: CLIENT_NAME width: 2049"},
      {"kind: VALID\n", "kind: RETRY\n"},
      {"codes: 1028\n", ""},
      {"codes: 1028\n", "codes: 70000\n"},
      {"content { length: BY_EITHER content_size_counts: CIPHERTEXT_OR_PLAINTEXT }", ""},
      {"length: BY_EITHER ", ""},
      {"length: BY_EITHER ", "length: BY_EITHER encrypted_piece_size: 17 "},
      {"length: BY_EITHER ", "length: BY_EITHER packets {} "},
      {"length: BY_EITHER ", "length: BY_EITHER blocks { size: 32 } encrypted_piece_size: 32 "},
      {"length: BY_EITHER ", "length: BY_EITHER blocks { size: 8 } "},
      {"answers { kind: GENERAL_ERROR code: 2107 }", ""},
      {"kind: SESSION_KEY width: 128", "kind: FILL width: 128"},
      {"kind: CHECKSUM width: 4", "kind: FILL width: 4"},
      {"cryptography {", "padding { requests: ALWAYS }\ncryptography {"},
      {"cryptography {", "padding { multiple_of: 4097 }\ncryptography {"},
      {"cryptography { session_key_bits: 128 }", ""},
      {"width: 160", "width: 160 fill: 256"},
      {"request_header { kind: CODE",
       "request_header { kind: CLIENT_NAME width: 3 }\nrequest_header { kind: CODE"},
      {"answer_header { kind: CODE",
       "answer_header { kind: FILE_NAME width: 3 }\nanswer_header { kind: CODE"},
      {"fields { kind: PUBLIC_KEY",
       "fields { kind: VERSION width: 1 }\n  fields { kind: PUBLIC_KEY"},
      {"request_header { kind: CLIENT_ID width: 16 }",
       "request_header { kind: CLIENT_ID width: 24 text: PEM }"},
      {"kind: FILE_NAME width: 255", "kind: FILE_NAME width: 255 text: HEX"},
      {"kind: CONTENT_SIZE width: 4 }\n  fields { kind: FILE_NAME width: 255",
       "kind: CONTENT_SIZE width: 4 }\n  fields { kind: FILE_NAME width: 255 may_be_shorter: true"},
  };
  for (const auto& [from, to] : changes) {
    EXPECT_THAT(ErrorWith(from, to), HasSubstr("x.textproto:")) << from << " -> " << to;
  }
}

TEST(DialectFile, IsReadFromItsPath) {
  std::string pattern = absl::StrCat(::testing::TempDir(), "/dialect_file_test.XXXXXX");
  const std::string dir = mkdtemp(pattern.data());
  const std::string path = absl::StrCat(dir, "/c.textproto");
  EXPECT_THAT(ReadDialect(path), StatusIs(absl::StatusCode::kNotFound));
  std::ofstream(path) << TextOfC();
  const auto dialect = ReadDialect(path);
  ASSERT_OK(dialect);
  EXPECT_EQ(dialect->name(), "C");
  EXPECT_FALSE(ReadDialect(dir).ok());
  std::ofstream(path, std::ios::app) << "nonsense";
  EXPECT_THAT(ReadDialect(path).status().message(), HasSubstr(absl::StrCat(path, ":")));
  std::ofstream(path, std::ios::trunc) << std::string((1 << 20) + 1, ' ');
  EXPECT_THAT(ReadDialect(path), StatusIs(absl::StatusCode::kInvalidArgument));
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace backup::legacy_client
