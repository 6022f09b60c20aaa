// Whole conversations in dialects other than the families', with a server that is written by hand
// from the recordings and not from the descriptions.
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/checksum.h"
#include "base/hex.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "legacy_client/conversation.h"
#include "legacy_client/testing/fake_server.h"

namespace backup::legacy_client {
namespace {

using ::backup::testing::PseudoRandomBytes;
using testing::FakeServer;
using testing::Received;
using testing::Reply;

constexpr char kClientId[] = "ABCDEFGHIJKLMNOP";
constexpr size_t kFileSize = 3000;

uint32_t IntegerAt(absl::string_view bytes, size_t at, size_t width, bool big = false) {
  uint32_t value = 0;
  for (size_t i = 0; i < width; ++i) {
    value = value << 8 | static_cast<uint8_t>(bytes[big ? at + i : at + width - 1 - i]);
  }
  return value;
}

std::string Integer(uint32_t value, size_t width, bool big = false) {
  std::string bytes(width, '\0');
  for (size_t i = 0; i < width; ++i) {
    bytes[big ? width - 1 - i : i] = static_cast<char>(value >> (8 * i));
  }
  return bytes;
}

std::string Padded(std::string bytes) {
  bytes.resize((bytes.size() + 1023) / 1024 * 1024);
  return bytes;
}

template <typename Checksum>
uint32_t Sum(absl::string_view bytes) {
  Checksum checksum;
  checksum.Update(bytes);
  return checksum.Value();
}

// A server of one dialect.
struct Served {
  std::string name;
  ClientStyle style;
  std::function<size_t(absl::string_view)> request_size;
  std::function<int(absl::string_view)> code;
  std::function<std::string(absl::string_view)> public_key;  // DER, from the request for a key.
  bool pkcs1_v15 = false;
  size_t session_key_size = 16;
  // An answer, whose payload says that it has so many bytes.
  std::function<std::string(int, absl::string_view, size_t)> answer;
  std::function<std::string(absl::string_view, uint32_t)> file_payload;  // Answer to a FILE.
  size_t file_uncounted = 0;
  std::function<uint32_t(absl::string_view)> checksum;  // Of the plaintext.
  std::vector<int> requests;  // Register, key, reconnect or key, file, valid, retry.
  std::vector<int> answers;   // Registered, key, reconnected or key, file, acknowledged.
  bool hangs_up = false;
  std::string id_in_answers = kClientId;
  // Whether all requests after the registration have zeros for an id; where it begins, or npos.
  size_t zero_id_at = std::string::npos;
};

class DialectConversation : public ::testing::TestWithParam<Served> {
 protected:
  DialectConversation() {
    std::string pattern = absl::StrCat(::testing::TempDir(), "/dialect_conversation_test.XXXXXX");
    dir_ = mkdtemp(pattern.data());
    std::ofstream(path(), std::ios::binary) << content_;
  }
  ~DialectConversation() override { std::filesystem::remove_all(dir_); }

  std::string path() const { return absl::StrCat(dir_, "/hello.txt"); }

  FakeServer::Step Answering(int code, std::function<std::string(const Received&)> payload,
                             size_t uncounted = 0) const {
    return [this, code, payload, uncounted](const Received& request) {
      const std::string bytes = payload(request);
      return Reply{served_.answer(code, bytes, bytes.size() - uncounted), false, served_.hangs_up};
    };
  }
  FakeServer::Step WithKey(int code) {
    return Answering(code, [this](const Received& request) {
      if (served_.code(request.bytes) == served_.requests[1]) {
        public_key_ = served_.public_key(request.bytes);
      }
      const std::string session_key(served_.session_key_size, 'k');
      const std::string encrypted =
          testing::EncryptForClient(public_key_, session_key, served_.pkcs1_v15);
      return absl::StrCat(served_.id_in_answers, encrypted);
    });
  }
  FakeServer::Step OfFile(uint32_t error) const {
    return Answering(
        served_.answers[3],
        [this, error](const Received& request) {
          return served_.file_payload(request.bytes, served_.checksum(content_) + error);
        },
        served_.file_uncounted);
  }
  FakeServer::Step Acknowledging() const {
    return Answering(served_.answers[4], [this](const Received&) { return served_.id_in_answers; });
  }

  const Served served_ = GetParam();
  const std::string content_ = PseudoRandomBytes(kFileSize);
  std::string public_key_;
  std::string dir_;
};

TEST_P(DialectConversation, RegistersSendsAFileTwiceAndComesBack) {
  const std::vector<int>& answers = served_.answers;
  testing::FakeFamily family;
  family.request_size = served_.request_size;
  FakeServer server({Answering(answers[0], [](const Received&) { return std::string(kClientId); }),
                     WithKey(answers[1]), OfFile(1), Acknowledging(), OfFile(0), Acknowledging(),
                     WithKey(answers[2]), OfFile(0), Acknowledging()},
                    family);
  ConversationOptions options;
  options.client_name = "laptop 7";
  options.dir = dir_;
  options.server = {"127.0.0.1", absl::StrCat(server.port())};
  options.style = served_.style;
  options.style.retry_notice = RetryNotice::kWait;
  for (const int tries : {2, 1}) {
    Conversation conversation(options);
    ASSERT_OK(conversation.Start());
    const auto sent = conversation.SendFile("hello.txt", path());
    ASSERT_OK(sent);
    EXPECT_EQ(sent->tries, tries);
  }
  std::vector<int> codes;
  for (const Received& request : server.Finish()) {
    codes.push_back(served_.code(request.bytes));
    if (served_.zero_id_at != std::string::npos) {
      EXPECT_EQ(request.bytes.substr(served_.zero_id_at, 16), std::string(16, '\0'));
    }
  }
  const std::vector<int>& c = served_.requests;
  EXPECT_EQ(codes, std::vector<int>({c[0], c[1], c[3], c[5], c[3], c[4], c[2], c[3], c[4]}));
}

std::string SmallAnswer(int code, absl::string_view payload, size_t size) {
  return absl::StrCat(Integer(3, 1), Integer(static_cast<uint32_t>(code), 2),
                      Integer(static_cast<uint32_t>(size), 4), payload);
}
std::string PaddedAnswer(int code, absl::string_view payload, size_t size) {
  return Padded(SmallAnswer(code, payload, size));
}

int CodeOf(absl::string_view request) { return static_cast<int>(IntegerAt(request, 17, 2)); }
std::string KeyOf(absl::string_view request) { return std::string(request.substr(23 + 255, 160)); }
// Content size and name are one after the other.
std::string FilePayload(absl::string_view request, uint32_t checksum) {
  return absl::StrCat(kClientId, request.substr(23, 4 + 255), Integer(checksum, 4));
}

Served A2() {
  Served served;
  served.name = "a2";
  served.style.dialect = BuiltInDialect("a2").value();
  served.request_size = [](absl::string_view bytes) {
    return bytes.size() < 23 ? 0 : (23 + size_t{IntegerAt(bytes, 19, 4)} + 1023) / 1024 * 1024;
  };
  served.code = CodeOf;
  served.public_key = KeyOf;
  served.answer = PaddedAnswer;
  served.file_payload = FilePayload;
  served.checksum = [](absl::string_view content) {
    std::string filled(content);
    filled.resize((content.size() + 15) / 16 * 16);
    return Sum<Crc32>(filled);
  };
  served.requests = {1100, 1101, 1101, 1102, 1104, 1105};
  served.answers = {2100, 2102, 2102, 2103, 2104};
  return served;
}

Served B2() {
  Served served = A2();
  served.name = "b2";
  served.style.dialect = FamilyDialect("B").value();
  served.style.file_style = FileStyle::kBlocks;
  served.style.blocks_1024 = true;
  served.request_size = [](absl::string_view bytes) -> size_t {
    if (bytes.size() < 27) return 0;
    if (CodeOf(bytes) != 1103) return 1024;
    const size_t in_first = IntegerAt(bytes, 19, 4) - 259;
    const size_t behind = IntegerAt(bytes, 23, 4) - in_first;
    return 1024 + (behind + 1023) / 1024 * 1024;
  };
  served.checksum = Sum<Cksum>;
  served.requests = {1100, 1101, 1102, 1103, 1104, 1105};
  served.answers = {2100, 2102, 2105, 2103, 2104};
  served.hangs_up = true;
  return served;
}

Served B3() {
  Served served;
  served.name = "b3";
  served.style.dialect = BuiltInDialect("b3").value();
  served.code = [](absl::string_view request) {
    return static_cast<int>(IntegerAt(request, 18, 2));
  };
  served.request_size = [](absl::string_view bytes) -> size_t {
    if (bytes.size() < 24) return 0;
    const size_t uncounted = IntegerAt(bytes, 18, 2) == 1103 ? 0 : 1;
    return 24 + IntegerAt(bytes, 20, 4) + uncounted;
  };
  served.public_key = [](absl::string_view request) {
    return std::string(request.substr(24 + 255, 160));
  };
  served.answer = [](int code, absl::string_view payload, size_t size) {
    return Padded(absl::StrCat(Integer(3, 2), Integer(static_cast<uint32_t>(code), 2),
                               Integer(static_cast<uint32_t>(size), 4), payload));
  };
  served.file_payload = [](absl::string_view request, uint32_t checksum) {
    return absl::StrCat(kClientId, request.substr(24, 4 + 255), "?", Integer(checksum, 4));
  };
  served.file_uncounted = 1;
  served.checksum = Sum<Crc32>;
  served.requests = {1100, 1101, 1102, 1103, 1104, 1105};
  served.answers = {2100, 2102, 2105, 2103, 2104};
  served.hangs_up = true;
  return served;
}

Served E3() {
  Served served;
  served.name = "e3";
  served.style.dialect = BuiltInDialect("e3").value();
  served.style.packet_size = 1024;
  served.code = [](absl::string_view request) {
    return static_cast<int>(IntegerAt(request, 17, 2, true));
  };
  served.request_size = [](absl::string_view bytes) -> size_t {
    if (bytes.size() < 35) return 0;
    const size_t first = IntegerAt(bytes, 19, 4, true);
    const bool is_file = IntegerAt(bytes, 17, 2, true) == 828;
    return 23 + first * (is_file ? IntegerAt(bytes, 23 + 10, 2, true) : 1);
  };
  served.public_key = KeyOf;
  served.session_key_size = 32;
  served.answer = [](int code, absl::string_view payload, size_t size) {
    return absl::StrCat(Integer(3, 1), Integer(static_cast<uint32_t>(code), 2, true),
                        Integer(static_cast<uint32_t>(size), 4, true), payload);
  };
  served.file_payload = [](absl::string_view request, uint32_t checksum) {
    return absl::StrCat(kClientId, request.substr(23, 4), request.substr(23 + 12, 255),
                        Integer(checksum, 4, true));
  };
  served.checksum = Sum<Cksum>;
  served.requests = {825, 826, 827, 828, 900, 901};
  served.answers = {1600, 1602, 1605, 1603, 1604};
  return served;
}

// A dialect that nobody has seen: other orders, texts, ids of zero, sizes of the rest.
Served Odd() {
  constexpr char kText[] = R"(
    name: "odd"
    byte_order: BIG
    request_header { kind: CODE width: 1 }
    request_header { kind: CLIENT_ID width: 16 }
    request_header { kind: PAYLOAD_SIZE width: 4 }
    answer_header { kind: PAYLOAD_SIZE width: 2 byte_order: LITTLE }
    answer_header { kind: CODE width: 1 }
    requests { kind: REGISTER codes: 1 fields { kind: CLIENT_NAME max_width: 64 } }
    requests { kind: PUBLIC_KEY codes: 2
               fields { kind: CLIENT_NAME width: 16 }
               fields { kind: PUBLIC_KEY max_width: 512 text: HEX } }
    requests { kind: FILE codes: 3 uncounted_bytes: -21
               fields { kind: ORIGINAL_SIZE width: 4 }
               fields { kind: CONTENT_SIZE width: 4 byte_order: LITTLE }
               fields { kind: FILE_NAME width: 20 name_end: AT_LINE_FEED fill: 120 }
               content { length: BY_PAYLOAD_SIZE content_size_counts: WIRE content_size_excess: 4
                         text: BASE64 } }
    requests { kind: VALID codes: 4 fields { kind: FILE_NAME width: 20 } }
    requests { kind: RETRY codes: 5 fields { kind: FILE_NAME width: 20 } }
    answers { kind: REGISTERED code: 1 fields { kind: CLIENT_ID width: 16 } }
    answers { kind: REGISTRATION_FAILED code: 9 }
    answers { kind: KEY_ACCEPTED code: 1 fields { kind: SESSION_KEY width: 128 } }
    answers { kind: FILE_RECEIVED code: 1
              fields { kind: FILE_NAME width: 4 }
              fields { kind: CONTENT_SIZE width: 8 }
              fields { kind: CHECKSUM width: 4 } }
    answers { kind: ACKNOWLEDGED code: 1 }
    answers { kind: GENERAL_ERROR code: 9 }
    cryptography { session_key_bits: 256 key_encryption: RSAES_PKCS1_V15 initial_vector: IN_FRONT
                   padding: ZEROS public_key_form: PKCS1 }
    checksums { checksum: CRC32_OF_PLAINTEXT }
    conversation { retry_answer: AT_ONCE zero_id: BY_NAME }
  )";
  Served served;
  served.name = "odd";
  served.style.dialect = ParseDialect(kText, "odd.textproto").value();
  served.code = [](absl::string_view request) {
    return static_cast<int>(IntegerAt(request, 0, 1));
  };
  served.request_size = [](absl::string_view bytes) -> size_t {
    if (bytes.size() < 21) return 0;
    return IntegerAt(bytes, 17, 4, true) + (bytes[0] == 3 ? 0 : 21);
  };
  served.public_key = [](absl::string_view request) {
    return HexToBytes(request.substr(21 + 16)).value();
  };
  served.pkcs1_v15 = true;
  served.session_key_size = 32;
  served.answer = [](int code, absl::string_view payload, size_t size) {
    return absl::StrCat(Integer(static_cast<uint32_t>(size), 2),
                        Integer(static_cast<uint32_t>(code), 1), payload);
  };
  served.file_payload = [](absl::string_view request, uint32_t checksum) {
    EXPECT_EQ(IntegerAt(request, 21, 4, true), kFileSize);
    EXPECT_EQ(request.substr(21 + 8, 20), "hello.txt\nxxxxxxxxxx");
    std::string content;
    EXPECT_TRUE(absl::Base64Unescape(request.substr(21 + 28), &content));
    EXPECT_EQ(content.size(), 16 + (kFileSize + 15) / 16 * 16);
    const uint32_t content_size = IntegerAt(request, 21 + 4, 4);
    EXPECT_EQ(content_size, request.size() - 21 - 28 + 4);
    return absl::StrCat("hell", Integer(0, 4), Integer(content_size, 4, true),
                        Integer(checksum, 4, true));
  };
  served.checksum = Sum<Crc32>;
  served.requests = {1, 2, 2, 3, 4, 5};
  served.answers = {1, 1, 1, 1, 1};
  served.id_in_answers = "";
  served.zero_id_at = 1;
  return served;
}

INSTANTIATE_TEST_SUITE_P(Dialects, DialectConversation,
                         ::testing::Values(A2(), B2(), B3(), E3(), Odd()),
                         [](const auto& served) { return served.param.name; });

}  // namespace
}  // namespace backup::legacy_client
