// Requests of one client take effect in the order in which they arrived, on whichever connections,
// and verdicts on the uploads that they are about.

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/metrics.h"
#include "bridge/testing/raw_client.h"
#include "bridge/testing/test_bridge.h"
#include "bridge/wire/testing/byte_writer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using namespace ::backup::bridge::testing;  // NOLINT: requests and codes of the test client.
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr absl::Duration kLong = absl::Seconds(20);

class OrderTest : public ::testing::Test {
 protected:
  OrderTest() : bridge_(Options()) {
    RawClient client(bridge_.port());
    id_ = client.Introduce("laptop");
    EXPECT_EQ(client.Ask(FileRequest(id_, "a", "first")).code, kFileReceived);
  }

  TestBridgeOptions Options() {
    TestBridgeOptions options;
    options.backend.metrics = BridgeMetrics(metrics_);
    return options;
  }

  // As some clients do: on a connection of its own, hanging up without reading.
  void SendRetryNotice() { RawClient(bridge_.port()).Send(RetryRequest(id_, "a")); }
  // The calls since those of the constructor.
  std::vector<std::string> Calls() {
    const std::vector<std::string> calls = bridge_.service().calls();
    return {calls.begin() + 3, calls.end()};
  }
  // Until the loop has dealt with all that came before.
  void WaitForLoop() {
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(bridge_.listener().Turns(kLong));
  }
  std::string Uploads(int count) {
    return absl::StrCat("grpc_client_attempt_started_total{grpc_method=\"UploadFile\"} ", count,
                        "\n");
  }

  Metrics metrics_;
  TestBridge bridge_;
  ClientId id_;
};

TEST_F(OrderTest, AnUploadWaitsForTheAnswerToTheRetryNoticeBeforeIt) {
  bridge_.service().HoldCalls();
  SendRetryNotice();
  bridge_.service().WaitForCalls(4);
  RawClient client(bridge_.port());
  client.Send(FileRequest(id_, "a", "second"));
  WaitForLoop();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Uploads(1)));
  bridge_.service().ReleaseCalls();
  EXPECT_EQ(client.Receive()->code, kFileReceived);
  EXPECT_THAT(Calls(), ElementsAre("ReportTransfer RETRYING", "UploadFile"));
}

TEST_F(OrderTest, ARetryNoticeThatMetAnUnavailableServiceStillComesFirst) {
  bridge_.service().FailNextCall(absl::UnavailableError("restarting"));
  SendRetryNotice();
  bridge_.service().WaitForCalls(4);
  EXPECT_EQ(RawClient(bridge_.port()).Ask(FileRequest(id_, "a", "second")).code, kFileReceived);
  EXPECT_THAT(Calls(),
              ElementsAre("ReportTransfer RETRYING", "ReportTransfer RETRYING", "UploadFile"));
}

TEST_F(OrderTest, TheOrderSurvivesARestartOfTheService) {
  for (int round = 1; round <= 3; ++round) {
    SCOPED_TRACE(round);
    bridge_.server().Stop();
    SendRetryNotice();
    RawClient client(bridge_.port());
    client.Send(FileRequest(id_, "a", "next"));
    WaitForLoop();
    bridge_.server().Start();
    EXPECT_EQ(client.Receive()->code, kFileReceived);
    const std::vector<std::string> calls = Calls();
    ASSERT_EQ(calls.size(), 2u * round);
    EXPECT_EQ(calls[calls.size() - 2], "ReportTransfer RETRYING");
  }
}

TEST_F(OrderTest, ARequestOnAnOldConnectionComesBeforeALaterOneOnANewConnection) {
  constexpr int kRounds = 100;
  RawClient old(bridge_.port());
  for (int round = 0; round < kRounds; ++round) {
    old.Send(AbortRequest(id_, "a"));
    ASSERT_EQ(RawClient(bridge_.port()).Ask(FileRequest(id_, "a", "next")).code, kFileReceived);
    ASSERT_EQ(old.Receive()->code, kAcknowledged);
    ASSERT_EQ(Calls().back(), "UploadFile") << round;
  }
}

TEST_F(OrderTest, AFileThatIsStillComingHoldsUpNobody) {
  RawClient slow(bridge_.port());
  const std::string upload = FileRequest(id_, "large", std::string(160'000, 'x'));
  slow.Send(absl::string_view(upload).substr(0, upload.size() - 1));
  bridge_.service().WaitForCalls(4);
  RawClient client(bridge_.port());
  EXPECT_EQ(client.Ask(AbortRequest(id_, "a")).code, kAcknowledged);
  slow.Send(absl::string_view(upload).substr(upload.size() - 1));
  EXPECT_EQ(slow.Receive()->code, kFileReceived);
}

TEST_F(OrderTest, AStreamedFileEndsAfterTheRequestsBeforeItsLastByte) {
  RawClient slow(bridge_.port());
  const std::string upload = FileRequest(id_, "large", std::string(160'000, 'x'));
  slow.Send(absl::string_view(upload).substr(0, upload.size() - 1));
  bridge_.service().WaitForCalls(4);
  bridge_.service().HoldCalls();
  SendRetryNotice();
  bridge_.service().WaitForCalls(5);
  slow.Send(absl::string_view(upload).substr(upload.size() - 1));
  // It has time to come, but must not.
  const absl::Time end = absl::Now() + absl::Milliseconds(50);
  while (!bridge_.service().content("large") && absl::Now() < end)
    absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(bridge_.service().content("large"), std::nullopt);
  bridge_.service().ReleaseCalls();
  EXPECT_EQ(slow.Receive()->code, kFileReceived);
}

// When the bytes of a retry notice come that has its connection since the answer that it is about.
enum class NoticeComes { kAtOnce, kAsTheNextUploadComes, kAfterItsAnswer, kAfterItsVerdict };
constexpr NoticeComes kAllTimes[] = {NoticeComes::kAtOnce, NoticeComes::kAsTheNextUploadComes,
                                     NoticeComes::kAfterItsAnswer, NoticeComes::kAfterItsVerdict};

class VerdictTest : public OrderTest {
 protected:
  std::string LastUpload() { return bridge_.service().upload_ids().back(); }
  size_t Retries() {
    const std::vector<std::string> calls = bridge_.service().calls();
    return std::count(calls.begin(), calls.end(), "ReportTransfer RETRYING");
  }

  // Sends `file` on a connection of its own, gets an answer, and sends `notice` on one of its own,
  // but only at that time; meanwhile `file` again and `valid` on others. Each verdict must hit its
  // upload.
  void Converse(const std::string& file, const std::string& notice, const std::string& valid,
                NoticeComes when) {
    ASSERT_EQ(RawClient(bridge_.port()).Ask(file).code, kFileReceived);
    const std::string wrong = LastUpload();
    auto noticing = std::make_optional<RawClient>(bridge_.port());
    const auto send_notice = [&](NoticeComes now) {
      if (now != when) return;
      const size_t before = Retries();
      noticing->Send(notice);
      noticing.reset();  // Hangs up without reading.
      bridge_.service().WaitUntil([&] { return Retries() > before; });
      EXPECT_EQ(bridge_.service().last_report().upload_id(), wrong);
    };
    send_notice(NoticeComes::kAtOnce);
    RawClient again(bridge_.port());
    again.Send(absl::string_view(file).substr(0, file.size() - 1));
    send_notice(NoticeComes::kAsTheNextUploadComes);
    again.Send(absl::string_view(file).substr(file.size() - 1));
    ASSERT_EQ(again.Receive()->code, kFileReceived);
    const std::string right = LastUpload();
    ASSERT_NE(right, wrong);
    send_notice(NoticeComes::kAfterItsAnswer);
    ASSERT_EQ(RawClient(bridge_.port()).Ask(valid).code, kAcknowledged);
    EXPECT_EQ(bridge_.service().last_report().outcome(), v1::ReportTransferRequest::VERIFIED);
    EXPECT_EQ(bridge_.service().last_report().upload_id(), right);
    send_notice(NoticeComes::kAfterItsVerdict);
  }
};

TEST_F(VerdictTest, HitsItsUploadHoweverLateItsBytesCome) {
  for (const size_t size : {10, 160'000}) {  // The larger one is streamed.
    for (const NoticeComes when : kAllTimes) {
      SCOPED_TRACE(absl::StrCat(size, " bytes, time ", static_cast<int>(when)));
      Converse(FileRequest(id_, "a", std::string(size, 'x')), RetryRequest(id_, "a"),
               ValidRequest(id_, "a"), when);
    }
  }
}

TEST_F(VerdictTest, HitsItsUploadOfAFileInBlocksOfAClientThatPads) {
  const auto padded = [](std::string message) {
    message.resize((message.size() + 1023) / 1024 * 1024);
    return message;
  };
  const auto name = [](std::string text) {
    text.resize(255);
    return text;
  };
  // 736 bytes in the first message, 1 024 and 272 in the others.
  const std::string content(736 + 1024 + 272, 'x');
  std::string first = AnyRequest(
      id_, 1103,
      wire::ByteWriter().U32(content.size()).Bytes(name("b")).Bytes(content.substr(0, 736)).Take());
  const std::string file = padded(first) + padded(content.substr(736));
  for (const NoticeComes when : kAllTimes) {
    SCOPED_TRACE(static_cast<int>(when));
    Converse(file, padded(AnyRequest(id_, 1105, name("b"))),
             padded(AnyRequest(id_, 1104, name("b"))), when);
  }
  EXPECT_EQ(bridge_.service().last_upload().segment_count(), 3);
  EXPECT_EQ(bridge_.service().content("b")->size(), content.size() + 3 * sizeof(uint32_t));
}

TEST_F(VerdictTest, IsAboutTheNewestUploadIfTheBridgeKnowsNone) {
  EXPECT_EQ(RawClient(bridge_.port()).Ask(ValidRequest(id_, "sent elsewhere")).code, kAcknowledged);
  EXPECT_EQ(bridge_.service().last_report().upload_id(), "");
}

TEST_F(VerdictTest, IsNotAboutAnUploadThatFailed) {
  const std::string before = LastUpload();
  bridge_.service().FailNextCall(absl::InternalError("no"));
  EXPECT_EQ(RawClient(bridge_.port()).Ask(FileRequest(id_, "a", "second")).code, kGeneralError);
  EXPECT_EQ(RawClient(bridge_.port()).Ask(ValidRequest(id_, "a")).code, kAcknowledged);
  EXPECT_EQ(bridge_.service().last_report().upload_id(), before);
}

}  // namespace
}  // namespace backup::bridge
