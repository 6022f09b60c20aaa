#include "bridge/wire/explain.h"

#include <fstream>
#include <random>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/testing/status_matchers.h"
#include "bridge/capture/hex_text.h"
#include "bridge/wire/built_in_texts.h"
#include "bridge/wire/dialect.h"
#include "bridge/wire/dialects.h"
#include "bridge/wire/testing/byte_writer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::wire {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Recording {
  const char* name;
  const char* dialect;
};
constexpr Recording kRecordings[] = {{"a1", "A/B"}, {"a2", "a2"}, {"b1", "A/B"}, {"b2", "A/B"},
                                     {"b3", "b3"},  {"c1", "C"},  {"c2", "C"},   {"c3", "C"},
                                     {"d1", "D"},   {"e1", "E"},  {"e2", "E"},   {"e3", "e3"}};

std::vector<Conversation> Read(absl::string_view name) {
  std::ifstream file(absl::StrCat(WIRE_TRANSCRIPTS, "/", name, ".txt"));
  std::stringstream text;
  text << file.rdbuf();
  auto conversations = capture::ReadHexText(text.str());
  EXPECT_OK(conversations);
  EXPECT_FALSE(conversations->empty()) << name;
  return *std::move(conversations);
}

Explainer MakeExplainer(const std::vector<std::string>& without = {}) {
  std::vector<Explainer::Description> descriptions;
  for (const Dialect& dialect : BuiltInDialects()) {
    const std::string name(dialect.name());
    if (std::find(without.begin(), without.end(), name) == without.end())
      descriptions.push_back({name, std::string(dialect.source())});
  }
  auto explainer = Explainer::Make(descriptions);
  EXPECT_OK(explainer);
  return *std::move(explainer);
}

std::string TextOf(const std::vector<Conversation>& conversations,
                   const std::vector<std::string>& without = {}) {
  std::ostringstream out;
  Explainer explainer = MakeExplainer(without);
  for (const Conversation& conversation : conversations) explainer.Explain(conversation, out);
  explainer.Summarize(out);
  return out.str();
}

TEST(ExplainTest, EveryRecordingFitsItsDialectAndNoOther) {
  for (const Recording& recording : kRecordings) {
    const std::vector<Conversation> conversations = Read(recording.name);
    const std::string text = TextOf(conversations);
    EXPECT_THAT(text,
                HasSubstr(absl::StrCat("\n", conversations.size(), " connections; ",
                                       recording.dialect, " fits ", conversations.size(), "\n")))
        << recording.name << text;
    EXPECT_THAT(text, Not(HasSubstr("no dialect"))) << recording.name;
  }
}

TEST(ExplainTest, TellsWhatTheBlocksOfAFileAre) {
  EXPECT_THAT(TextOf(Read("b2")),
              HasSubstr("    736 bytes of content at 282\n"
                        "    filled up to 1024 bytes\n"
                        "    the first block of a file of 3056 bytes of ciphertext; 3 without a "
                        "header follow at 1024: 2320 bytes, the last filled up, 3072 in all\n"));
}

TEST(ExplainTest, TellsHowFarPacketsHaveCome) {
  const std::string text = TextOf(Read("e3"));
  EXPECT_THAT(text,
              HasSubstr("packet 1 of 3, one stream: 1024 of 3024 bytes of ciphertext so far"));
  EXPECT_THAT(text,
              HasSubstr("packet 3 of 3, one stream: 3024 of 3024 bytes of ciphertext so far"));
  EXPECT_THAT(TextOf(Read("e2")), HasSubstr("(fields swapped), encrypted on its own"));
}

TEST(ExplainTest, TellsWhatTheBridgeWouldAnswer) {
  const std::string text = TextOf(Read("b2"));
  EXPECT_THAT(text, HasSubstr("3000  (the bridge repeats the request's 3056)"));
  EXPECT_THAT(text, HasSubstr("0  (the bridge answers 16)"));
  EXPECT_THAT(TextOf(Read("c3")), HasSubstr("2  (the bridge says 3)"));
  // Of a file in packets what the first one says.
  EXPECT_THAT(TextOf(Read("d1")), HasSubstr("10001  (the bridge repeats the request's 4016)"));
}

TEST(ExplainTest, TellsWhereTheNearestDialectStops) {
  EXPECT_THAT(TextOf(Read("b3"), {"b3"}),
              HasSubstr("not of A/B: CODE 19456 at 17 is none of 1100 to 1106; 1100 stands at "
                        "18, LITTLE\n"));
  EXPECT_THAT(TextOf(Read("e3"), {"e3"}),
              HasSubstr("not of E: CODE 14595 at 17 is none of 825 to 828, 900 to 902; 825 stands "
                        "at 17, BIG\n"));
  const std::string a2 = TextOf(Read("a2"), {"a2"});
  EXPECT_THAT(a2, HasSubstr("    => PAYLOAD_SIZE 3283, expected 255\n"));
  // It goes on with what the client says after the answer.
  EXPECT_THAT(a2, HasSubstr("C> 6144: VALID, 1024 bytes, by A/B"));
  EXPECT_THAT(a2, HasSubstr("2 connections; 2 fit no dialect"));
}

// Each line that docs/dialects.md shows of the way from A/B to b3 is said on that way.
TEST(ExplainTest, TheExampleOfThePageIsTrue) {
  std::ifstream file(absl::StrCat(WIRE_TRANSCRIPTS, "/../../../docs/dialects.md"));
  std::stringstream page;
  page << file.rdbuf();
  std::string mine(BuiltInDialects()[0].source());
  ASSERT_EQ(BuiltInDialects()[0].name(), "A/B");
  const auto change = [&mine](absl::string_view from, absl::string_view to) {
    EXPECT_THAT(mine, HasSubstr(std::string(from)));
    mine = absl::StrReplaceAll(mine, {{from, to}});
  };
  const auto told = [&mine] {
    std::vector<Explainer::Description> all = {{"mine", mine}};
    for (const Dialect& dialect : BuiltInDialects().subspan(0, 4))
      all.push_back({std::string(dialect.name()), std::string(dialect.source())});
    std::ostringstream out;
    auto explainer = Explainer::Make(all);
    EXPECT_OK(explainer);
    for (const Conversation& conversation : Read("b3")) explainer->Explain(conversation, out);
    return out.str();
  };
  std::string said = TextOf(Read("b3"), {"b3", "a2", "e3"});
  change("header { kind: VERSION width: 1", "header { kind: VERSION width: 2");
  said += told();
  change("  fields { kind: CLIENT_ID width: 16 may_be_missing: true }\n", "");
  change(" may_be_shorter: true", "");
  constexpr absl::string_view kFill = "  uncounted_bytes: 1\n  fields { kind: FILL width: 1 }\n}\n";
  for (const absl::string_view last :
       {"kind: CLIENT_NAME width: 255 }\n", "kind: PUBLIC_KEY width: 160 }\n"}) {
    change(absl::StrCat("  fields { ", last, "}\n"), absl::StrCat("  fields { ", last, kFill));
  }
  for (const int code : {1104, 1105, 1106}) {
    const std::string verdict =
        absl::StrCat("  codes: ", code, "\n  fields { kind: FILE_NAME width: 255 }\n");
    change(absl::StrCat(verdict, "}\n"), absl::StrCat(verdict, kFill));
  }
  change("requests: BY_CLIENT answers: BY_CLIENT", "answers: ALWAYS");
  said += told();
  change(
      "  fields { kind: FILE_NAME width: 255 }\n  content {\n    length: BY_EITHER\n"
      "    content_size_counts: CIPHERTEXT_OR_PLAINTEXT\n"
      "    blocks { size: 1024 last_is_filled: true }\n",
      "  fields { kind: FILE_NAME width: 255 }\n  fields { kind: FILL width: 1 }\n  content {\n"
      "    length: BY_PAYLOAD_SIZE\n    content_size_counts: CIPHERTEXT\n");
  change("  fields { kind: CHECKSUM width: 4 }\n",
         "  fields { kind: FILL width: 1 }\n  fields { kind: CHECKSUM width: 4 }\n"
         "  uncounted_bytes: 1\n");
  said += told();
  bool is_output = false;
  size_t lines = 0;
  for (std::string line; std::getline(page, line);) {
    if (absl::StartsWith(line, "```")) {
      is_output = line == "```text";
    } else if (is_output) {
      EXPECT_THAT(said, HasSubstr(line + "\n"));
      ++lines;
    }
  }
  EXPECT_GT(lines, 20u);
}

TEST(ExplainTest, WrongAnswersAreNoFit) {
  std::vector<Conversation> d = Read("d1");
  d.resize(1);
  const std::string text = TextOf(d);
  EXPECT_THAT(text, HasSubstr("S> 0: does not fit C\n"));
  EXPECT_THAT(text, HasSubstr("=> CODE 1600 at 1 is none of 2100 to 2107\n"));
}

TEST(ExplainTest, AMessageThatIsAnsweredBeforeItsEndIsNoFit) {
  Conversation conversation;
  conversation.Add(Side::kClient, Read("c2")[0].client.bytes.substr(0, 277));
  EXPECT_THAT(TextOf({conversation}),
              HasSubstr("=> the capture ends 1 bytes before the end of CLIENT_NAME\n"));
  conversation.Add(Side::kServer, Read("c2")[0].server.bytes.substr(0, 23));
  const std::string text = TextOf({conversation});
  EXPECT_THAT(
      text, HasSubstr("=> the client waits for an answer 1 bytes before the end of CLIENT_NAME\n"));
  EXPECT_THAT(text, HasSubstr("1 fit no dialect"));
}

TEST(ExplainTest, ManyPacketsTakeFewLines) {
  Conversation conversation;
  constexpr uint16_t kPackets = 1000;
  for (uint16_t number = 1; number <= kPackets; ++number) {
    conversation.Add(Side::kClient, ByteWriter()
                                        .Bytes(std::string(16, 'i'))
                                        .U8(3)
                                        .U16(828)
                                        .U32(267 + 16)
                                        .U32(16)
                                        .U32(15)
                                        .U16(number)
                                        .U16(kPackets)
                                        .Bytes(std::string(255, 'n'))
                                        .Bytes(std::string(16, 'c'))
                                        .Take());
  }
  const std::string text = TextOf({conversation});
  EXPECT_THAT(text, HasSubstr("packet 1000 of 1000"));
  EXPECT_THAT(text, HasSubstr("those from 3 to 999 fit and are not shown"));
  EXPECT_LT(text.size(), 20'000u);
}

TEST(ExplainTest, ACutConversationFitsAsFarAsItGoes) {
  for (const Recording& recording : kRecordings) {
    const std::vector<Conversation> whole = Read(recording.name);
    for (size_t size = 1; size < whole[0].client.bytes.size(); size += 211) {
      Conversation cut;
      cut.Add(Side::kClient, whole[0].client.bytes.substr(0, size));
      EXPECT_THAT(TextOf({cut}), Not(HasSubstr("fits no dialect"))) << recording.name << size;
    }
  }
}

TEST(ExplainTest, TellsWhatIsMissingOfContent) {
  Conversation conversation = Read("c2")[0];
  const std::string text = TextOf({conversation});
  const size_t content = text.find(" bytes of content at ");
  ASSERT_NE(content, std::string::npos);
  const size_t at = std::stoul(text.substr(content + 21));
  conversation.client.gaps = {{at + 10, 7}};
  EXPECT_THAT(TextOf({conversation}), HasSubstr(", of which 7 were not captured"));
  // It goes on behind it.
  conversation.client.gaps = {{5, 7}};
  EXPECT_THAT(TextOf({conversation}), HasSubstr("C> 278: PUBLIC_KEY, 438 bytes, by C"));
  EXPECT_THAT(TextOf({conversation}), HasSubstr("7 bytes of CLIENT_ID at 0 were not captured"));
}

TEST(ExplainTest, ShowsNeitherKeysNorContent) {
  for (const Recording& recording : kRecordings) {
    for (const bool is_known : {true, false}) {
      const auto without =
          is_known ? std::vector<std::string>() : std::vector<std::string>{recording.dialect};
      const std::string text = TextOf(Read(recording.name), without);
      size_t run = 0;
      for (const char c : text) {
        run = absl::ascii_isxdigit(static_cast<unsigned char>(c)) ? run + 1 : 0;
        ASSERT_LE(run, 64u) << recording.name;
      }
    }
  }
}

// Whatever it is told, it says something and ends.
TEST(ExplainTest, AnyBytesAreExplained) {
  std::mt19937 random(16);  // NOLINT: the same each time.
  for (int i = 0; i < 300; ++i) {
    const Recording& recording = kRecordings[random() % std::size(kRecordings)];
    Conversation conversation = Read(recording.name)[0];
    for (SpokenBytes* spoken : {&conversation.client, &conversation.server}) {
      for (size_t changes = random() % 30; changes > 0; --changes) {
        spoken->bytes[random() % std::min<size_t>(spoken->bytes.size(), 2000)] =
            static_cast<char>(random());
      }
      const size_t at = random() % spoken->bytes.size();
      if (random() % 4 == 0) spoken->gaps = {{at, std::min<size_t>(9, spoken->bytes.size() - at)}};
    }
    EXPECT_THAT(TextOf({conversation}), HasSubstr("1 connections"));
  }
  EXPECT_THAT(TextOf({Conversation{}}), HasSubstr("1 connections"));
}

TEST(ExplainTest, WhatIsNoDescriptionIsRefused) {
  EXPECT_FALSE(Explainer::Make({{"x", "no such field: 1"}}).ok());
}

}  // namespace
}  // namespace backup::wire
