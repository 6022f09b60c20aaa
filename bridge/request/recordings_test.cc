// The recorded conversations of real clients against a whole bridge with a fake service: every
// answer has the code and the layout that the client met before, and what is the client's own comes
// back as it was sent.

#include <fstream>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/hex.h"
#include "bridge/testing/raw_client.h"
#include "bridge/testing/test_bridge.h"
#include "bridge/wire/testing/byte_writer.h"
#include "gtest/gtest.h"

namespace backup::bridge {
namespace {

using namespace ::backup::bridge::testing;  // NOLINT: the test client.

constexpr size_t kFileAnswerSize = 279;
constexpr size_t kNameAt = 20;  // In that answer.
constexpr size_t kNameSize = 255;

bool IsRegistered(uint16_t code) { return code == 2100 || code == 1600; }
bool IsAcknowledged(uint16_t code) { return code == 2104 || code == 1604; }

// A recorded client, and what is different with it.
struct Recorded {
  const char* name;
  AnswerForm form = {};
  bool ends = false;  // Its server ends the connection after each answer.
};

// A client that says what was recorded, under the id that this bridge gave it.
class Recording {
 public:
  Recording(int port, const Recorded& recorded) : port_(port), recorded_(recorded) {}

  void Play() {
    SCOPED_TRACE(recorded_.name);
    std::ifstream in(absl::StrCat(WIRE_TRANSCRIPTS "/", recorded_.name, ".txt"));
    ASSERT_TRUE(in.is_open());
    for (std::string line; std::getline(in, line);) {
      absl::string_view rest = line;
      if (absl::StartsWith(rest, "## ")) client_ = std::make_unique<RawClient>(port_);
      if (absl::ConsumePrefix(&rest, "C> ")) Say(*HexToBytes(rest));
      if (absl::ConsumePrefix(&rest, "S> ")) Hear(*HexToBytes(rest));
    }
    EXPECT_GE(answers_, 7);
  }

  // The last file, as it was on the wire.
  const std::string& last_file() const { return last_file_; }

 private:
  void Say(const std::string& recorded) {
    last_ =
        recorded_id_.empty() ? recorded : absl::StrReplaceAll(recorded, {{recorded_id_, our_id_}});
    client_->Send(last_);
  }

  void Hear(const std::string& bytes) {
    const std::optional<RawReply> recorded = ParseAnswer(bytes, recorded_.form);
    ASSERT_TRUE(recorded.has_value());
    const std::optional<RawReply> reply = client_->Receive(recorded_.form);
    ASSERT_TRUE(reply.has_value()) << "no answer like " << absl::BytesToHexString(bytes);
    ++answers_;
    EXPECT_EQ(reply->code, recorded->code);
    if (IsRegistered(recorded->code)) {
      recorded_id_ = recorded->payload;
      our_id_ = reply->payload;
    }
    EXPECT_EQ(reply->payload.substr(0, ClientId::kSize), our_id_);
    if (recorded_.ends) {
      EXPECT_TRUE(client_->AtEnd());
    }
    if (IsAcknowledged(recorded->code)) {
      EXPECT_EQ(reply->payload.size(), ClientId::kSize);  // Some servers sent nothing.
      return;
    }
    EXPECT_EQ(reply->payload.size(), recorded->payload.size());
    if (reply->payload.size() != kFileAnswerSize) return;
    last_file_ = last_;
    // Content size and name field, which some servers changed, stand in the request.
    EXPECT_TRUE(absl::StrContains(last_, reply->payload.substr(kNameAt, kNameSize)));
  }

  const int port_;
  const Recorded recorded_;
  std::unique_ptr<RawClient> client_;
  std::string recorded_id_;
  std::string our_id_;
  std::string last_;
  std::string last_file_;
  int answers_ = 0;
};

constexpr AnswerForm kInBlocks{.multiple_of = 1024};
constexpr AnswerForm kWithPaddedHeader{.version_size = 2, .multiple_of = 1024};
constexpr AnswerForm kBigEndian{.is_big_endian = true};
constexpr Recorded kA2{"a2", kInBlocks};
constexpr Recorded kB2{"b2", kInBlocks, true};
constexpr Recorded kB3{"b3", kWithPaddedHeader, true};
constexpr Recorded kE3{"e3", kBigEndian};

TEST(Recordings, OfEveryFamilyAreAnsweredOnOnePort) {
  TestBridge bridge;
  for (const Recorded& recorded :
       {Recorded{"a1"}, kA2, Recorded{"b1"}, kB2, kB3, Recorded{"c1"}, Recorded{"c2"},
        Recorded{"c3"}, Recorded{"e1"}, Recorded{"e2"}, kE3}) {
    Recording(bridge.port(), recorded).Play();
  }
}

TEST(Recordings, OfFamilyDAreAnsweredWhereItIsExpected) {
  TestBridge bridge(WithDialects({}, {.preferred = "D"}));
  Recording(bridge.port(), {"d1"}).Play();
}

using Header = v1::UploadFileHeader;

// What becomes of the file: the client's record, how it is encrypted, and its ciphertext.
struct Upload {
  v1::LegacyProfile profile;
  Header header;
  std::string content;
  std::string message;  // On the wire.
};
Upload UploadOf(const Recorded& recorded, const std::string& file_name) {
  TestBridge bridge;
  Recording recording(bridge.port(), recorded);
  recording.Play();
  const Header header = bridge.service().last_upload();
  return {bridge.service().profile(header.client_id()), header,
          bridge.service().content(file_name).value_or(""), recording.last_file()};
}

TEST(Recordings, B3IsUploadedInPiecesOf32Bytes) {
  const Upload upload = UploadOf(kB3, "hello.txt");
  EXPECT_EQ(upload.profile.family(), "b3");
  EXPECT_EQ(upload.header.encoding(), Header::AES_CBC_SEGMENTS);
  EXPECT_EQ(upload.header.segment_size(), 32);
  EXPECT_EQ(upload.header.encoded_size(), 6000);
  EXPECT_TRUE(upload.content == upload.message.substr(24 + 260));
}

TEST(Recordings, E3IsUploadedAsOneCiphertextWithItsInitialVector) {
  const Upload upload = UploadOf(kE3, "hello.txt");
  EXPECT_EQ(upload.profile.family(), "e3");
  EXPECT_EQ(upload.header.encoding(), Header::AES_CBC);
  EXPECT_EQ(upload.header.initial_vector(), Header::IN_FRONT);
  EXPECT_EQ(upload.header.encoded_size(), 3024);
  constexpr size_t kHeader = 23, kFields = 267, kPart = 1024, kPacket = kFields + kPart;
  std::string content;
  for (size_t packet = 0; packet < 3; ++packet)
    content += upload.message.substr(kHeader + packet * kPacket + kFields, kPart);
  EXPECT_TRUE(upload.content == content.substr(0, 3024));
}

TEST(Recordings, B2IsUploadedInASegmentForEachBlock) {
  const Upload upload = UploadOf(kB2, "second.txt");
  EXPECT_EQ(upload.profile.family(), "B");
  EXPECT_EQ(upload.profile.framing(), "blocks of 1024 bytes");
  EXPECT_EQ(upload.header.encoding(), Header::AES_CBC_ZERO_IV_SEGMENTS);
  EXPECT_EQ(upload.header.segment_count(), 2);
  const auto segment = [](absl::string_view bytes) {
    return wire::ByteWriter().U32(static_cast<uint32_t>(bytes.size())).Bytes(bytes).Take();
  };
  constexpr size_t kHead = 23 + 259, kFirst = 736, kMessage = 1024, kSize = 1520;
  EXPECT_TRUE(upload.content == segment(upload.message.substr(kHead, kFirst)) +
                                    segment(upload.message.substr(kMessage, kSize - kFirst)));
}

TEST(Recordings, A2IsOneOfTheFamiliesThatAreTakenForAUntilItsFirstFile) {
  const Upload upload = UploadOf(kA2, "hello.txt");
  EXPECT_EQ(upload.profile.family(), "a2");
  EXPECT_EQ(upload.header.encoding(), Header::AES_CBC_ZERO_IV);
  EXPECT_EQ(upload.header.checksum_candidate(), v1::CRC32_OF_PLAINTEXT);
  EXPECT_TRUE(upload.content == upload.message.substr(23 + 259, 3024));
}

}  // namespace
}  // namespace backup::bridge
