// Whose connections a listener takes, and whose they are.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "bridge/listener.h"
#include "bridge/testing/raw_client.h"
#include "bridge/testing/test_bridge.h"
#include "bridge/wire/testing/byte_writer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using namespace ::backup::bridge::testing;  // NOLINT: requests and codes of the test client.
using ::testing::StartsWith;

// Larger than what the service hears of only when it is whole.
const std::string kLargeContent(160'000, 'x');
constexpr int kTries = 10'000;
constexpr absl::Duration kShort = absl::Milliseconds(50);
constexpr absl::string_view kLine = "PROXY TCP4 10.1.2.3 10.0.0.1 4660 1357\r\n";
// LOCAL.
constexpr absl::string_view kOwn("\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16);

constexpr Rate kOnce{1, absl::Hours(1)};

IpNetworks Networks(absl::string_view text) { return *IpNetworks::Parse(text); }

// A socket that comes from another address of loopback.
UniqueFd SocketFrom(const char* address) {
  UniqueFd socket = RawClient::MakeSocket();
  sockaddr_in from = {};
  from.sin_family = AF_INET;
  ::inet_pton(AF_INET, address, &from.sin_addr);
  EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&from), sizeof(from)), 0);
  return socket;
}

class ListenerAdmissionTest : public ::testing::Test {
 protected:
  ListenerAdmissionTest() { options_.listener.session.metrics = BridgeMetrics(metrics_); }

  // Whether a metric has counted `count` for that reason.
  ::testing::AssertionResult HasCounted(absl::string_view metric, absl::string_view reason,
                                        int count) const {
    const std::string text = metrics_.Text();
    const std::string line = absl::StrCat(metric, "{reason=\"", reason, "\"} ", count, "\n");
    return text.find(line) != std::string::npos ? ::testing::AssertionSuccess()
                                                : ::testing::AssertionFailure() << text;
  }
  ::testing::AssertionResult HasClosed(absl::string_view reason, int count) const {
    return HasCounted("backup_bridge_connections_closed_total", reason, count);
  }
  ::testing::AssertionResult HasRejected(absl::string_view reason, int count) const {
    return HasCounted("backup_admission_rejected_total", reason, count);
  }

  // Whether a client that comes from there is closed before it has said anything.
  static bool IsClosed(const TestBridge& bridge, const char* address) {
    RawClient client(SocketFrom(address), bridge.port());
    return client.AtEnd();
  }

  static uint16_t CodeFor(const TestBridge& bridge, const char* address) {
    return RawClient(SocketFrom(address), bridge.port()).Ask(RegisterRequest(address)).code;
  }

  Metrics metrics_;
  TestBridgeOptions options_;
};

// Connections of this machine are a balancer's.
class BehindBalancerTest : public ListenerAdmissionTest {
 protected:
  BehindBalancerTest() { options_.listener.balancers = Networks("127.0.0.0/8"); }
};

TEST_F(BehindBalancerTest, TheClientIsTheOneThatTheHeaderTells) {
  TestBridge bridge(options_);
  RawClient client(bridge.port());
  EXPECT_EQ(client.Ask(absl::StrCat(kLine, RegisterRequest("laptop"))).code, kRegistered);
  EXPECT_EQ(bridge.service().last_metadata("x-legacy-peer"), "10.1.2.3:4660");
  // Once, in front of everything.
  EXPECT_EQ(client.Ask(RegisterRequest("other")).code, kRegistered);
  EXPECT_EQ(bridge.service().last_metadata("x-legacy-peer"), "10.1.2.3:4660");
}

TEST_F(BehindBalancerTest, TheRequestMayComeLater) {
  TestBridge bridge(options_);
  RawClient client(bridge.port());
  client.Send(kLine);
  ASSERT_TRUE(bridge.listener().Turns(absl::Seconds(10)));
  EXPECT_EQ(client.Ask(RegisterRequest("laptop")).code, kRegistered);
}

TEST_F(BehindBalancerTest, EverythingMayComeByteByByte) {
  TestBridge bridge(options_);
  RawClient client(bridge.port());
  for (const char byte : absl::StrCat(kLine, RegisterRequest("laptop")))
    client.Send(absl::string_view(&byte, 1));
  EXPECT_EQ(client.Receive()->code, kRegistered);
  EXPECT_EQ(bridge.service().last_metadata("x-legacy-peer"), "10.1.2.3:4660");
}

TEST_F(BehindBalancerTest, ItsOwnConnectionKeepsItsAddress) {
  TestBridge bridge(options_);
  RawClient client(bridge.port());
  EXPECT_EQ(client.Ask(absl::StrCat(kOwn, RegisterRequest("laptop"))).code, kRegistered);
  EXPECT_THAT(bridge.service().last_metadata("x-legacy-peer"), StartsWith("127.0.0.1:"));
}

TEST_F(BehindBalancerTest, WithoutAHeaderItIsClosedWithoutAnAnswer) {
  TestBridge bridge(options_);
  RawClient client(bridge.port());
  client.Send(RegisterRequest("laptop"));
  EXPECT_FALSE(client.ReceiveByte());
  RawClient wrong(bridge.port());
  wrong.Send("PROXY TCP9 \r\n");
  EXPECT_TRUE(wrong.AtEnd());
  RawClient cut(bridge.port());
  cut.Send(kLine.substr(0, 10));
  cut.ShutdownWrite();
  EXPECT_TRUE(cut.AtEnd());
  EXPECT_TRUE(HasClosed("proxy_header", 3));
}

TEST_F(BehindBalancerTest, AHeaderThatDoesNotComeIsWaitedForOnlySoLong) {
  options_.listener.header_timeout = kShort;
  TestBridge bridge(options_);
  EXPECT_TRUE(RawClient(bridge.port()).AtEnd());
  RawClient stalled(bridge.port());
  stalled.Send(kLine.substr(0, 10));
  EXPECT_TRUE(stalled.AtEnd());
  EXPECT_TRUE(HasClosed("header_timeout", 2));
}

TEST_F(BehindBalancerTest, OneThatDoesNotBeginIsNotWaitedForLongerThanAnIdleOne) {
  options_.listener.header_timeout = absl::InfiniteDuration();
  options_.listener.idle_timeout = kShort;
  TestBridge bridge(options_);
  EXPECT_TRUE(RawClient(bridge.port()).AtEnd());
}

TEST_F(BehindBalancerTest, ABalancerMayLookWhetherTheBridgeIsThere) {
  TestBridge bridge(options_);
  RawClient look(bridge.port());
  look.ShutdownWrite();
  EXPECT_TRUE(look.AtEnd());
  EXPECT_TRUE(HasClosed("eof", 1));
}

TEST_F(BehindBalancerTest, ClientsOfOthersAreServedAsTheyAre) {
  options_.listener.balancers = Networks("127.0.0.2");
  TestBridge bridge(options_);
  EXPECT_EQ(RawClient(bridge.port()).Ask(RegisterRequest("laptop")).code, kRegistered);
  // Nor can they say that they are somebody else.
  EXPECT_EQ(RawClient(bridge.port()).Ask(absl::StrCat(kLine, RegisterRequest("other"))).code,
            kGeneralError);
  EXPECT_THAT(bridge.service().last_metadata("x-legacy-peer"), StartsWith("127.0.0.1:"));
}

TEST_F(BehindBalancerTest, TheClientsNetworkDecides) {
  options_.listener.allowed = Networks("10.0.0.0/8");
  options_.listener.denied = Networks("10.1.2.4");
  TestBridge bridge(options_);
  EXPECT_EQ(RawClient(bridge.port()).Ask(absl::StrCat(kLine, RegisterRequest("a"))).code,
            kRegistered);
  for (const char* address : {"10.1.2.4", "11.1.2.3"}) {
    RawClient client(bridge.port());
    client.Send(absl::StrCat("PROXY TCP4 ", address, " 10.0.0.1 1 1\r\n"));
    EXPECT_TRUE(client.AtEnd()) << address;
  }
  EXPECT_TRUE(HasClosed("denied", 2));
}

TEST_F(BehindBalancerTest, EachClientHasItsOwnLimits) {
  options_.listener.limits = {.connections = 1, .registrations = kOnce};
  TestBridge bridge(options_);
  RawClient one(bridge.port());
  EXPECT_EQ(one.Ask(absl::StrCat(kLine, RegisterRequest("a"))).code, kRegistered);
  EXPECT_EQ(one.Ask(RegisterRequest("b")).code, kGeneralError);
  RawClient other(bridge.port());
  EXPECT_EQ(
      other.Ask(absl::StrCat("PROXY TCP4 10.1.2.4 10.0.0.1 1 1\r\n", RegisterRequest("c"))).code,
      kRegistered);
  RawClient again(bridge.port());
  EXPECT_EQ(again.Ask("PROXY TCP4 10.1.2.4 10.0.0.1 2 1\r\n").code, kGeneralError);
}

TEST_F(BehindBalancerTest, ADrainWaitsForNoHeader) {
  TestBridge bridge(options_);
  RawClient silent(bridge.port());
  RawClient idle(bridge.port());
  idle.Send(kLine);
  ASSERT_TRUE(bridge.listener().Turns(absl::Seconds(10)));
  EXPECT_TRUE(bridge.listener().Drain(absl::Seconds(10)));
  EXPECT_TRUE(silent.AtEnd());
  EXPECT_TRUE(idle.AtEnd());
}

TEST_F(ListenerAdmissionTest, OnlyAllowedNetworksMayConnect) {
  options_.listener.allowed = Networks("127.0.0.0/30,::1");
  TestBridge bridge(options_);
  EXPECT_EQ(CodeFor(bridge, "127.0.0.3"), kRegistered);
  EXPECT_TRUE(IsClosed(bridge, "127.0.0.4"));
  EXPECT_TRUE(HasClosed("denied", 1));
}

TEST_F(ListenerAdmissionTest, DeniedNetworksMayNotConnectEvenIfTheyAreAllowed) {
  options_.listener.denied = Networks("127.0.0.3");
  TestBridge bridge(options_);
  EXPECT_TRUE(IsClosed(bridge, "127.0.0.3"));
  EXPECT_EQ(CodeFor(bridge, "127.0.0.2"), kRegistered);
  options_.listener.allowed = Networks("127.0.0.0/8");
  TestBridge other(options_);
  EXPECT_TRUE(IsClosed(other, "127.0.0.3"));
  EXPECT_EQ(CodeFor(other, "127.0.0.2"), kRegistered);
}

TEST_F(ListenerAdmissionTest, WhatTheLimitsTurnAwayIsCountedFromZero) {
  for (const char* limit : {"connections_per_address", "requests_per_address",
                            "registrations_per_address", "registrations"})
    EXPECT_TRUE(HasRejected(limit, 0));
}

TEST_F(ListenerAdmissionTest, ConnectionsOfAnAddressBeyondTheLimitGetAGeneralError) {
  options_.listener.limits.connections = 1;
  TestBridge bridge(options_);
  {
    RawClient first(SocketFrom("127.0.0.2"), bridge.port());
    EXPECT_EQ(first.Ask(RegisterRequest("a")).code, kRegistered);
    RawClient second(SocketFrom("127.0.0.2"), bridge.port());
    ASSERT_EQ(second.Receive()->code, kGeneralError);
    EXPECT_TRUE(second.AtEnd());
    EXPECT_TRUE(HasRejected("connections_per_address", 1));
    EXPECT_EQ(CodeFor(bridge, "127.0.0.3"), kRegistered);
    EXPECT_EQ(first.Ask(RegisterRequest("b")).code, kRegistered);
  }
  // The end of the first is seen a moment later.
  uint16_t code = kGeneralError;
  for (int i = 0; i < kTries && code == kGeneralError; ++i) code = CodeFor(bridge, "127.0.0.2");
  EXPECT_EQ(code, kRegistered);
}

// For far longer than the test.
TEST_F(ListenerAdmissionTest, RequestsBeyondTheRateWait) {
  options_.listener.limits = {.requests = kOnce, .longest_wait = absl::Hours(2)};
  TestBridge bridge(options_);
  RawClient client(bridge.port());
  client.Send(absl::StrCat(RegisterRequest("a"), RegisterRequest("b")));
  EXPECT_EQ(client.Receive()->code, kRegistered);
  const auto has_waited = [&] {
    return HasCounted("backup_admission_delayed_total", "requests_per_address", 1);
  };
  for (int i = 0; i < kTries && !has_waited(); ++i)
    ASSERT_TRUE(bridge.listener().Turns(absl::Seconds(10)));
  EXPECT_TRUE(has_waited());
  EXPECT_EQ(CodeFor(bridge, "127.0.0.3"), kRegistered);
  bridge.DestroyListener();
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(ListenerAdmissionTest, ARequestThatWaitsIsServedInADrain) {
  options_.listener.limits.requests = {1, absl::Seconds(2)};
  TestBridge bridge(options_);
  RawClient client(bridge.port());
  client.Send(absl::StrCat(RegisterRequest("a"), RegisterRequest("b")));
  EXPECT_EQ(client.Receive()->code, kRegistered);
  EXPECT_TRUE(bridge.listener().Drain(absl::Seconds(20)));
  EXPECT_EQ(client.Receive()->code, kRegistered);
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(ListenerAdmissionTest, RequestsThatWouldWaitForTooLongGetAGeneralError) {
  options_.listener.limits.requests = kOnce;
  TestBridge bridge(options_);
  RawClient client(bridge.port());
  const ClientId id = client.Ask(RegisterRequest("a")).id();
  EXPECT_EQ(client.Ask(FileRequest(id, "file", kLargeContent)).code, kGeneralError);
  EXPECT_TRUE(HasRejected("requests_per_address", 1));
  EXPECT_EQ(CodeFor(bridge, "127.0.0.3"), kRegistered);
}

// Not as the dialect that its client seemed to speak until then.
TEST_F(ListenerAdmissionTest, ARefusedRequestIsAnsweredInItsOwnDialect) {
  options_.listener.limits.requests = {2, absl::Hours(1)};
  TestBridge bridge(options_);
  RawClient client(bridge.port());
  const ClientId id = client.Introduce("laptop");  // As families C and D do.
  constexpr uint16_t kGeneralErrorOfD = 1607;
  const std::string packet_of_d = wire::ByteWriter()
                                      .U32(16)
                                      .U32(10)
                                      .U16(1)
                                      .U16(1)
                                      .Bytes(NameField("a"))
                                      .Bytes(std::string(16, 'c'))
                                      .Take();
  EXPECT_EQ(client.Ask(AnyRequest(id, 1028, packet_of_d)).code, kGeneralErrorOfD);
}

// A passing trouble: some clients throw away who they are if their registration fails.
TEST_F(ListenerAdmissionTest, RegistrationsBeyondTheRateGetAGeneralErrorAndOthersGoOn) {
  options_.listener.limits.registrations = kOnce;
  TestBridge bridge(options_);
  const ClientId id = RawClient(bridge.port()).Introduce("a");
  RawClient second(bridge.port());
  EXPECT_EQ(second.Ask(RegisterRequest("b")).code, kGeneralError);
  EXPECT_TRUE(second.AtEnd());
  EXPECT_TRUE(HasRejected("registrations_per_address", 1));
  EXPECT_EQ(RawClient(bridge.port()).Ask(ReconnectRequest(id, "a")).code, kReconnected);
  EXPECT_EQ(CodeFor(bridge, "127.0.0.3"), kRegistered);
}

// Clients behind a balancer, as who comes from this machine may be trusted with everything.
class ListenerBansTest : public BehindBalancerTest {
 protected:
  ListenerBansTest() { options_.listener.ban_after = {2, absl::Hours(1)}; }

  // Of a client of that number.
  static std::string Header(absl::string_view address) {
    return absl::StrCat("PROXY TCP4 ", address, " 10.0.0.1 4660 1357\r\n");
  }
  // Sends these bytes on a connection of its own, which is closed without an answer then.
  static void SendAndBeClosed(const TestBridge& bridge, absl::string_view bytes) {
    RawClient client(bridge.port());
    client.Send(bytes);
    EXPECT_TRUE(client.AtEnd());
  }
  static uint16_t CodeFor(const TestBridge& bridge, absl::string_view address,
                          absl::string_view request) {
    return RawClient(bridge.port()).Ask(absl::StrCat(Header(address), request)).code;
  }
  // Soon: the bridge may answer before it counts.
  ::testing::AssertionResult HasOffences(absl::string_view kind, int count) const {
    const std::string line =
        absl::StrCat("backup_bridge_offences_total{kind=\"", kind, "\"} ", count, "\n");
    for (int tries = 0; tries < 10'000; ++tries) {
      if (absl::StrContains(metrics_.Text(), line)) return ::testing::AssertionSuccess();
      absl::SleepFor(absl::Milliseconds(1));
    }
    return ::testing::AssertionFailure() << metrics_.Text();
  }
};

// Longer than a header, so that it need not be waited for.
constexpr absl::string_view kForeign = "GET /index.html HTTP/1.1\r\nHost: bridge\r\n\r\n";
constexpr absl::string_view kScanner = "10.1.2.3";
constexpr absl::string_view kOther = "10.1.2.4";

TEST_F(ListenerBansTest, WhoSpeaksOtherProtocolsTooOftenIsTurnedAwayAndNobodyElse) {
  TestBridge bridge(options_);
  for (int i = 0; i < 3; ++i) SendAndBeClosed(bridge, absl::StrCat(Header(kScanner), kForeign));
  EXPECT_TRUE(HasOffences("foreign_protocol", 3));
  SendAndBeClosed(bridge, Header(kScanner));
  EXPECT_TRUE(HasRejected("banned", 1));
  EXPECT_TRUE(HasClosed("banned", 1));
  EXPECT_EQ(CodeFor(bridge, kOther, RegisterRequest("a")), kRegistered);
}

TEST_F(ListenerBansTest, EachKindOfOffenceCounts) {
  options_.listener.header_timeout = kShort;
  options_.listener.limits = {.registrations = kOnce};
  TestBridge bridge(options_);
  EXPECT_EQ(CodeFor(bridge, "10.0.0.1", AnyRequest(ClientId(), 9999, "")), kGeneralError);
  EXPECT_TRUE(HasOffences("unknown_request", 1));
  EXPECT_EQ(CodeFor(bridge, "10.0.0.2", AnyRequest(ClientId(), 1025, "no name")), kGeneralError);
  EXPECT_TRUE(HasOffences("malformed_head", 1));
  EXPECT_EQ(CodeFor(bridge, "10.0.0.3", RegisterRequest("a").substr(0, 30)), kGeneralError);
  EXPECT_TRUE(HasOffences("incomplete_head", 1));
  EXPECT_EQ(CodeFor(bridge, "10.0.0.4", RegisterRequest("b")), kRegistered);
  EXPECT_EQ(CodeFor(bridge, "10.0.0.4", RegisterRequest("c")), kGeneralError);
  EXPECT_TRUE(HasOffences("registrations", 1));
}

TEST_F(ListenerBansTest, AnOpenConnectionIsClosedAtItsNextRequest) {
  TestBridge bridge(options_);
  RawClient client(bridge.port());
  EXPECT_EQ(client.Ask(absl::StrCat(Header(kScanner), RegisterRequest("a"))).code, kRegistered);
  bridge.listener().bans().Add(*IpAddress::Parse(kScanner), "why", MonotonicClock::now());
  client.Send(RegisterRequest("b"));
  EXPECT_TRUE(client.AtEnd());
  EXPECT_TRUE(HasClosed("banned", 1));
}

TEST_F(ListenerBansTest, NetworksThatAreNeverBannedAreNot) {
  options_.listener.bans.never = Networks("10.1.0.0/16");
  TestBridge bridge(options_);
  for (int i = 0; i < 10; ++i) SendAndBeClosed(bridge, absl::StrCat(Header(kScanner), kForeign));
  EXPECT_TRUE(HasOffences("foreign_protocol", 10));
  EXPECT_EQ(CodeFor(bridge, kScanner, RegisterRequest("a")), kRegistered);
}

TEST_F(ListenerBansTest, TheAddressOfAClientThatWasServedIsTrusted) {
  TestBridge bridge(options_);
  RawClient client(bridge.port());
  client.Send(Header(kScanner));
  const ClientId id = client.Introduce("a");
  EXPECT_EQ(client.Ask(FileRequest(id, "file", "content")).code, kFileReceived);
  // A connection's next request is served when all of the one before is noted.
  EXPECT_EQ(client.Ask(ValidRequest(id, "file")).code, kAcknowledged);
  for (int i = 0; i < 10; ++i) SendAndBeClosed(bridge, absl::StrCat(Header(kScanner), kForeign));
  EXPECT_EQ(client.Ask(FileRequest(id, "file", "content")).code, kFileReceived);
}

// As all of a fleet do whose server lost its data.
TEST_F(ListenerBansTest, ClientsThatTheServiceDoesNotKnowCommitNoOffence) {
  TestBridge bridge(options_);
  const ClientId unknown = *ClientId::FromBytes(std::string(16, 'u'));
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(CodeFor(bridge, kScanner, ReconnectRequest(unknown, "a")), kReconnectDenied);
    EXPECT_EQ(CodeFor(bridge, kScanner, FileRequest(unknown, "file", "content")), kGeneralError);
    EXPECT_NE(CodeFor(bridge, kScanner, RegisterRequest("same")), 0);
  }
  EXPECT_EQ(metrics_.Text().find("backup_bridge_offences_total{"), std::string::npos);
}

}  // namespace
}  // namespace backup::bridge
