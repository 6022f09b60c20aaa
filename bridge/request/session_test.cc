#include "bridge/request/session.h"

#include "bridge/testing/raw_client.h"
#include "bridge/testing/test_bridge.h"
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

// Payloads that the families share.
std::string NameField(std::string name) {
  name.resize(wire::kNameFieldSize);
  return name;
}

// A registration in the codes of family A and B, padded to a whole block.
std::string PaddedRegistration(const std::string& name) {
  std::string request = AnyRequest(ClientId(), 1100, NameField(name));
  request.resize(wire::kBlockSize);
  return request;
}

TEST(Session, AnswersInBlocksWhoSendsInBlocksAndHangsUp) {
  TestBridge bridge;
  RawClient client(bridge.port());
  const RawReply registered = client.Ask(PaddedRegistration("old"));
  EXPECT_EQ(registered.code, kRegistered);
  size_t padding = 0;
  while (client.ReceiveByte() == '\0') ++padding;
  EXPECT_EQ(padding, wire::kBlockSize - wire::kReplyHeaderSize - ClientId::kSize);
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
  TestBridgeOptions options;
  options.listener.session.family_of_shared_codes = "D";
  TestBridge bridge(options);
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
  EXPECT_EQ(noted(), "request 827 is not of family C like those before it");
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

TEST(Session, AVerdictOnAConnectionOfItsOwnNamesNoUpload) {
  TestBridge bridge;
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");
  client.Ask(FileRequest(id, "a", "content"));
  EXPECT_EQ(RawClient(bridge.port()).Ask(ValidRequest(id, "a")).code, kAcknowledged);
  EXPECT_EQ(bridge.service().last_report().upload_id(), "");
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

}  // namespace
}  // namespace backup::bridge
