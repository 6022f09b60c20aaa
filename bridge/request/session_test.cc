#include "bridge/request/session.h"

#include "absl/strings/str_cat.h"
#include "bridge/testing/changed_dialect.h"
#include "bridge/testing/raw_client.h"
#include "bridge/testing/test_bridge.h"
#include "bridge/testing/test_dialects.h"
#include "bridge/testing/upload_fixture.h"
#include "bridge/wire/testing/byte_writer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using namespace ::backup::bridge::testing;  // NOLINT: requests and codes of the test client.
using ::testing::ElementsAre;
using ::testing::Optional;

const absl::Duration kNever = absl::Hours(1);

// The codes of the next `count` answers.
std::vector<uint16_t> Codes(RawClient& client, int count) {
  std::vector<uint16_t> codes;
  for (int i = 0; i < count; ++i) codes.push_back(client.Receive().value_or(RawReply()).code);
  return codes;
}

TEST(Session, ServesAWholeConversationOnOneConnection) {
  TestBridge bridge;
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  EXPECT_EQ(client.Ask(ReconnectRequest(id, "laptop")).code, kReconnected);
  const RawReply received = client.Ask(FileRequest(id, "notes.txt", "content"));
  EXPECT_EQ(received.code, kFileReceived);
  EXPECT_EQ(received.payload.size(), 279u);
  EXPECT_EQ(received.id(), id);
  const RawReply acknowledged = client.Ask(ValidRequest(id, "notes.txt"));
  EXPECT_EQ(acknowledged.code, kAcknowledged);
  EXPECT_EQ(acknowledged.payload, id.bytes());
  EXPECT_EQ(client.Ask(AbortRequest(id, "notes.txt")).code, kAcknowledged);
  EXPECT_THAT(bridge.service().content("notes.txt"), Optional(std::string("content")));
}

TEST(Session, FileThatMeetsAnAbsentServiceIsTriedAgainAsTheSameUpload) {
  TestBridge bridge;
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  bridge.service().FailNextCall(absl::UnavailableError("restarting"));
  EXPECT_EQ(client.Ask(FileRequest(id, "a", "content")).code, kFileReceived);
  const std::vector<std::string> ids = bridge.service().upload_ids();
  ASSERT_EQ(ids.size(), 2u);
  EXPECT_EQ(ids[0], ids[1]);
  EXPECT_EQ(client.Ask(FileRequest(id, "a", "content")).code, kFileReceived);
  EXPECT_NE(bridge.service().upload_ids().back(), ids[0]);
}

TEST(Session, ServesOneRequestAConnectionJustAsWell) {
  TestBridge bridge;
  const ClientId id = RawClient(bridge.port()).Ask(RegisterRequest("laptop")).id();
  EXPECT_EQ(RawClient(bridge.port()).Ask(PublicKeyRequest(id, "laptop")).code, kKeyAccepted);
  EXPECT_EQ(RawClient(bridge.port()).Ask(FileRequest(id, "a", "content")).code, kFileReceived);
}

TEST(Session, AnswersPipelinedRequestsInOrder) {
  TestBridge bridge;
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  client.Send(FileRequest(id, "a", "content") + ValidRequest(id, "a") +
              ReconnectRequest(id, "laptop") + RegisterRequest("laptop"));
  EXPECT_THAT(Codes(client, 4),
              ElementsAre(kFileReceived, kAcknowledged, kReconnected, kRegistrationFailed));
}

TEST(Session, ServesAClientThatHasShutDownItsSendingSide) {
  TestBridge bridge;
  RawClient client(bridge.port());
  client.Send(RegisterRequest("laptop"));
  client.ShutdownWrite();
  EXPECT_THAT(Codes(client, 1), ElementsAre(kRegistered));
  EXPECT_TRUE(client.AtEnd());
}

TEST(Session, CarriesALargeFile) {
  TestBridge bridge;
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  std::string content(5 * kPieceSize + 3, '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 31);
  EXPECT_EQ(client.Ask(FileRequest(id, "large", content)).code, kFileReceived);
  EXPECT_EQ(bridge.service().content("large"), content);
}

TEST(Session, RefusedFileLeavesTheConnectionInStep) {
  TestBridge bridge;
  RawClient client(bridge.port());
  const ClientId unknown = *ClientId::FromBytes(std::string(16, 'x'));
  EXPECT_EQ(client.Ask(FileRequest(unknown, "a", std::string(3 << 20, 'x'))).code, kGeneralError);
  EXPECT_EQ(client.Ask(RegisterRequest("laptop")).code, kRegistered);
}

TEST(Session, RefusedFileBeyondTheLimitIsAnsweredAndTheConnectionClosed) {
  TestBridgeOptions options;
  options.listener.session.drain_limit_bytes = 1000;
  TestBridge bridge(options);
  RawClient client(bridge.port());
  const ClientId unknown = *ClientId::FromBytes(std::string(16, 'x'));
  const std::string request = FileRequest(unknown, "a", std::string(4 << 20, 'x'));
  client.Send(absl::string_view(request).substr(0, 1000));
  EXPECT_THAT(Codes(client, 1), ElementsAre(kGeneralError));
  EXPECT_TRUE(client.AtEnd());
}

TEST(Session, StalledFileIsAnsweredWithAGeneralErrorAndTheConnectionClosed) {
  TestBridgeOptions options;
  options.listener.session.body.window = absl::Milliseconds(100);
  TestBridge bridge(options);
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  const std::string request = FileRequest(id, "a", std::string(1000, 'x'));
  client.Send(absl::string_view(request).substr(0, request.size() - 1));
  EXPECT_THAT(Codes(client, 1), ElementsAre(kGeneralError));
  EXPECT_TRUE(client.AtEnd());
  EXPECT_EQ(bridge.service().content("a"), std::nullopt);
}

TEST(Session, FileThatEndsEarlyIsNeverStored) {
  TestBridge bridge;
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  const std::string request = FileRequest(id, "a", std::string(1000, 'x'));
  client.Send(absl::string_view(request).substr(0, request.size() - 1));
  client.ShutdownWrite();
  EXPECT_THAT(Codes(client, 1), ElementsAre(kGeneralError));
  EXPECT_TRUE(client.AtEnd());
  EXPECT_EQ(bridge.service().content("a"), std::nullopt);
}

TEST(Session, UnknownCodeIsAnsweredWithAGeneralErrorAndTheConnectionClosed) {
  TestBridge bridge;
  RawClient client(bridge.port());
  EXPECT_EQ(client.Ask(AnyRequest(ClientId(), 4711, std::string(5000, 'x'))).code, kGeneralError);
  EXPECT_TRUE(client.AtEnd());
}

TEST(Session, MalformedHeadIsAnsweredWithAGeneralErrorAndTheConnectionClosed) {
  TestBridge bridge;
  RawClient client(bridge.port());
  EXPECT_EQ(client.Ask(AnyRequest(ClientId(), 1025, "far too short")).code, kGeneralError);
  EXPECT_TRUE(client.AtEnd());
  EXPECT_TRUE(bridge.service().calls().empty());
}

TEST(Session, OtherProtocolsAreHungUpOnWithoutAnAnswer) {
  TestBridge bridge;
  for (const absl::string_view hello :
       {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\nHost: backup\r\n\r\n"}) {
    RawClient client(bridge.port());
    client.Send(hello);
    EXPECT_TRUE(client.AtEnd()) << hello;
  }
}

TEST(Session, RetryNoticeIsNotAnsweredIfTheFileComesWithIt) {
  TestBridgeOptions options;
  options.listener.retry_answer_delay = absl::ZeroDuration();
  TestBridge bridge(options);
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  client.Ask(FileRequest(id, "a", "first"));
  client.Send(RetryRequest(id, "a") + FileRequest(id, "a", "second") + ValidRequest(id, "a"));
  EXPECT_THAT(Codes(client, 2), ElementsAre(kFileReceived, kAcknowledged));
  EXPECT_THAT(bridge.service().content("a"), Optional(std::string("second")));
}

TEST(Session, RetryNoticeIsNotAnsweredIfTheFileComesSoonAfter) {
  TestBridgeOptions options;
  options.listener.retry_answer_delay = kNever;
  TestBridge bridge(options);
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  client.Ask(FileRequest(id, "a", "first"));
  client.Send(RetryRequest(id, "a"));
  bridge.service().WaitForCalls(4);
  EXPECT_EQ(client.Ask(FileRequest(id, "a", "second")).code, kFileReceived);
  EXPECT_EQ(client.Ask(ValidRequest(id, "a")).code, kAcknowledged);
}

TEST(Session, RetryNoticeIsAnsweredIfNothingComes) {
  TestBridgeOptions options;
  options.listener.retry_answer_delay = absl::Milliseconds(20);
  TestBridge bridge(options);
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  client.Ask(FileRequest(id, "a", "first"));
  const RawReply answer = client.Ask(RetryRequest(id, "a"));
  EXPECT_EQ(answer.code, kAcknowledged);
  EXPECT_EQ(answer.payload, id.bytes());
  EXPECT_EQ(client.Ask(FileRequest(id, "a", "second")).code, kFileReceived);
  EXPECT_EQ(bridge.service().calls()[3], "ReportTransfer RETRYING");
}

TEST(Session, EndlessRegistrationsOnOneConnectionAreEnded) {
  TestBridgeOptions options;
  options.listener.session.max_registrations = 2;
  TestBridge bridge(options);
  RawClient client(bridge.port());
  EXPECT_EQ(client.Ask(RegisterRequest("a")).code, kRegistered);
  EXPECT_EQ(client.Ask(RegisterRequest("a")).code, kRegistrationFailed);
  EXPECT_EQ(client.Ask(RegisterRequest("a")).code, kGeneralError);
  EXPECT_TRUE(client.AtEnd());
}

TEST(Session, DeniedReconnectLetsTheClientRegisterOnTheSameConnection) {
  TestBridge bridge;
  RawClient client(bridge.port());
  const ClientId unknown = *ClientId::FromBytes(std::string(16, 'x'));
  const RawReply denied = client.Ask(ReconnectRequest(unknown, "laptop"));
  EXPECT_EQ(denied.code, kReconnectDenied);
  EXPECT_EQ(client.Ask(PublicKeyRequest(denied.id(), "laptop")).code, kKeyAccepted);
}

constexpr size_t kBlockSize = 1024;

// A registration in the codes of family A and B, padded to a whole block.
std::string PaddedRegistration(const std::string& name) {
  std::string request = AnyRequest(ClientId(), 1100, NameField(name));
  request.resize(kBlockSize);
  return request;
}

TEST(Session, AnswersInBlocksWhoSendsInBlocksAndHangsUp) {
  TestBridge bridge;
  RawClient client(bridge.port());
  client.Send(PaddedRegistration("old"));
  EXPECT_EQ(client.Receive({.multiple_of = kBlockSize})->code, kRegistered);
  EXPECT_TRUE(client.AtEnd());
}

TEST(Session, AnswersWithoutPaddingWhoSendsNone) {
  TestBridge bridge;
  RawClient client(bridge.port());
  EXPECT_EQ(client.Ask(AnyRequest(ClientId(), 1100, NameField("old"))).code, kRegistered);
  EXPECT_EQ(client.Ask(AnyRequest(ClientId(), 1100, NameField("old"))).code, kRegistrationFailed);
}

TEST(Session, KnowsFamiliesCAndDApartByTheClientsRecord) {
  TestBridge bridge;
  // Known to the service, but not to this bridge.
  const ClientId id = *ClientId::FromBytes("0123456789abcdef");
  v1::LegacyProfile profile;
  profile.set_family("D");
  bridge.service().AddClient(ToUuid(id), profile);
  RawClient client(bridge.port());
  EXPECT_EQ(client.Ask(ReconnectRequest(id, "laptop")).code, 1605);
}

TEST(Session, TakesAClientOfWhichNothingIsKnownForTheFamilyThatIsSet) {
  TestBridge bridge(WithDialects({}, {.preferred = "D"}));
  RawClient client(bridge.port());
  EXPECT_EQ(client.Ask(RegisterRequest("laptop")).code, 1600);
}

TEST(Session, RefusesAFamilySwitchWithinAConnectionAndNotesIt) {
  TestBridge bridge;
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  EXPECT_EQ(client.Ask(AnyRequest(id, 827, NameField("laptop"))).code, kGeneralError);
  EXPECT_TRUE(client.AtEnd());
  const auto noted = [&] { return bridge.service().profile(ToUuid(id)).last_protocol_error(); };
  bridge.service().WaitUntil([&] { return !noted().empty(); });
  EXPECT_EQ(noted(), "request 827 is not of dialect C like those before it");
}

TEST(Session, EndlessRetriesOnOneConnectionAreEnded) {
  TestBridgeOptions options;
  options.listener.session.max_retries = 2;
  options.listener.retry_answer_delay = absl::ZeroDuration();
  TestBridge bridge(options);
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  EXPECT_EQ(client.Ask(RetryRequest(id, "a")).code, kAcknowledged);
  EXPECT_EQ(client.Ask(RetryRequest(id, "a")).code, kAcknowledged);
  EXPECT_EQ(client.Ask(RetryRequest(id, "a")).code, kGeneralError);
  EXPECT_TRUE(client.AtEnd());
}

TEST(Session, TellsTheServiceOnceWhatAFileShowsOfItsSender) {
  TestBridge bridge;
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  EXPECT_EQ(client.Ask(FileRequest(id, "a", "content, sixteen")).code, kFileReceived);
  const v1::LegacyProfile profile = bridge.service().last_upload().legacy_profile();
  EXPECT_EQ(profile.family(), "C");
  EXPECT_EQ(profile.header_version(), 3);
  EXPECT_EQ(profile.framing(), "stream");
  EXPECT_EQ(profile.file_style(), "counted");
  EXPECT_EQ(profile.connection_style(), "many requests a connection");
  EXPECT_EQ(client.Ask(FileRequest(id, "a", "content, sixteen")).code, kFileReceived);
  EXPECT_FALSE(bridge.service().last_upload().has_legacy_profile());
}

TEST(Session, AVerdictNamesTheUploadThatItIsAbout) {
  TestBridge bridge;
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  client.Ask(FileRequest(id, "a", "first"));
  client.Ask(FileRequest(id, "b", "other"));
  client.Send(RetryRequest(id, "a"));
  bridge.service().WaitUntil([&] { return !bridge.service().last_report().upload_id().empty(); });
  EXPECT_EQ(bridge.service().last_report().upload_id(), bridge.service().upload_ids()[0]);
  client.Ask(FileRequest(id, "a", "second"));
  client.Ask(ValidRequest(id, "a"));
  EXPECT_EQ(bridge.service().last_report().upload_id(), bridge.service().upload_ids()[2]);
  EXPECT_NE(bridge.service().upload_ids()[2], bridge.service().upload_ids()[0]);
}

TEST(Session, AVerdictOnAConnectionOfItsOwnNamesTheUploadThatWasAnsweredBeforeItCame) {
  TestBridge bridge;
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  client.Ask(FileRequest(id, "a", "content"));
  EXPECT_EQ(RawClient(bridge.port()).Ask(ValidRequest(id, "a")).code, kAcknowledged);
  EXPECT_EQ(bridge.service().last_report().upload_id(), bridge.service().upload_ids()[0]);
}

TEST(Session, AVerdictOnAFileThatWasRefusedNamesTheUploadBeforeIt) {
  TestBridge bridge;
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  client.Ask(FileRequest(id, "a", "content"));
  bridge.service().FailNextCall(absl::ResourceExhaustedError("full"));
  EXPECT_EQ(client.Ask(FileRequest(id, "a", "content")).code, kGeneralError);
  client.Ask(AbortRequest(id, "a"));
  EXPECT_EQ(bridge.service().last_report().upload_id(), bridge.service().upload_ids()[0]);
}

// A request of family C in the codes of VariantOfC().
std::string OfVariant(std::string request) {
  constexpr int kMore = 4000;
  constexpr size_t kCodeAt = 17;
  const int code = static_cast<uint8_t>(request[kCodeAt]) +
                   static_cast<uint8_t>(request[kCodeAt + 1]) * 256 + kMore;
  request[kCodeAt] = static_cast<char>(code);
  request[kCodeAt + 1] = static_cast<char>(code / 256);
  return request;
}

TestBridgeOptions WithVariant(absl::string_view more) {
  return WithDialects({VariantOfC("variant", more)});
}

constexpr size_t kMultiple = 512;
constexpr AnswerForm kPadded{.multiple_of = kMultiple};

std::string Padded(std::string request) {
  request.resize((request.size() + kMultiple - 1) / kMultiple * kMultiple, '\xfe');
  return request;
}

TEST(Session, WhereADialectAlwaysPadsSoDoAnswers) {
  TestBridge bridge(WithVariant("padding { multiple_of: 512 requests: ALWAYS answers: ALWAYS }"));
  RawClient client(bridge.port());
  client.Send(Padded(OfVariant(RegisterRequest("laptop"))));
  const ClientId id = client.Receive(kPadded)->id();
  client.Send(Padded(OfVariant(PublicKeyRequest(id, "laptop"))));
  EXPECT_EQ(client.Receive(kPadded)->code, kKeyAccepted);
  client.Send(Padded(OfVariant(FileRequest(id, "a", std::string(5000, 'c')))));
  EXPECT_EQ(client.Receive(kPadded)->code, kFileReceived);
  client.Send(Padded(OfVariant(ValidRequest(id, "a"))));
  EXPECT_EQ(client.Receive(kPadded)->code, kAcknowledged);
  EXPECT_EQ(bridge.service().last_upload().legacy_profile().framing(), "blocks of 512 bytes");
}

TEST(Session, TheNextRequestIsNotTakenForPadding) {
  TestBridge bridge(
      WithVariant("padding { multiple_of: 512 requests: BY_CLIENT answers: BY_CLIENT }"));
  RawClient client(bridge.port());
  client.Send(OfVariant(RegisterRequest("laptop")) + OfVariant(RegisterRequest("laptop")) +
              std::string(2 * kMultiple, '\xfe'));
  EXPECT_THAT(Codes(client, 2), ElementsAre(kRegistered, kRegistrationFailed));
}

// Where codes count from 0, zeros look like the header of a registration of nobody.
TEST(Session, PaddingOfZerosIsNotTakenForTheNextRequest) {
  for (const absl::string_view use : {"ALWAYS", "BY_CLIENT"}) {
    SCOPED_TRACE(use);
    TestBridge bridge(WithDialects({ChangedDialect(
        "C", {{"\nname: \"C\"",
               absl::StrCat("\nname: \"variant\"\npadding { multiple_of: 512 requests: ", use,
                            " answers: ", use, " }")},
              {"codes: 1025", "codes: 0"},
              {"codes: 102", "codes: 502"},
              {"codes: 103", "codes: 503"}})}));
    RawClient client(bridge.port());
    std::string request = AnyRequest({}, 0, NameField("laptop"));
    request.resize(kMultiple);
    for (const uint16_t code : {kRegistered, kRegistrationFailed}) {
      client.Send(request);
      const std::optional<RawReply> answer = client.Receive(kPadded);
      ASSERT_TRUE(answer);
      EXPECT_EQ(answer->code, code);
    }
  }
}

TEST(Session, AFileInFilledBlocksShowsThatItsClientPadsWhateverIsOnItsRecord) {
  TestBridge bridge;
  const ClientId id = *ClientId::FromBytes("0123456789abcdef");
  v1::LegacyProfile profile;
  profile.set_family("A/B");
  profile.set_framing("stream");
  bridge.service().AddClient(ToUuid(id), profile);
  constexpr uint32_t kFirst = 736;
  const std::string payload = wire::ByteWriter()
                                  .U32(kFirst + 16)
                                  .Bytes(NameField("a"))
                                  .Bytes(std::string(kFirst, 'c'))
                                  .Take();
  std::string request = AnyRequest(id, 1103, payload);
  request.resize(kBlockSize);
  request += std::string(16, 'd');
  request.resize(2 * kBlockSize);
  RawClient client(bridge.port());
  client.Send(request);
  const std::optional<RawReply> answer = client.Receive({.multiple_of = kBlockSize});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->code, kFileReceived);
  EXPECT_EQ(bridge.service().content("a"),
            Segments({std::string(kFirst, 'c'), std::string(16, 'd')}));
  EXPECT_EQ(bridge.service().last_upload().legacy_profile().framing(), "blocks of 1024 bytes");
}

TEST(Session, ARetryNoticeIsNeverAnsweredWhereItsDialectSaysSo) {
  TestBridgeOptions options = WithVariant("conversation { retry_answer: NOT_AT_ALL }");
  options.listener.retry_answer_delay = absl::ZeroDuration();
  TestBridge bridge(options);
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  RawClient again(bridge.port());
  again.Ask(OfVariant(FileRequest(id, "a", "first")));
  again.Send(OfVariant(RetryRequest(id, "a")));
  bridge.service().WaitForCalls(4);
  bridge.service().FailNextCall(absl::ResourceExhaustedError("full"));
  again.Send(OfVariant(RetryRequest(id, "a")));
  bridge.service().WaitForCalls(5);
  EXPECT_EQ(again.Ask(OfVariant(FileRequest(id, "a", "second"))).code, kFileReceived);
}

TEST(Session, ARetryNoticeIsAnsweredAtOnceWhereItsDialectSaysSo) {
  TestBridgeOptions options = WithVariant("conversation { retry_answer: AT_ONCE }");
  options.listener.retry_answer_delay = kNever;
  TestBridge bridge(options);
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  RawClient again(bridge.port());
  again.Send(OfVariant(RetryRequest(id, "a")) + OfVariant(FileRequest(id, "a", "second")));
  EXPECT_THAT(Codes(again, 2), ElementsAre(kAcknowledged, kFileReceived));
}

TEST(Session, EndsAConnectionAfterTheAnswerWhereItsDialectSaysSo) {
  TestBridge bridge(
      WithVariant("conversation { end_after_answer: ENDS end_versions: 3 end_versions: 4 }"));
  RawClient client(bridge.port());
  EXPECT_EQ(client.Ask(OfVariant(RegisterRequest("laptop"))).code, kRegistered);
  EXPECT_TRUE(client.AtEnd());
  RawClient other(bridge.port());
  std::string request = OfVariant(RegisterRequest("desktop"));
  request[ClientId::kSize] = 2;
  EXPECT_EQ(other.Ask(request).code, kRegistered);
  EXPECT_EQ(other.Ask(request).code, kRegistrationFailed);
}

TEST(Session, AnIdOfZerosIsTheClientOfThatNameAndThenOfTheConnection) {
  TestBridge bridge(WithVariant("conversation { zero_id: BY_NAME }"));
  const ClientId id = RawClient(bridge.port()).Ask(OfVariant(RegisterRequest("laptop"))).id();
  RawClient client(bridge.port());
  const RawReply accepted = client.Ask(OfVariant(PublicKeyRequest({}, "laptop")));
  EXPECT_EQ(accepted.code, kKeyAccepted);
  EXPECT_EQ(accepted.id(), id);
  EXPECT_EQ(client.Ask(OfVariant(FileRequest({}, "a", "content"))).id(), id);
  EXPECT_EQ(bridge.service().last_upload().client_id(), ToUuid(id));
  EXPECT_EQ(client.Ask(OfVariant(ValidRequest({}, "a"))).payload, id.bytes());
  EXPECT_EQ(bridge.service().last_report().upload_id(), bridge.service().upload_ids()[0]);
  RawClient later(bridge.port());
  EXPECT_EQ(later.Ask(OfVariant(ReconnectRequest({}, "laptop"))).id(), id);
  EXPECT_EQ(later.Ask(OfVariant(FileRequest({}, "a", "content"))).id(), id);
}

TEST(Session, AnIdOfZerosIsTheClientThatSaidItsIdBeforeOnTheConnection) {
  TestBridge bridge(WithVariant("conversation { zero_id: BY_NAME }"));
  const ClientId id = RawClient(bridge.port()).Introduce("laptop");
  RawClient client(bridge.port());
  EXPECT_EQ(client.Ask(OfVariant(FileRequest(id, "a", "content"))).code, kFileReceived);
  const RawReply acknowledged = client.Ask(OfVariant(ValidRequest({}, "a")));
  EXPECT_EQ(acknowledged.code, kAcknowledged);
  EXPECT_EQ(acknowledged.payload, id.bytes());
  EXPECT_EQ(bridge.service().last_report().upload_id(), bridge.service().upload_ids()[0]);
}

TEST(Session, AKeyOfNobodyWithoutANameIsOfWhoRegisteredOnTheConnection) {
  TestBridge bridge(WithDialects({ChangedDialect(
      "C", {{"\nname: \"C\"", "\nname: \"variant\"\nconversation { zero_id: BY_NAME }"},
            {"codes: 10", "codes: 50"},
            {"  fields { kind: CLIENT_NAME width: 255 may_be_shorter: true }\n", ""}})}));
  RawClient client(bridge.port());
  const ClientId id = client.Ask(OfVariant(RegisterRequest("laptop"))).id();
  const RawReply accepted = client.Ask(AnyRequest({}, 5026, std::string(160, 'p')));
  EXPECT_EQ(accepted.code, kKeyAccepted);
  EXPECT_EQ(accepted.id(), id);
}

TEST(Session, AnIdOfZerosInThePayloadIsTheClientOfTheConnection) {
  TestBridge bridge(WithDialects({ChangedDialect(
      "C", {{"\nname: \"C\"", "\nname: \"variant\"\nconversation { zero_id: BY_NAME }"},
            {"codes: 10", "codes: 50"},
            {"request_header { kind: CLIENT_ID width: 16 }\n",
             "request_header { kind: CONSTANT width: 4 value: 305419896 }\n"},
            {"fields { kind: CLIENT_ID width: 16 may_be_missing: true }",
             "fields { kind: CLIENT_ID width: 16 }"},
            {"  fields { kind: CLIENT_NAME width: 255 may_be_shorter: true }\n", ""}})}));
  const auto request = [](uint16_t code, const std::string& payload) {
    return wire::ByteWriter()
        .U32(305419896)
        .U8(3)
        .U16(code)
        .U32(static_cast<uint32_t>(payload.size()))
        .Bytes(payload)
        .Take();
  };
  const std::string zeros(ClientId::kSize, '\0');
  RawClient client(bridge.port());
  const ClientId id = client.Ask(request(5025, NameField("laptop"))).id();
  EXPECT_EQ(client.Ask(request(5026, std::string(160, 'p'))).id(), id);
  const std::string file =
      wire::ByteWriter().U32(16).Bytes(NameField("a")).Bytes(std::string(16, 'c')).Take();
  EXPECT_EQ(client.Ask(request(5028, zeros + file)).id(), id);
  EXPECT_EQ(client.Ask(request(5029, zeros + NameField("a"))).payload, id.bytes());
  // Who says its id once.
  RawClient later(bridge.port());
  EXPECT_EQ(later.Ask(request(5028, std::string(id.bytes()) + file)).id(), id);
  EXPECT_EQ(later.Ask(request(5029, zeros + NameField("a"))).payload, id.bytes());
}

TEST(Session, AnIdOfZerosIsNobodyOnAConnectionThatNamedNobody) {
  TestBridge bridge(WithVariant("conversation { zero_id: BY_NAME }"));
  RawClient client(bridge.port());
  EXPECT_EQ(client.Ask(OfVariant(FileRequest({}, "a", "content"))).code, kGeneralError);
  EXPECT_EQ(client.Ask(OfVariant(RegisterRequest("laptop"))).code, kRegistered);
  EXPECT_EQ(client.Ask(OfVariant(PublicKeyRequest({}, "stranger"))).code, kGeneralError);
}

TEST(Session, WhereADialectDoesNotLookUpNamesAnIdOfZerosIsAnId) {
  TestBridge bridge;
  RawClient client(bridge.port());
  client.Introduce("laptop");
  EXPECT_EQ(client.Ask(PublicKeyRequest({}, "laptop")).code, kGeneralError);
}

TEST(Session, GoesOnInTheDialectThatUnderstandsAllOfAConnection) {
  TestBridge bridge;
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");  // As families C and D do.
  const std::string packet = wire::ByteWriter()
                                 .U32(16)
                                 .U32(10)
                                 .U16(1)
                                 .U16(1)
                                 .Bytes(NameField("a"))
                                 .Bytes(std::string(16, 'c'))
                                 .Take();
  EXPECT_EQ(client.Ask(AnyRequest(id, 1028, packet)).code, 1603);
  EXPECT_EQ(bridge.service().profile(ToUuid(id)).family(), "D");
  EXPECT_EQ(RawClient(bridge.port()).Ask(ReconnectRequest(id, "laptop")).code, 1605);
  EXPECT_EQ(bridge.service().last_resume().session_key_bits(), 256);
}

}  // namespace
}  // namespace backup::bridge
