// The recorded conversations of real clients against a whole bridge with a fake service: every
// answer has the code and the layout that the client met before, and what is the client's own comes
// back as it was sent.

#include <fstream>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/hex.h"
#include "bridge/testing/raw_client.h"
#include "bridge/testing/test_bridge.h"
#include "bridge/wire/byte_reader.h"
#include "bridge/wire/dialect.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using namespace ::backup::bridge::testing;  // NOLINT: the test client.

constexpr size_t kFileAnswerSize = 279;

uint16_t CodeOf(absl::string_view answer) { return wire::ByteReader(answer.substr(1)).U16(); }
bool IsRegistered(uint16_t code) { return code == 2100 || code == 1600; }
bool IsAcknowledged(uint16_t code) { return code == 2104 || code == 1604; }

// A client that says what was recorded, under the id that this bridge gave it.
class Recording {
 public:
  explicit Recording(int port) : port_(port) {}

  void Play(const std::string& path) {
    std::ifstream in(path);
    ASSERT_TRUE(in.is_open()) << path;
    for (std::string line; std::getline(in, line);) {
      absl::string_view rest = line;
      if (absl::StartsWith(rest, "## ")) client_ = std::make_unique<RawClient>(port_);
      if (absl::ConsumePrefix(&rest, "C> ")) Say(*HexToBytes(rest));
      if (absl::ConsumePrefix(&rest, "S> ")) Hear(*HexToBytes(rest));
    }
    EXPECT_GE(answers_, 7) << path;
  }

 private:
  void Say(const std::string& recorded) {
    last_ =
        recorded_id_.empty() ? recorded : absl::StrReplaceAll(recorded, {{recorded_id_, our_id_}});
    client_->Send(last_);
  }

  void Hear(const std::string& recorded) {
    const std::optional<RawReply> reply = client_->Receive();
    ASSERT_TRUE(reply.has_value()) << "no answer like " << absl::BytesToHexString(recorded);
    ++answers_;
    const uint16_t code = CodeOf(recorded);
    EXPECT_EQ(reply->code, code);
    if (IsRegistered(code)) {
      recorded_id_ = recorded.substr(wire::kReplyHeaderSize);
      our_id_ = reply->payload;
    }
    EXPECT_EQ(reply->payload.substr(0, ClientId::kSize), our_id_);
    if (IsAcknowledged(code)) {
      EXPECT_EQ(reply->payload.size(), ClientId::kSize);  // Some servers sent nothing.
      return;
    }
    EXPECT_EQ(reply->payload.size(), recorded.size() - wire::kReplyHeaderSize);
    if (reply->payload.size() != kFileAnswerSize) return;
    // Content size and name field, which some servers changed, stand in the request.
    EXPECT_TRUE(absl::StrContains(last_, reply->payload.substr(20, wire::kNameFieldSize)));
  }

  const int port_;
  std::unique_ptr<RawClient> client_;
  std::string recorded_id_;
  std::string our_id_;
  std::string last_;
  int answers_ = 0;
};

TEST(Recordings, OfEveryFamilyAreAnsweredOnOnePort) {
  TestBridge bridge;
  for (const std::string name : {"a1", "b1", "c1", "c2", "c3", "e1", "e2"}) {
    SCOPED_TRACE(name);
    Recording(bridge.port()).Play(WIRE_TRANSCRIPTS "/" + name + ".txt");
  }
}

TEST(Recordings, OfFamilyDAreAnsweredWhereItIsExpected) {
  TestBridgeOptions options;
  options.listener.session.family_of_shared_codes = "D";
  TestBridge bridge(options);
  Recording(bridge.port()).Play(WIRE_TRANSCRIPTS "/d1.txt");
}

}  // namespace
}  // namespace backup::bridge
