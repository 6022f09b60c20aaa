#include "bridge/wire/reading.h"

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "base/hex.h"
#include "base/testing/status_matchers.h"
#include "bridge/wire/built_in_texts.h"
#include "bridge/wire/dialect.h"
#include "bridge/wire/sample_requests.h"
#include "bridge/wire/testing/unusual_dialects.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace backup::wire {
namespace {

// Of a message: more than any head.
constexpr size_t kEnough = 700;

// The two readers of one description.
struct BothReaders {
  std::string name;
  Dialect codec;
  v1::Dialect description;
};

BothReaders Parse(std::string text, const std::string& name) {
  absl::StatusOr<Dialect> codec = ParseDialect(text, name);
  EXPECT_OK(codec);
  BothReaders both{name, *std::move(codec), {}};
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &both.description));
  return both;
}

// A built-in description with some of its text changed.
std::string Changed(absl::string_view file_name,
                    std::vector<std::pair<absl::string_view, absl::string_view>> changes) {
  for (const BuiltInText& built_in : kBuiltInTexts) {
    if (built_in.file_name != file_name) continue;
    for (const auto& change : changes) {
      EXPECT_TRUE(absl::StrContains(built_in.text, change.first)) << change.first;
    }
    changes.emplace_back("name: \"", "name: \"changed-");
    return absl::StrReplaceAll(built_in.text, changes);
  }
  ADD_FAILURE() << "no " << file_name;
  return "";
}

std::vector<BothReaders> AllReaders() {
  std::vector<BothReaders> all;
  for (const BuiltInText& built_in : kBuiltInTexts) {
    all.push_back(Parse(std::string(built_in.text), std::string(built_in.file_name)));
  }
  constexpr absl::string_view kEither = "content_size_counts: CIPHERTEXT_OR_PLAINTEXT";
  constexpr absl::string_view kIdAndVersion =
      "request_header { kind: CLIENT_ID width: 16 }\nrequest_header { kind: VERSION width: 1 }";
  const std::vector<std::string> changed = {
      Changed("c.textproto", {{kEither, "content_size_counts: CIPHERTEXT text: HEX"}}),
      Changed("c.textproto", {{kEither, "content_size_counts: PLAINTEXT text: BASE64"},
                              {"session_key_bits: 128",
                               "session_key_bits: 128 initial_vector: IN_FRONT padding: ZEROS"}}),
      Changed("c.textproto", {{"length: BY_EITHER", "length: BY_CONTENT_SIZE"},
                              {kEither, "content_size_counts: WIRE content_size_excess: 4"}}),
      Changed("b3.textproto",
              {{"content_size_counts: PLAINTEXT", "content_size_counts: CIPHERTEXT"},
               {"padding: PKCS7_AND_SURPLUS", ""}}),
      Changed("b3.textproto", {{"content_size_factor: 2", "content_size_factor: 3"}}),
      Changed("e.textproto", {{kIdAndVersion,
                               "request_header { kind: CONSTANT width: 2 value: 513 }\n"
                               "request_header { kind: CLIENT_ID width: 16 }\n"
                               "request_header { kind: VERSION width: 1 }"}}),
      Changed("c.textproto", {{"kind: PUBLIC_KEY width: 160 }",
                               "kind: PUBLIC_KEY width: 0 max_width: 600 text: PEM }"},
                              {" may_be_shorter: true", ""}}),
  };
  for (size_t i = 0; i < changed.size(); ++i) {
    all.push_back(Parse(changed[i], absl::StrCat("changed", i, ".textproto")));
  }
  for (const auto& file :
       std::filesystem::directory_iterator(absl::StrCat(WIRE_TRANSCRIPTS, "/../dialects"))) {
    std::ifstream in(file.path());
    std::stringstream text;
    text << in.rdbuf();
    all.push_back(Parse(text.str(), file.path().filename()));
  }
  for (const absl::string_view unusual : {kTextDialect, kBareDialect}) {
    all.push_back(Parse(std::string(unusual), "unusual.textproto"));
  }
  return all;
}

// Every message that a client sent in the recordings.
std::vector<std::string> RecordedMessages() {
  std::vector<std::string> messages;
  for (const char* name :
       {"a1", "a2", "b1", "b2", "b3", "c1", "c2", "c3", "d1", "e1", "e2", "e3"}) {
    std::ifstream file(absl::StrCat(WIRE_TRANSCRIPTS, "/", name, ".txt"));
    EXPECT_TRUE(file.is_open()) << name;
    for (std::string line; std::getline(file, line);) {
      if (!absl::StartsWith(line, "C> ")) continue;
      const std::optional<std::string> bytes = HexToBytes(line.substr(3));
      EXPECT_TRUE(bytes.has_value()) << name;
      messages.push_back(bytes->substr(0, kEnough));
    }
  }
  return messages;
}

// Those, and made-up ones of all dialects.
std::vector<std::string> AllMessages(const std::vector<BothReaders>& all) {
  std::vector<std::string> messages = RecordedMessages();
  for (const BothReaders& both : all) {
    for (const SampleRequest& sample : SampleRequestsOf(both.codec, {1, 2, 3}))
      messages.push_back(sample.head);
  }
  return messages;
}

// Both read `bytes` alike: the same fits, with the same sizes.
bool ReadAlike(const BothReaders& both, const std::string& bytes) {
  const absl::StatusOr<std::optional<DecodedHead>> decoded = both.codec.DecodeHead(bytes);
  const Reading reading = ReadRequest(both.description, {bytes, {}}, 0);
  const bool is_head = decoded.ok() && decoded->has_value();
  EXPECT_EQ(reading.fits(), is_head) << both.name << ": " << decoded.status() << "; " << reading.why
                                     << "; " << absl::BytesToHexString(bytes.substr(0, 320));
  if (reading.fits() != is_head) return false;
  if (!is_head) return true;
  EXPECT_EQ(reading.head_size, (*decoded)->head_size) << both.name;
  EXPECT_EQ(reading.body_size, (*decoded)->body_size) << both.name;
  EXPECT_EQ(reading.version, (*decoded)->request.version) << both.name;
  const auto* const file = std::get_if<SendFile>(&(*decoded)->request.operation);
  if (file != nullptr) {
    EXPECT_EQ(reading.content_size, file->content_size);
    EXPECT_EQ(reading.blocks_size, file->blocks_size);
    EXPECT_EQ(reading.file_name, file->name_field);
    EXPECT_EQ(reading.id_in_payload, file->id_in_front);
  }
  return !::testing::Test::HasFailure();
}

TEST(ReadingTest, ReadsWhatTheCodecReads) {
  const std::vector<BothReaders> all = AllReaders();
  size_t fitting = 0;
  for (const std::string& message : AllMessages(all)) {
    for (const BothReaders& both : all) {
      ASSERT_TRUE(ReadAlike(both, message));
      if (ReadRequest(both.description, {message, {}}, 0).fits()) ++fitting;
    }
  }
  EXPECT_GT(fitting, 200u);
}

TEST(ReadingTest, ReadsDamagedRequestsAsTheCodecDoes) {
  const std::vector<BothReaders> all = AllReaders();
  const std::vector<std::string> messages = AllMessages(all);
  std::mt19937 random(16);  // NOLINT: the same each time.
  for (int i = 0; i < 10'000; ++i) {
    std::string bytes = messages[random() % messages.size()];
    for (size_t changes = random() % 4; changes > 0; --changes) {
      // Mostly where sizes are, and mostly small changes.
      const size_t at = random() % std::min<size_t>(bytes.size(), random() % 3 == 0 ? 300 : 48);
      bytes[at] = static_cast<char>(random() % 2 == 0 ? random() : bytes[at] + 1);
    }
    if (random() % 8 == 0) bytes.resize(random() % (bytes.size() + 1));
    if (random() % 16 == 0) bytes.insert(random() % (bytes.size() + 1) % 24, 1, '\0');
    for (const BothReaders& both : all) ASSERT_TRUE(ReadAlike(both, bytes));
  }
}

// Sizes that fit together seldom come about by chance: content sizes next to right ones.
TEST(ReadingTest, FindsTheSameSizesOfContent) {
  const std::vector<BothReaders> all = AllReaders();
  for (const std::string& message : RecordedMessages()) {
    for (const size_t at : {16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 39, 40}) {
      for (int value = -40; value < 40; value += 5) {
        std::string bytes = message;
        bytes[at] = static_cast<char>(bytes[at] + value);
        for (const BothReaders& both : all) ASSERT_TRUE(ReadAlike(both, bytes));
      }
    }
  }
}

TEST(ReadingTest, ShowsNoKeyAndNoContent) {
  const BothReaders c = Parse(Changed("c.textproto", {}), "c.textproto");
  for (const std::string& message : RecordedMessages()) {
    const Reading reading = ReadRequest(c.description, {message, {}}, 0);
    for (const FieldReading& field : reading.fields) {
      EXPECT_LE(field.hex.size(), 18u) << field.kind;
      if (field.kind == "PUBLIC_KEY") {
        EXPECT_EQ(field.hex + field.value, "160 bytes, not shown");
      }
    }
  }
}

TEST(ReadingTest, TellsWhatWasNotCaptured) {
  const BothReaders c = Parse(Changed("c.textproto", {}), "c.textproto");
  std::string message;
  for (const std::string& recorded : RecordedMessages()) {
    if (ReadRequest(c.description, {recorded, {}}, 0).fits()) message = recorded;
  }
  const Reading cut = ReadRequest(c.description, {message.substr(0, 100), {}}, 0);
  EXPECT_EQ(cut.state, Reading::State::kCut);
  EXPECT_EQ(cut.why, "178 bytes before the end of FILE_NAME");
  const Reading gap = ReadRequest(c.description, {message, {{20, 2}}}, 0);
  EXPECT_EQ(gap.state, Reading::State::kGap);
  EXPECT_EQ(gap.why, "2 bytes of PAYLOAD_SIZE at 19 were not captured");
}

}  // namespace
}  // namespace backup::wire
