#include "bridge/request/decision.h"

#include <algorithm>
#include <fstream>
#include <initializer_list>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "base/hex.h"
#include "bridge/testing/changed_dialect.h"
#include "bridge/testing/raw_client.h"
#include "bridge/testing/test_dialects.h"
#include "bridge/wire/testing/byte_writer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using namespace ::backup::bridge::testing;  // NOLINT: requests and codes of the test client.
using ::testing::HasSubstr;

const ClientId kId = *ClientId::FromBytes("0123456789abcdef");

const wire::DialectSet& BuiltInSet() {
  static const wire::DialectSet& dialects = *new wire::DialectSet(DialectsWith({}));
  return dialects;
}

wire::DialectMask MaskOf(std::initializer_list<absl::string_view> names,
                         const wire::DialectSet& dialects = BuiltInSet()) {
  wire::DialectMask mask = 0;
  for (const absl::string_view name : names) mask |= dialects.MaskOf(*dialects.FindByName(name));
  return mask;
}

// What is known of a sender before its first request ...
KnownOfSender Nothing(const wire::DialectSet& dialects = BuiltInSet()) {
  return {dialects, dialects.all()};
}
// ... once its record was looked up ...
KnownOfSender Recorded(const v1::LegacyProfile& profile,
                       const wire::DialectSet& dialects = BuiltInSet()) {
  return {dialects, dialects.all(), nullptr, &profile};
}
// ... and after its last request, which was decided so.
KnownOfSender After(const Ready& ready, const wire::DialectSet& dialects = BuiltInSet()) {
  return {dialects, ready.candidates, ready.dialect};
}
KnownOfSender AfterOneOf(absl::string_view name) {
  return {BuiltInSet(), MaskOf({name}), BuiltInSet().FindByName(name)};
}

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
  const std::pair<std::string, std::string> recordings[] = {
      {"a1", "A/B"}, {"a2", "a2"}, {"b1", "A/B"}, {"b2", "A/B"}, {"b3", "b3"},
      {"c1", "C"},   {"d1", "D"},  {"e1", "E"},   {"e3", "e3"}};
  for (const auto& [name, family] : recordings) {
    const v1::LegacyProfile profile = Profile(family);
    const std::vector<std::string> requests =
        RecordedRequests(WIRE_TRANSCRIPTS "/" + name + ".txt");
    EXPECT_FALSE(requests.empty());
    for (const std::string& request : requests) {
      if (!Is<Ready>(Decide(request, Recorded(profile)))) continue;  // A later part of a body.
      SCOPED_TRACE(name + " " + absl::BytesToHexString(request.substr(0, 23)));
      ExpectOneDecision(request, Recorded(profile));
      ExpectOneDecision(request, AfterOneOf(family));
    }
  }
}

TEST(Decide, AsksForTheRecordWhereDialectsShareCodes) {
  const Decision decision = Decide(ReconnectRequest(kId, "laptop"), Nothing());
  ASSERT_TRUE(Is<NeedProfile>(decision));
  EXPECT_EQ(std::get<NeedProfile>(decision).client_id, kId);
  EXPECT_TRUE(std::get<NeedProfile>(decision).has_come_whole);
  EXPECT_FALSE(std::get<NeedProfile>(decision).is_malformed);
}

TEST(Decide, ChoosesByTheRecordElseByWhatIsSet) {
  const std::string request = ReconnectRequest(kId, "laptop");
  const auto family = [&](const v1::LegacyProfile& profile, const wire::DialectSet& dialects) {
    return std::get<Ready>(Decide(request, Recorded(profile, dialects))).dialect->name();
  };
  EXPECT_EQ(family(Profile("D"), BuiltInSet()), "D");
  EXPECT_EQ(family(Profile(""), BuiltInSet()), "C");
  EXPECT_EQ(family(Profile(""), DialectsWith({}, {.preferred = "D"})), "D");
  EXPECT_EQ(family(Profile("C"), DialectsWith({}, {.preferred = "D"})), "C");
}

TEST(Decide, KnowsALabelOnTheRecord) {
  std::string request = AnyRequest(kId, 1104, std::string(kId.bytes()) + NameField("a"));
  request[ClientId::kSize] = 2;
  EXPECT_EQ(std::get<Ready>(Decide(request, Recorded(Profile("A")))).dialect->name(), "A/B");
  EXPECT_EQ(std::get<Ready>(Decide(request, Recorded(Profile("a2")))).dialect->name(), "a2");
}

TEST(Decide, NeedsNoRecordForARegistrationOrOnceTheDialectIsKnown) {
  EXPECT_TRUE(Is<Ready>(Decide(RegisterRequest("laptop"), Nothing())));
  EXPECT_TRUE(Is<Ready>(Decide(ReconnectRequest(kId, "laptop"), AfterOneOf("D"))));
}

TEST(Decide, DescribesARequest) {
  const Decision decision = Decide(RegisterRequest("laptop"), Nothing());
  EXPECT_THAT(std::get<Ready>(decision).description,
              HasSubstr("register dialect=C version=3 code=1025 name=laptop head="));
}

TEST(Decide, RefusesAMalformedHeadInItsDialectForItsSendersRecord) {
  const v1::LegacyProfile profile = Profile("D");
  const std::string request = AnyRequest(kId, 1029, "far too short");
  const Decision unknown = Decide(request, Nothing());
  ASSERT_TRUE(Is<NeedProfile>(unknown));
  EXPECT_TRUE(std::get<NeedProfile>(unknown).is_malformed);
  const Decision decision = Decide(request, Recorded(profile));
  ASSERT_TRUE(Is<Refusal>(decision));
  const auto& refusal = std::get<Refusal>(decision);
  EXPECT_EQ(refusal.kind, Refusal::Kind::kMalformedHead);
  EXPECT_EQ(refusal.answer_in->name(), "D");
  EXPECT_THAT(refusal.rule, HasSubstr("FILE_NAME 255"));
  EXPECT_EQ(refusal.culprit, kId);
}

TEST(Decide, NotesNoRuleForTheSenderOfARegistrationWhichHasNoId) {
  const Decision decision = Decide(AnyRequest(kId, 1025, "far too short"), Nothing());
  ASSERT_TRUE(Is<Refusal>(decision));
  EXPECT_EQ(std::get<Refusal>(decision).culprit, std::nullopt);
}

TEST(Decide, RefusesAnotherFamilyThanBefore) {
  const KnownOfSender before = AfterOneOf("C");
  const Decision decision = Decide(AnyRequest(kId, 827, std::string(255, 'n')), before);
  ASSERT_TRUE(Is<Refusal>(decision));
  const auto& refusal = std::get<Refusal>(decision);
  EXPECT_EQ(refusal.answer_in, before.dialect);
  EXPECT_EQ(refusal.rule, "request 827 is not of dialect C like those before it");
  EXPECT_EQ(refusal.culprit, kId);
}

TEST(Decide, RefusesAnUnknownCode) {
  const Decision decision = Decide(AnyRequest(kId, 4711, "x"), Nothing());
  ASSERT_TRUE(Is<Refusal>(decision));
  EXPECT_EQ(std::get<Refusal>(decision).kind, Refusal::Kind::kUnknownCode);
  EXPECT_EQ(std::get<Refusal>(decision).code, 4711u);
}

TEST(Decide, RefusesAnUnknownCodeAsSoonAsItIsToldThoughOtherHeadersAreLonger) {
  const std::string request = AnyRequest(kId, 9999, "");
  for (size_t size = 0; size < request.size(); ++size)
    EXPECT_TRUE(Is<NeedMore>(Decide(request.substr(0, size), Nothing()))) << size;
  const Decision decision = Decide(request, Nothing());
  ASSERT_TRUE(Is<Refusal>(decision));
  EXPECT_EQ(std::get<Refusal>(decision).code, 9999u);
  EXPECT_TRUE(Is<Refusal>(Decide(request, AfterOneOf("E"))));
}

TEST(Decide, KnowsOtherProtocols) {
  const Decision decision = Decide("GET / HTTP/1.1\r\nHost: backup\r\n\r\n", Nothing());
  ASSERT_TRUE(Is<Refusal>(decision));
  EXPECT_EQ(std::get<Refusal>(decision).kind, Refusal::Kind::kForeignProtocol);
  EXPECT_EQ(std::get<Refusal>(decision).rule, "HTTP/1");
}

// Requests of the clients of recording a2.
std::string Version2(std::string request) {
  request[ClientId::kSize] = 2;
  return request;
}
std::string FileOfA2() {
  return Version2(AnyRequest(
      kId, 1102,
      wire::ByteWriter().U32(16).Bytes(NameField("a")).Bytes(std::string(32, 'c')).Take()));
}
std::string RegistrationOfA2() { return Version2(AnyRequest({}, 1100, NameField("laptop"))); }

TEST(Decide, EachRequestNarrowsWhatAConnectionMaySpeak) {
  const auto registered = std::get<Ready>(Decide(RegistrationOfA2(), Nothing()));
  EXPECT_EQ(registered.dialect->name(), "A/B");
  EXPECT_EQ(registered.candidates, MaskOf({"A/B", "a2"}));
  const std::string key =
      Version2(AnyRequest(kId, 1101, NameField("laptop") + std::string(160, 'k')));
  const auto keyed = std::get<Ready>(Decide(key, After(registered)));
  EXPECT_EQ(keyed.candidates, registered.candidates);
  const auto file = std::get<Ready>(Decide(FileOfA2(), After(keyed)));
  EXPECT_EQ(file.dialect->name(), "a2");
  EXPECT_EQ(file.candidates, MaskOf({"a2"}));
}

TEST(Decide, RefusesWhatNoDialectUnderstandsThatUnderstoodAllBefore) {
  const std::string file_of_b = Version2(AnyRequest(
      kId, 1103,
      wire::ByteWriter().U32(16).Bytes(NameField("a")).Bytes(std::string(16, 'c')).Take()));
  const auto file = std::get<Ready>(
      Decide(file_of_b, After(std::get<Ready>(Decide(RegistrationOfA2(), Nothing())))));
  EXPECT_EQ(file.candidates, MaskOf({"A/B"}));
  const auto refusal = std::get<Refusal>(Decide(FileOfA2(), After(file)));
  EXPECT_EQ(refusal.kind, Refusal::Kind::kMalformedHead);
  EXPECT_EQ(refusal.answer_in->name(), "A/B");
  EXPECT_EQ(refusal.culprit, kId);
}

TEST(Decide, AFileThatOnlyOneDialectUnderstandsNeedsNoRecord) {
  const Decision decision = Decide(FileRequest(kId, "a", std::string(16, 'c')), Nothing());
  ASSERT_TRUE(Is<Ready>(decision));
  EXPECT_EQ(std::get<Ready>(decision).dialect->name(), "C");
  EXPECT_EQ(std::get<Ready>(decision).candidates, MaskOf({"C"}));
}

TEST(Decide, DoesNotWaitForALongerHeadOnceAWholeRequestHasCome) {
  const wire::DialectSet dialects = DialectsWith({ChangedDialect(
      "C", {{"\nname: \"C\"",
             "\nname: \"long\"\nrecognition { same_requests_as: \"C\" same_requests_as: \"D\" }"},
            {"codes: 1025\n  fields { kind: CLIENT_NAME width: 255 }",
             "codes: 1025\n  uncounted_bytes: 50\n  fields { kind: CLIENT_NAME width: 255 }\n"
             "  fields { kind: FILL width: 50 }"}})});
  const std::string request = RegisterRequest("laptop");
  for (const std::string& behind : {std::string(), std::string(10, 'x'), std::string(1000, 'x')}) {
    const Decision decision = Decide(request + behind, Nothing(dialects));
    ASSERT_TRUE(Is<Ready>(decision)) << behind.size();
    EXPECT_EQ(std::get<Ready>(decision).dialect->name(), "C");
    EXPECT_EQ(std::get<Ready>(decision).candidates, MaskOf({"C", "D"}, dialects));
  }
  // Whose record says so is waited for.
  const v1::LegacyProfile profile = Profile("long");
  EXPECT_TRUE(Is<NeedMore>(Decide(request, Recorded(profile, dialects))));
  EXPECT_EQ(std::get<Ready>(Decide(request + std::string(50, 'x'), Recorded(profile, dialects)))
                .dialect->name(),
            "long");
}

// Family C with names of 256 bytes, of which sizes count 255.
wire::Dialect LongNames(const std::string& recognition) {
  return ChangedDialect("C", {{"\nname: \"C\"",
                               "\nname: \"long\"\nrecognition { same_requests_as: \"C\" "
                               "same_requests_as: \"D\" " +
                                   recognition + " }"},
                              {"codes: 1025\n", "codes: 1025\n  uncounted_bytes: 1\n"},
                              {"codes: 1027\n", "codes: 1027\n  uncounted_bytes: 1\n"},
                              {"fields { kind: CLIENT_NAME width: 255 }",
                               "fields { kind: CLIENT_NAME width: 256 }"}});
}

TEST(Decide, WaitsForALongerHeadIfThePortOrTheFlagSaysSo) {
  const wire::DialectSet by_port = DialectsWith({LongNames("ports: 5555")}, {.port = 5555});
  const wire::DialectSet by_flag = DialectsWith({LongNames("")}, {.preferred = "long"});
  const v1::LegacyProfile none;
  const v1::LegacyProfile of_c = Profile("C");
  for (const wire::DialectSet* dialects : {&by_port, &by_flag}) {
    const std::string registration = RegisterRequest("laptop");
    EXPECT_TRUE(Is<NeedMore>(Decide(registration, Nothing(*dialects))));
    const auto registered =
        std::get<Ready>(Decide(registration + std::string(1, '\0'), Nothing(*dialects)));
    EXPECT_EQ(registered.dialect->name(), "long");
    EXPECT_EQ(registered.head.head_size, registration.size() + 1);
    // Only its record tells whether a client with an id is worth waiting for.
    const std::string reconnect = ReconnectRequest(kId, "laptop");
    EXPECT_TRUE(Is<NeedProfile>(Decide(reconnect, Nothing(*dialects))));
    EXPECT_TRUE(Is<NeedMore>(Decide(reconnect, Recorded(none, *dialects))));
    EXPECT_EQ(std::get<Ready>(Decide(reconnect + std::string(1, '\0'), Recorded(none, *dialects)))
                  .dialect->name(),
              "long");
    EXPECT_EQ(std::get<Ready>(Decide(reconnect, Recorded(of_c, *dialects))).dialect->name(), "C");
    EXPECT_TRUE(Is<NeedMore>(Decide(ReconnectRequest({}, "laptop"), Nothing(*dialects))));
  }
}

TEST(Decide, DoesNotWaitForALongerHeadWhereAnotherDialectIsSaid) {
  const wire::DialectSet elsewhere = DialectsWith({LongNames("ports: 5555")}, {.port = 4444});
  const wire::DialectSet overruled =
      DialectsWith({LongNames("ports: 5555")}, {.port = 5555, .preferred = "C"});
  for (const wire::DialectSet* dialects : {&elsewhere, &overruled})
    EXPECT_EQ(
        std::get<Ready>(Decide(RegisterRequest("laptop"), Nothing(*dialects))).dialect->name(),
        "C");
}

TEST(Decide, AsksForNoRecordOfNobody) {
  EXPECT_TRUE(Is<Ready>(Decide(ReconnectRequest({}, "laptop"), Nothing())));
}

TEST(DecideIncomplete, AnswersInWhatTheBytesShow) {
  EXPECT_EQ(DecideIncomplete("GET /", Nothing()).kind, Refusal::Kind::kForeignProtocol);
  EXPECT_EQ(DecideIncomplete("", Nothing()).kind, Refusal::Kind::kIncompleteHead);
  EXPECT_EQ(DecideIncomplete("", Nothing()).answer_in, &BuiltInSet().default_dialect());
  EXPECT_EQ(DecideIncomplete(AnyRequest(kId, 827, "x"), Nothing()).answer_in->name(), "E");
  EXPECT_EQ(DecideIncomplete("x", AfterOneOf("E")).answer_in->name(), "E");
}

}  // namespace
}  // namespace backup::bridge
