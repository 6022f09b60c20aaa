#include "bridge/request/forwarder.h"

#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "base/checksum.h"
#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "bridge/service/await.h"
#include "bridge/testing/fake_service.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using ::backup::testing::HasReason;
using ::backup::testing::StatusIs;

// Content of a file as it comes from a client.
class FakeBody : public Body {
 public:
  explicit FakeBody(const std::string& content) : left_(content.size()), content_(content, 3) {}

  absl::StatusOr<absl::string_view> Read() override {
    absl::StatusOr<absl::string_view> piece = content_.Read();
    left_ -= piece->size();
    return piece;
  }
  uint64_t left() const override { return left_; }
  uint64_t received_bytes() const override { return 0; }
  const absl::Status& status() const override { return status_; }

 protected:
  absl::Status status_;

 private:
  uint64_t left_;
  StringSource content_;
};

// Of a client that is gone.
class FailingBody final : public FakeBody {
 public:
  FailingBody() : FakeBody("never comes") {}
  absl::StatusOr<absl::string_view> Read() override {
    return status_ = absl::DataLossError("the client stopped");
  }
};

constexpr char kUploadId[] = "a5a5a5a5-a5a5-4a5a-a5a5-a5a5a5a5a5a5";

class ForwarderTest : public ::testing::Test {
 protected:
  explicit ForwarderTest(BackendOptions options = {}, bool corrupt_checksums = false)
      : server_(service_),
        backend_(MakeBackendChannels(server_.target()), options),
        forwarder_(backend_, corrupt_checksums) {}

  // Waits for the answer. All of a file has come.
  Forwarded Forward(const ClientId& id, wire::Operation operation,
                    const std::string& content = "") {
    const CallOrigin origin{"rid-1", kUploadId, "1.2.3.4:5", "7", ""};
    const wire::Request request{id, 3, 0, std::move(operation), "C"};
    return Await<Forwarded>([&](Forwarder::Done done) {
      const bool registers = std::holds_alternative<wire::Register>(request.operation);
      forwarder_.Forward(
          origin, request, {.id = registers ? std::nullopt : std::optional(id), .content = traits_},
          registers ? ClientOrder::Place() : forwarder_.TakePlace(id), {content}, std::move(done));
    });
  }
  // The same for a file that is still coming.
  Forwarded Stream(const ClientId& id, const wire::SendFile& file, std::unique_ptr<Body> body) {
    const uint64_t size = body->left();
    return forwarder_.ForwardStream({"rid-1", kUploadId, "1.2.3.4:5", "7", ""}, file,
                                    {.id = id, .content = traits_},
                                    {.body = std::move(body), .size = size});
  }
  ClientId Register(const std::string& name) {
    return std::get<wire::Registered>(Forward({}, wire::Register{name}).reply).id;
  }
  ClientId Introduce(const std::string& name) {
    const ClientId id = Register(name);
    Forward(id, wire::SendPublicKey{name, "key"});
    return id;
  }

  testing::FakeService service_;
  testing::FakeServer server_;
  BackendClient backend_;
  Forwarder forwarder_;
  wire::ContentTraits traits_;  // Of the dialect.
};

template <typename Reply>
bool Is(const Forwarded& forwarded) {
  return std::holds_alternative<Reply>(forwarded.reply);
}

wire::SendFile File(const std::string& name,
                    wire::Checksum checksum = wire::Checksum::kCrc32OfCiphertext) {
  wire::SendFile file;
  file.content_size = 7;
  file.name_field = name + std::string(255 - name.size(), '\0');
  file.name = name;
  file.first_checksum = checksum;
  return file;
}

uint32_t Crc32Of(absl::string_view bytes) {
  Crc32 crc;
  crc.Update(bytes);
  return crc.Value();
}

TEST_F(ForwarderTest, TellsTheServiceWhoAsks) {
  Register("laptop");
  EXPECT_EQ(service_.last_metadata("x-request-id"), "rid-1");
  EXPECT_EQ(service_.last_metadata("x-legacy-peer"), "1.2.3.4:5");
  EXPECT_EQ(service_.last_metadata("x-legacy-connection"), "7");
}

TEST_F(ForwarderTest, KeyAndReconnectAnswerWithTheEncryptedKey) {
  const ClientId id = Register("laptop");
  const Forwarded accepted = Forward(id, wire::SendPublicKey{"laptop", "key"});
  EXPECT_EQ(std::get<wire::KeyAccepted>(accepted.reply).id, id);
  const Forwarded reconnected = Forward(id, wire::Reconnect{"laptop"});
  EXPECT_EQ(std::get<wire::Reconnected>(reconnected.reply).encrypted_session_key,
            std::get<wire::KeyAccepted>(accepted.reply).encrypted_session_key);
}

TEST_F(ForwarderTest, FileArrivesWholeAndItsFieldsAreEchoed) {
  const ClientId id = Introduce("laptop");
  const wire::SendFile file = File("notes.txt");
  const Forwarded forwarded = Forward(id, file, "0123456789");
  const auto& reply = std::get<wire::FileReceived>(forwarded.reply);
  EXPECT_EQ(reply.id, id);
  EXPECT_EQ(reply.content_size, file.content_size);
  EXPECT_EQ(reply.name_field, file.name_field);
  EXPECT_EQ(reply.checksum, Crc32Of("0123456789"));
  EXPECT_EQ(service_.content("notes.txt"), "0123456789");
  EXPECT_EQ(service_.last_upload().encoding(), v1::UploadFileHeader::AES_CBC_ZERO_IV);
  EXPECT_EQ(service_.last_upload().checksum_candidate(), v1::CRC32_OF_CIPHERTEXT);
  EXPECT_TRUE(FromUuid<UploadId>(service_.last_upload().upload_id()));
}

TEST_F(ForwarderTest, ChecksumKindFollowsTheDialect) {
  Forward(Introduce("laptop"), File("a", wire::Checksum::kCksumOfPlaintext), "x");
  EXPECT_EQ(service_.last_upload().checksum_candidate(), v1::CKSUM_OF_PLAINTEXT);
}

TEST_F(ForwarderTest, NamesThatAreNoTextAreEscaped) {
  Forward(Introduce("laptop"), File("caf\xe9"), "x");
  EXPECT_EQ(service_.content("caf%E9"), "x");
}

TEST_F(ForwarderTest, TellsWhatKeyTheClientTakesAtEachOfItsRequests) {
  const ClientId id = Register("laptop");
  Forward(id, wire::SendPublicKey{"laptop", "key", {.bits = 256, .pkcs1_v15 = true}});
  EXPECT_EQ(service_.last_key().session_key_bits(), 256);
  EXPECT_EQ(service_.last_key().session_key_encryption(), v1::RSAES_PKCS1_V15);
  Forward(id, wire::Reconnect{"laptop", {.bits = 256, .pkcs1_v15 = true}});
  EXPECT_EQ(service_.last_resume().session_key_bits(), 256);
  EXPECT_EQ(service_.last_resume().session_key_encryption(), v1::RSAES_PKCS1_V15);
  Forward(id, wire::Reconnect{"laptop"});
  EXPECT_EQ(service_.last_resume().session_key_bits(), 128);
  EXPECT_EQ(service_.last_resume().session_key_encryption(), v1::RSAES_OAEP_SHA1);
}

TEST_F(ForwarderTest, AClientThatGivesOnlyItsNameIsToldItsId) {
  const ClientId id = Register("laptop");
  const auto forward = [&](wire::Operation operation) {
    const CallOrigin origin{"rid-1", kUploadId, "1.2.3.4:5", "7", ""};
    const wire::Request request{{}, 3, 0, std::move(operation), "by-name"};
    return Await<Forwarded>([&](Forwarder::Done done) {
      forwarder_.Forward(origin, request, Sender(), {}, {}, std::move(done));
    });
  };
  const Forwarded accepted = forward(wire::SendPublicKey{"laptop", "key"});
  EXPECT_EQ(std::get<wire::KeyAccepted>(accepted.reply).id, id);
  EXPECT_EQ(service_.last_key().client_id(), "");
  const Forwarded resumed = forward(wire::Reconnect{"laptop"});
  EXPECT_EQ(std::get<wire::Reconnected>(resumed.reply).id, id);
  EXPECT_TRUE(Is<wire::GeneralError>(forward(wire::SendPublicKey{"stranger", "key"})));
}

TEST_F(ForwarderTest, TellsHowTheContentIsEncrypted) {
  using Header = v1::UploadFileHeader;
  const ClientId id = Introduce("laptop");
  traits_ = {.initial_vector_in_front = true, .padded_with_zeros = true};
  Forward(id, File("a"), "0123456789abcdef");
  EXPECT_EQ(service_.last_upload().encoding(), Header::AES_CBC);
  EXPECT_EQ(service_.last_upload().initial_vector(), Header::IN_FRONT);
  EXPECT_EQ(service_.last_upload().padding(), Header::ZEROS);
  traits_ = {.encrypted_piece_size = 32};
  Stream(id, File("a"), std::make_unique<FakeBody>(std::string(80, 'c')));
  EXPECT_EQ(service_.last_upload().encoding(), Header::AES_CBC_ZERO_IV_SEGMENTS);
  EXPECT_EQ(service_.last_upload().segment_size(), 32);
  EXPECT_EQ(service_.last_upload().encoded_size(), 80);
  EXPECT_EQ(service_.last_upload().initial_vector(), Header::ZERO_IV);
  EXPECT_EQ(service_.last_upload().padding(), Header::PKCS7);
}

TEST_F(ForwarderTest, ErrorOfTheBodyCancelsTheCallAndIsReturnedAsItIs) {
  const ClientId id = Introduce("laptop");
  const Forwarded forwarded = Stream(id, File("a"), std::make_unique<FailingBody>());
  EXPECT_TRUE(Is<wire::GeneralError>(forwarded));
  EXPECT_THAT(forwarded.outcome, StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_EQ(service_.content("a"), std::nullopt);
}

TEST_F(ForwarderTest, TakenOrInvalidNameIsRegistrationFailed) {
  Register("laptop");
  const Forwarded taken = Forward({}, wire::Register{"laptop"});
  EXPECT_TRUE(Is<wire::RegistrationFailed>(taken));
  EXPECT_THAT(taken.outcome, HasReason(Reason::kNameTaken));
  EXPECT_TRUE(Is<wire::RegistrationFailed>(Forward({}, wire::Register{""})));
}

TEST_F(ForwarderTest, DeniedReconnectOffersAnIdOnWhichAKeyIsAccepted) {
  const Forwarded denied =
      Forward(*ClientId::FromBytes(std::string(16, 'x')), wire::Reconnect{"laptop"});
  ASSERT_TRUE(Is<wire::ReconnectDenied>(denied));
  const ClientId fresh_id = std::get<wire::ReconnectDenied>(denied.reply).fresh_id;
  EXPECT_TRUE(Is<wire::KeyAccepted>(Forward(fresh_id, wire::SendPublicKey{"laptop", "key"})));
}

TEST_F(ForwarderTest, DeniedReconnectUnderATakenNameOffersAnIdThatSurvivesCStrings) {
  const ClientId without_key = Register("laptop");
  const Forwarded denied = Forward(without_key, wire::Reconnect{"laptop"});
  ASSERT_TRUE(Is<wire::ReconnectDenied>(denied));
  EXPECT_THAT(denied.outcome, HasReason(Reason::kKeyNotSet));
  const ClientId fresh_id = std::get<wire::ReconnectDenied>(denied.reply).fresh_id;
  EXPECT_NE(fresh_id, without_key);
  for (const char byte : fresh_id.bytes()) EXPECT_GE(static_cast<uint8_t>(byte), 0x10);
}

// The table in docs/operations.md, "To an old client".
TEST_F(ForwarderTest, EveryReasonHasItsAnswer) {
  const ClientId id = Introduce("laptop");
  for (const ReasonInfo& info : AllReasons()) {
    if (info.code == absl::StatusCode::kUnavailable)
      continue;  // Held and tried again: see RideThroughTest.
    SCOPED_TRACE(info.name);
    const absl::Status error = MakeError(info.reason, "because");
    const bool refuses_names =
        info.reason == Reason::kNameTaken || info.reason == Reason::kInvalidField;
    const bool unknown_client =
        info.reason == Reason::kClientNotFound || info.reason == Reason::kKeyNotSet;

    service_.FailNextCall(error);
    const Forwarded registered = Forward({}, wire::Register{"other"});
    EXPECT_EQ(Is<wire::RegistrationFailed>(registered), refuses_names);
    EXPECT_EQ(Is<wire::GeneralError>(registered), !refuses_names);
    EXPECT_THAT(registered.outcome, HasReason(info.reason));
    service_.FailNextCall(error);
    const Forwarded resumed = Forward(id, wire::Reconnect{"laptop"});
    EXPECT_EQ(Is<wire::ReconnectDenied>(resumed), unknown_client);
    EXPECT_EQ(Is<wire::GeneralError>(resumed), !unknown_client);
    service_.FailNextCall(error);
    EXPECT_TRUE(Is<wire::GeneralError>(Forward(id, wire::SendPublicKey{"laptop", "key"})));
    service_.FailNextCall(error);
    EXPECT_TRUE(Is<wire::GeneralError>(Forward(id, File("a"), "x")));
    service_.FailNextCall(error);
    EXPECT_TRUE(Is<wire::GeneralError>(
        Forward(id, wire::ChecksumVerdict{wire::ChecksumVerdict::Kind::kValid, "a"})));
  }
}

TEST_F(ForwarderTest, ErrorWithoutAReasonIsAGeneralError) {
  service_.FailNextCall(absl::AlreadyExistsError("who knows"));
  EXPECT_TRUE(Is<wire::GeneralError>(Forward({}, wire::Register{"laptop"})));
}

class CorruptingForwarderTest : public ForwarderTest {
 protected:
  CorruptingForwarderTest() : ForwarderTest({}, /*corrupt_checksums=*/true) {}
};

TEST_F(CorruptingForwarderTest, AnswersTheTrueChecksumPlusOneEvenIfTheServiceCorruptsToo) {
  service_.CorruptChecksums();
  const Forwarded forwarded = Forward(Introduce("laptop"), File("a"), "content");
  EXPECT_EQ(std::get<wire::FileReceived>(forwarded.reply).checksum, Crc32Of("content") + 1);
}

class RideThroughTest : public ForwarderTest {
 protected:
  RideThroughTest() : ForwarderTest({.ride_through = absl::Seconds(20), .spool_bytes = 8}) {}
};

TEST_F(RideThroughTest, UnavailableIsTriedAgainUntilItWorks) {
  for (const Reason reason : {Reason::kDraining, Reason::kBackendDown}) {
    SCOPED_TRACE(InfoOf(reason).name);
    service_.FailNextCall(MakeError(reason, "in a moment"));
    EXPECT_TRUE(
        Is<wire::Registered>(Forward({}, wire::Register{std::string(InfoOf(reason).name)})));
  }
}

TEST_F(RideThroughTest, ACallThatAnEndingServiceCancelsIsTriedAgain) {
  service_.FailNextCall(absl::CancelledError("as gRPC 1.51 does"));
  EXPECT_TRUE(Is<wire::Registered>(Forward({}, wire::Register{"laptop"})));
}

TEST_F(RideThroughTest, UploadThatFitsItsSpoolIsRepeatedFromIt) {
  const ClientId id = Introduce("laptop");
  service_.FailNextCall(MakeError(Reason::kDraining, "in a moment"));
  EXPECT_TRUE(
      Is<wire::FileReceived>(Stream(id, File("a"), std::make_unique<FakeBody>("12345678"))));
  EXPECT_EQ(service_.content("a"), "12345678");
}

TEST_F(RideThroughTest, WholeFileIsRepeatedWhateverFitsTheSpool) {
  const ClientId id = Introduce("laptop");
  service_.FailNextCall(MakeError(Reason::kDraining, "in a moment"));
  EXPECT_TRUE(Is<wire::FileReceived>(Forward(id, File("a"), "longer than the spool")));
  EXPECT_EQ(service_.content("a"), "longer than the spool");
}

TEST_F(RideThroughTest, UploadThatFindsNoServiceBeginsOnceThereIsOne) {
  const ClientId id = Introduce("laptop");
  server_.Stop();
  // No call can begin, so nothing is read and nothing is lost: the service is back before the first
  // byte is sent.
  std::thread restart([&] { server_.Start(); });
  EXPECT_TRUE(
      Is<wire::FileReceived>(Stream(id, File("a"), std::make_unique<FakeBody>("123456789"))));
  restart.join();
}

TEST_F(RideThroughTest, RestartOfTheServiceIsNotVisible) {
  Register("laptop");
  server_.Stop();
  std::thread restart([&] { server_.Start(); });
  EXPECT_TRUE(Is<wire::Registered>(Forward({}, wire::Register{"desktop"})));
  restart.join();
}

class ImpatientForwarderTest : public ForwarderTest {
 protected:
  ImpatientForwarderTest() : ForwarderTest({.ride_through = absl::Milliseconds(200)}) {}
};

TEST_F(ImpatientForwarderTest, ServiceThatStaysAwayIsAGeneralErrorInTheEnd) {
  server_.Stop();
  const Forwarded forwarded = Forward({}, wire::Register{"laptop"});
  EXPECT_TRUE(Is<wire::GeneralError>(forwarded));
  EXPECT_THAT(forwarded.outcome, StatusIs(absl::StatusCode::kUnavailable));
}

// A client that takes longer for its first bytes than the service may be unavailable.
class SlowBody final : public FakeBody {
 public:
  using FakeBody::FakeBody;
  absl::StatusOr<absl::string_view> Read() override {
    absl::SleepFor(std::exchange(delay_, absl::ZeroDuration()));
    return FakeBody::Read();
  }

 private:
  absl::Duration delay_ = absl::Milliseconds(400);
};

TEST_F(ImpatientForwarderTest, ASlowUploadIsRepeatedThoughItTookLongerThanTheServiceMayBeAway) {
  const ClientId id = Introduce("laptop");
  service_.FailNextCall(MakeError(Reason::kDraining, "in a moment"));
  const Forwarded forwarded = Stream(id, File("a"), std::make_unique<SlowBody>("content"));
  EXPECT_TRUE(Is<wire::FileReceived>(forwarded)) << forwarded.outcome;
  EXPECT_EQ(service_.content("a"), "content");
}

TEST(GiveUpTest, StoppedBridgeTriesNothingAgain) {
  testing::FakeService service;
  testing::FakeServer server(service);
  std::stop_source give_up;
  BackendClient backend(MakeBackendChannels(server.target()),
                        {.ride_through = absl::Hours(1), .give_up = give_up.get_token()});
  server.Stop();
  std::thread stopper([&] { give_up.request_stop(); });
  const CallOrigin origin;
  using Response = absl::StatusOr<v1::RegisterClientResponse>;
  EXPECT_FALSE(Await<Response>([&](auto done) {
                 backend.Invoke<methods::RegisterClient>(origin, {}, std::move(done));
               }).ok());
  stopper.join();
}

}  // namespace
}  // namespace backup::bridge
