#include "bridge/upload/text_body.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "base/status_macros.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "bridge/testing/connection_fixture.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using ::backup::testing::IsOkAndHolds;
using ::backup::testing::PseudoRandomBytes;
using ::backup::testing::RandomCutSource;
using ::backup::testing::StatusIs;
using ::testing::HasSubstr;
using wire::TextEncoding;

// Decodes `text` in pieces of at most `max_piece` characters.
absl::StatusOr<std::string> Decode(TextEncoding encoding, const std::string& text,
                                   size_t max_piece = 5, uint32_t seed = 1,
                                   bool has_lines = false) {
  TextDecoder decoder(encoding, has_lines);
  RandomCutSource pieces(text, max_piece, seed);
  std::string out;
  while (true) {
    ASSIGN_OR_RETURN(const absl::string_view piece, pieces.Read());
    if (piece.empty()) break;
    RETURN_IF_ERROR(decoder.Append(piece, out));
  }
  RETURN_IF_ERROR(decoder.Finish());
  return out;
}

TEST(TextDecoder, DecodesWhateverTheCuts) {
  for (size_t size = 0; size < 70; ++size) {
    const std::string bytes = PseudoRandomBytes(size);
    for (uint32_t seed = 1; seed <= 5; ++seed) {
      const std::string hex = absl::BytesToHexString(bytes);
      EXPECT_THAT(Decode(TextEncoding::kHex, hex, 7, seed), IsOkAndHolds(bytes));
      EXPECT_THAT(Decode(TextEncoding::kHex, absl::AsciiStrToUpper(hex), 7, seed),
                  IsOkAndHolds(bytes));
      EXPECT_THAT(Decode(TextEncoding::kBase64, absl::Base64Escape(bytes), 7, seed),
                  IsOkAndHolds(bytes));
    }
  }
}

TEST(TextDecoder, LeavesLineBreaksOutWhereThereAreSome) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    EXPECT_THAT(Decode(TextEncoding::kBase64, "QUJD\nQUJD\r\nQUI=\n", 7, seed, true),
                IsOkAndHolds("ABCABCAB"));
  }
}

TEST(TextDecoder, NamesWhatIsWrongAndWhere) {
  struct Case {
    TextEncoding encoding;
    std::string text;
    std::string rule;
  };
  const std::vector<Case> cases = {
      {TextEncoding::kHex, "00112g", "no hexadecimal: character 103 at offset 5"},
      {TextEncoding::kHex, "00 1", "character 32 at offset 2"},
      {TextEncoding::kHex, "001", "ends at offset 3"},
      {TextEncoding::kHex, "001=", "character 61 at offset 3"},
      {TextEncoding::kBase64, "QUJD\nQUJD", "no Base64: character 10 at offset 4"},
      {TextEncoding::kBase64, std::string("QUJD\0UJD", 8), "character 0 at offset 4"},
      {TextEncoding::kBase64, "QUJD\xFFUJD", "character 255 at offset 4"},
      {TextEncoding::kBase64, "QUJ-", "character 45 at offset 3"},
      {TextEncoding::kBase64, "QUJDQU", "ends at offset 6"},
      {TextEncoding::kBase64, "QU=", "ends at offset 3"},
      {TextEncoding::kBase64, "Q===", "character 61 at offset 1"},
      {TextEncoding::kBase64, "====", "character 61 at offset 0"},
      {TextEncoding::kBase64, "QU=D", "character 68 at offset 3"},
      {TextEncoding::kBase64, "QUI=QUI=", "character 81 at offset 4"},
      {TextEncoding::kBase64, "QQ===", "character 61 at offset 4"},
      {TextEncoding::kBase64, "QUI.", "character 46 at offset 3"}};
  for (const Case& wrong : cases) {
    for (uint32_t seed = 1; seed <= 3; ++seed) {
      const auto decoded = Decode(wrong.encoding, wrong.text, 3, seed);
      EXPECT_THAT(decoded, StatusIs(absl::StatusCode::kInvalidArgument)) << wrong.text;
      EXPECT_THAT(std::string(decoded.status().message()), HasSubstr(wrong.rule)) << wrong.text;
    }
  }
}

TEST(TextDecoder, SurvivesAnything) {
  std::mt19937 random(1);
  const std::string characters = "ABab01+/==\n";
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    while (random() % 9 != 0) text += characters[random() % characters.size()];
    const auto decoded = Decode(TextEncoding::kBase64, text, 4, random());
    if (decoded.ok()) {
      EXPECT_EQ(decoded->size(), text.size() / 4 * 3 - std::count(text.begin(), text.end(), '='));
    }
  }
}

class TextBodyTest : public ConnectionFixture {
 protected:
  absl::StatusOr<std::string> Read(const std::string& sent, uint64_t size) {
    Connect();
    PeerSends(sent);
    ::shutdown(peer_.get(), SHUT_WR);
    TextBody body(std::make_unique<BodySource>(*connection_, size, BodyLimits(), budget_),
                  TextEncoding::kBase64);
    auto content = ReadAll(body, 1 << 20);
    EXPECT_EQ(body.status().ok(), content.ok());
    EXPECT_TRUE(!content.ok() || (body.left() == 0 && body.received_bytes() == size));
    return content;
  }

  BodyBudget budget_;
};

TEST_F(TextBodyTest, IsWhatTheTextMeans) {
  const std::string bytes = PseudoRandomBytes(4096);
  const std::string text = absl::Base64Escape(bytes);
  EXPECT_THAT(Read(text + "next", text.size()), IsOkAndHolds(bytes));
}

TEST_F(TextBodyTest, FailsWhenTheTextDoesOrStopsEarly) {
  EXPECT_THAT(Read("QUJDQUI", 7), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Read("QUJD!UJD", 8), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Read("QUJD", 8), StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace backup::bridge
