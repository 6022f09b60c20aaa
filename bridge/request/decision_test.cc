#include "bridge/request/decision.h"

#include <algorithm>
#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "base/hex.h"
#include "bridge/testing/raw_client.h"
#include "bridge/wire/dialects.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using namespace ::backup::bridge::testing;  // NOLINT: requests and codes of the test client.
using ::testing::HasSubstr;

const ClientId kId = *ClientId::FromBytes("0123456789abcdef");

template <typename Outcome>
bool Is(const Decision& decision) {
  return std::holds_alternative<Outcome>(decision);
}

v1::LegacyProfile Profile(const std::string& family) {
  v1::LegacyProfile profile;
  profile.set_family(family);
  return profile;
}

// What recorded clients have sent.
std::vector<std::string> RecordedRequests(const std::string& path) {
  std::ifstream in(path);
  std::vector<std::string> requests;
  for (std::string line; std::getline(in, line);) {
    absl::string_view rest = line;
    if (absl::ConsumePrefix(&rest, "C> ")) requests.push_back(*HexToBytes(rest));
  }
  return requests;
}

// Whatever was known: each prefix needs more, until one has the head, and then all have the same.
void ExpectOneDecision(const std::string& request, const KnownOfSender& known) {
  const Decision whole = Decide(request, known);
  ASSERT_TRUE(Is<Ready>(whole));
  const size_t head_size = std::get<Ready>(whole).head.head_size;
  constexpr size_t kFarBehindHead = 64;
  for (size_t size = 0; size <= std::min(request.size(), head_size + kFarBehindHead); ++size) {
    SCOPED_TRACE(size);
    const Decision decision = Decide(absl::string_view(request).substr(0, size), known);
    if (size < head_size) {
      EXPECT_TRUE(Is<NeedMore>(decision));
    } else if (Is<Ready>(decision)) {
      EXPECT_EQ(std::get<Ready>(decision).head.head_size, head_size);
    } else {  // Another dialect with these codes has a longer head.
      EXPECT_TRUE(Is<NeedMore>(decision));
      EXPECT_LT(size, head_size + 2 * ClientId::kSize);
    }
  }
}

TEST(Decide, NeedsMoreForEveryPrefixOfARecordedHeadAndIsReadyThen) {
  for (const std::string name : {"a1", "b1", "c1", "d1", "e1"}) {
    const std::string family =
        name[0] == 'a' || name[0] == 'b' ? "A/B" : absl::AsciiStrToUpper(name.substr(0, 1));
    const v1::LegacyProfile profile = Profile(family);
    const std::vector<std::string> requests =
        RecordedRequests(WIRE_TRANSCRIPTS "/" + name + ".txt");
    EXPECT_FALSE(requests.empty());
    for (const std::string& request : requests) {
      if (!Is<Ready>(Decide(request, {.profile = &profile}))) continue;  // A later part of a body.
      SCOPED_TRACE(name + " " + absl::BytesToHexString(request.substr(0, 23)));
      ExpectOneDecision(request, {.profile = &profile});
      ExpectOneDecision(request, {.dialect = wire::FindDialectByName(family)});
    }
  }
}

TEST(Decide, AsksForTheRecordWhereDialectsShareCodes) {
  const Decision decision = Decide(ReconnectRequest(kId, "laptop"), {});
  ASSERT_TRUE(Is<NeedProfile>(decision));
  EXPECT_EQ(std::get<NeedProfile>(decision).header.client_id, kId);
  EXPECT_FALSE(std::get<NeedProfile>(decision).is_malformed);
}

TEST(Decide, ChoosesByTheRecordElseByWhatIsSet) {
  const std::string request = ReconnectRequest(kId, "laptop");
  const auto family = [&](const v1::LegacyProfile& profile, absl::string_view otherwise) {
    return std::get<Ready>(
               Decide(request, {.profile = &profile, .family_of_shared_codes = otherwise}))
        .dialect->name();
  };
  EXPECT_EQ(family(Profile("D"), "C"), "D");
  EXPECT_EQ(family(Profile(""), "C"), "C");
  EXPECT_EQ(family(Profile(""), "D"), "D");
}

TEST(Decide, NeedsNoRecordForARegistrationOrOnceTheDialectIsKnown) {
  EXPECT_TRUE(Is<Ready>(Decide(RegisterRequest("laptop"), {})));
  EXPECT_TRUE(Is<Ready>(
      Decide(ReconnectRequest(kId, "laptop"), {.dialect = wire::FindDialectByName("D")})));
}

TEST(Decide, DescribesARequest) {
  const Decision decision = Decide(RegisterRequest("laptop"), {});
  EXPECT_THAT(std::get<Ready>(decision).description,
              HasSubstr("register dialect=C version=3 code=1025 name=laptop head="));
}

TEST(Decide, RefusesAMalformedHeadInItsDialectForItsSendersRecord) {
  const v1::LegacyProfile profile = Profile("D");
  const std::string request = AnyRequest(kId, 1029, "far too short");
  const Decision unknown = Decide(request, {});
  ASSERT_TRUE(Is<NeedProfile>(unknown));
  EXPECT_TRUE(std::get<NeedProfile>(unknown).is_malformed);
  const Decision decision = Decide(request, {.profile = &profile});
  ASSERT_TRUE(Is<Refusal>(decision));
  const auto& refusal = std::get<Refusal>(decision);
  EXPECT_EQ(refusal.kind, Refusal::Kind::kMalformedHead);
  EXPECT_EQ(refusal.answer_in->name(), "D");
  EXPECT_THAT(refusal.rule, HasSubstr("255 bytes"));
  EXPECT_EQ(refusal.culprit, kId);
}

TEST(Decide, NotesNoRuleForTheSenderOfARegistrationWhichHasNoId) {
  const Decision decision = Decide(AnyRequest(kId, 1025, "far too short"), {});
  ASSERT_TRUE(Is<Refusal>(decision));
  EXPECT_EQ(std::get<Refusal>(decision).culprit, std::nullopt);
}

TEST(Decide, RefusesAnotherFamilyThanBefore) {
  const wire::Dialect* const before = wire::FindDialectByName("C");
  const Decision decision =
      Decide(AnyRequest(kId, 827, std::string(255, 'n')), {.dialect = before});
  ASSERT_TRUE(Is<Refusal>(decision));
  const auto& refusal = std::get<Refusal>(decision);
  EXPECT_EQ(refusal.answer_in, before);
  EXPECT_EQ(refusal.rule, "request 827 is not of family C like those before it");
  EXPECT_EQ(refusal.culprit, kId);
}

TEST(Decide, RefusesAnUnknownCode) {
  const Decision decision = Decide(AnyRequest(kId, 4711, "x"), {});
  ASSERT_TRUE(Is<Refusal>(decision));
  EXPECT_EQ(std::get<Refusal>(decision).kind, Refusal::Kind::kUnknownCode);
  EXPECT_EQ(std::get<Refusal>(decision).header.code, 4711);
}

TEST(Decide, KnowsOtherProtocols) {
  const Decision decision = Decide("GET / HTTP/1.1\r\nHost: backup\r\n\r\n", {});
  ASSERT_TRUE(Is<Refusal>(decision));
  EXPECT_EQ(std::get<Refusal>(decision).kind, Refusal::Kind::kForeignProtocol);
  EXPECT_EQ(std::get<Refusal>(decision).rule, "HTTP/1");
}

TEST(DecideIncomplete, AnswersInWhatTheBytesShow) {
  EXPECT_EQ(DecideIncomplete("GET /").kind, Refusal::Kind::kForeignProtocol);
  EXPECT_EQ(DecideIncomplete("").kind, Refusal::Kind::kIncompleteHead);
  EXPECT_EQ(DecideIncomplete("").answer_in, &wire::DefaultDialect());
  EXPECT_EQ(DecideIncomplete(AnyRequest(kId, 827, "x")).answer_in->name(), "E");
}

}  // namespace
}  // namespace backup::bridge
