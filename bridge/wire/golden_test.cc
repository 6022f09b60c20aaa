// What real clients of family C sent, and what their own servers answered: the transcripts in
// tests/testdata/wire.
#include <charconv>
#include <fstream>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/checksum.h"
#include "base/hex.h"
#include "base/testing/status_matchers.h"
#include "bridge/wire/dialects.h"
#include "bridge/wire/testing/byte_reader.h"
#include "bridge/wire/testing/request_bytes.h"
#include "gtest/gtest.h"

namespace backup::wire {
namespace {

struct Message {
  std::string bytes;
  std::string note;  // What the transcript says about it.
};

// A request and what was answered.
struct Exchange {
  Message request;
  Message answer;
};

struct Transcript {
  std::string plaintext;  // Of the one file in it.
  std::vector<Exchange> exchanges;
};

Transcript ReadTranscript(const std::string& name) {
  std::ifstream in(absl::StrCat(WIRE_TRANSCRIPTS, "/", name, ".txt"));
  EXPECT_TRUE(in.is_open()) << name;
  Transcript transcript;
  Message* last = nullptr;
  for (std::string line; std::getline(in, line);) {
    absl::string_view rest = line;
    if (absl::ConsumePrefix(&rest, "C> ")) {
      transcript.exchanges.emplace_back();
      last = &transcript.exchanges.back().request;
      last->bytes = *HexToBytes(rest);
    } else if (absl::ConsumePrefix(&rest, "S> ")) {
      last = &transcript.exchanges.back().answer;
      last->bytes = *HexToBytes(rest);
    } else if (absl::ConsumePrefix(&rest, "#  ")) {
      last->note = std::string(rest);
    } else if (absl::ConsumePrefix(&rest, "# plaintext file hello.txt hex: ")) {
      transcript.plaintext = *HexToBytes(rest);
    }
  }
  return transcript;
}

// The number after `key` in a transcript's note.
uint32_t Noted(const std::string& note, const std::string& key) {
  std::smatch match;
  if (!std::regex_search(note, match, std::regex("\\b" + key + "[ =](0x)?([0-9a-f]+)"))) {
    ADD_FAILURE() << "no " << key << " in: " << note;
    return 0;
  }
  const std::string digits = match[2];
  uint32_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value, match[1].matched ? 16 : 10);
  return value;
}

std::string NotedName(const std::string& note) {
  std::smatch match;
  return std::regex_search(note, match, std::regex("name=\"([^\"]*)\"")) ? match[1] : std::string();
}

const Dialect& DialectOfTranscripts() { return BuiltInDialects()[1]; }

// A transcript's request, decoded; its body is the bytes after its head.
DecodedHead Decode(const Message& request) {
  auto decoded = DialectOfTranscripts().DecodeHead(request.bytes);
  EXPECT_OK(decoded);
  return decoded.value().value();
}

std::string Body(const Message& request, const DecodedHead& head) {
  return request.bytes.substr(head.head_size);
}

template <typename Sum>
uint32_t SumOf(const std::string& bytes) {
  Sum sum;
  sum.Update(bytes);
  return sum.Value();
}

// Our answer to each kind of request. What only the service knows (a new id, the encrypted session
// key) is taken from the recorded answer, everything else from the request.
struct OurAnswer {
  const Transcript& transcript;
  const Exchange& exchange;
  const DecodedHead& head;

  ClientId id() const { return head.request.client_id; }
  std::string RecordedKey() const {
    return exchange.answer.bytes.substr(kReplyHeaderSize + ClientId::kSize);
  }

  Reply operator()(const Register&) const {
    return Registered{*ClientId::FromBytes(exchange.answer.bytes.substr(kReplyHeaderSize))};
  }
  Reply operator()(const SendPublicKey&) const { return KeyAccepted{id(), RecordedKey()}; }
  Reply operator()(const Reconnect&) const { return Reconnected{id(), RecordedKey()}; }
  Reply operator()(const SendFile& file) const {
    const uint32_t checksum = file.first_checksum == Checksum::kCrc32OfCiphertext
                                  ? SumOf<Crc32>(Body(exchange.request, head))
                                  : SumOf<Cksum>(transcript.plaintext);
    return FileReceived{id(), file.content_size, file.name_field, checksum};
  }
  Reply operator()(const ChecksumVerdict&) const { return Acknowledged{id()}; }
};

// What the server of the transcript would have answered if it answered as we do in the two things
// that differ between servers: the version, and the id in an acknowledgement.
std::string AsWeAnswer(std::string recorded, const ClientId& id) {
  const std::string acknowledged_without_id("\x38\x08\0\0\0\0", 6);
  if (recorded.substr(1) == acknowledged_without_id) {
    recorded[3] = static_cast<char>(ClientId::kSize);
    absl::StrAppend(&recorded, id.bytes());
  }
  recorded[0] = 3;
  return recorded;
}

// Which alternative of Operation a request code of family C stands for.
size_t KindOfCode(uint32_t code) {
  static const auto& kinds = *new std::map<uint32_t, size_t>{
      {1025, Operation(Register{}).index()},        {1026, Operation(SendPublicKey{}).index()},
      {1027, Operation(Reconnect{}).index()},       {1028, Operation(SendFile{}).index()},
      {1029, Operation(ChecksumVerdict{}).index()},
  };
  return kinds.at(code);
}

class Golden : public ::testing::TestWithParam<std::string> {
 protected:
  const Transcript transcript_ = ReadTranscript(GetParam());
};

TEST_P(Golden, HasAFirstRunAndASecond) {
  std::vector<uint32_t> codes;
  for (const Exchange& exchange : transcript_.exchanges) {
    codes.push_back(Noted(exchange.request.note, "code"));
  }
  EXPECT_EQ(codes, (std::vector<uint32_t>{1025, 1026, 1028, 1029, 1027, 1028, 1029}));
  EXPECT_EQ(transcript_.plaintext.size(), 3000u);
}

TEST_P(Golden, DecodesEveryRequestAsTheTranscriptSays) {
  for (const Exchange& exchange : transcript_.exchanges) {
    const Message& request = exchange.request;
    SCOPED_TRACE(request.note);
    const DecodedHead head = Decode(request);
    EXPECT_EQ(head.request.code, Noted(request.note, "code"));
    EXPECT_EQ(head.request.version, Noted(request.note, "ver"));
    EXPECT_EQ(head.head_size + head.body_size, Noted(request.note, "wire"));
    EXPECT_EQ(head.head_size + head.body_size, request.bytes.size());
    EXPECT_EQ(head.request.operation.index(), KindOfCode(head.request.code));
    if (const auto* file = std::get_if<SendFile>(&head.request.operation)) {
      EXPECT_EQ(file->content_size, Noted(request.note, "content_size"));
      EXPECT_EQ(head.body_size, Noted(request.note, "ct"));
      EXPECT_EQ(file->name, NotedName(request.note));
      EXPECT_EQ(file->first_checksum == Checksum::kCrc32OfCiphertext,
                absl::StrContains(exchange.answer.note, "zlib-crc32/ciphertext"));
    } else if (const auto* key = std::get_if<SendPublicKey>(&head.request.operation)) {
      EXPECT_EQ(key->public_key.size(), Noted(request.note, "key"));
      EXPECT_EQ(key->name, NotedName(request.note));
    }
  }
}

TEST_P(Golden, KeepsOneNameForTheClientAndOneForTheFile) {
  const std::string client_name = NotedName(transcript_.exchanges[0].request.note);
  EXPECT_TRUE(absl::StartsWith(client_name, "User "));
  for (const Exchange& exchange : transcript_.exchanges) {
    const DecodedHead head = Decode(exchange.request);
    if (const auto* operation = std::get_if<Register>(&head.request.operation)) {
      EXPECT_EQ(operation->name, client_name);
    } else if (const auto* reconnect = std::get_if<Reconnect>(&head.request.operation)) {
      EXPECT_EQ(reconnect->name, client_name);
    } else if (const auto* verdict = std::get_if<ChecksumVerdict>(&head.request.operation)) {
      EXPECT_EQ(verdict->kind, ChecksumVerdict::Kind::kValid);
      EXPECT_EQ(verdict->name, "hello.txt");
    }
  }
}

TEST_P(Golden, AnswersAsItsOwnServerDid) {
  for (const Exchange& exchange : transcript_.exchanges) {
    SCOPED_TRACE(exchange.answer.note);
    const DecodedHead head = Decode(exchange.request);
    const Reply reply = std::visit(OurAnswer{transcript_, exchange, head}, head.request.operation);
    const std::string ours = DialectOfTranscripts().EncodeReply(reply, &head.request);
    EXPECT_EQ(absl::BytesToHexString(ours),
              absl::BytesToHexString(AsWeAnswer(exchange.answer.bytes, head.request.client_id)));
  }
}

INSTANTIATE_TEST_SUITE_P(FamilyC, Golden, ::testing::Values("c1", "c2", "c3"),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace backup::wire
