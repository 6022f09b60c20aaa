#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "bridge/wire/dialect.h"
#include "bridge/wire/testing/byte_reader.h"
#include "bridge/wire/testing/byte_writer.h"
#include "bridge/wire/testing/request_bytes.h"
#include "gtest/gtest.h"

namespace backup::wire {

// An operation and all its fields as text: what tests compare, and what they show when it differs.
struct OperationText {
  std::string operator()(const Register& operation) const {
    return absl::StrCat("register ", absl::CEscape(operation.name));
  }
  std::string operator()(const SendPublicKey& operation) const {
    return absl::StrCat("public key ", absl::CEscape(operation.name), " ",
                        absl::BytesToHexString(operation.public_key));
  }
  std::string operator()(const Reconnect& operation) const {
    return absl::StrCat("reconnect ", absl::CEscape(operation.name));
  }
  std::string operator()(const SendFile& operation) const {
    return absl::StrCat("file ", absl::CEscape(operation.name), " field ",
                        absl::BytesToHexString(operation.name_field), " content size ",
                        operation.content_size, " checksum ",
                        static_cast<int>(operation.first_checksum));
  }
  std::string operator()(const ChecksumVerdict& operation) const {
    return absl::StrCat("verdict ", static_cast<int>(operation.kind), " ",
                        absl::CEscape(operation.name));
  }
};

inline std::string TextOf(const absl::StatusOr<std::optional<DecodedHead>>& decoded) {
  if (!decoded.ok()) return decoded.status().ToString();
  if (!decoded->has_value()) return "not yet";
  const DecodedHead& head = **decoded;
  return absl::StrCat("id ", absl::BytesToHexString(head.request.client_id.bytes()), " version ",
                      head.request.version, " code ", head.request.code, " head ", head.head_size,
                      " body ", head.body_size, ": ",
                      std::visit(OperationText(), head.request.operation));
}

// A dialect and whole heads of right requests, without the bodies that follow them: at least one of
// each kind.
struct DialectUnderTest {
  const Dialect* dialect = nullptr;
  std::vector<std::string> heads;
};

// What bridge/wire/dialect.h promises. A dialect's test instantiates it.
class DialectContract : public ::testing::TestWithParam<DialectUnderTest> {
 protected:
  static const Dialect& dialect() { return *GetParam().dialect; }

  // Every prefix of `bytes` either needs more or gives what the first prefix that did not need more
  // gave. Returns that answer; "not yet" if even all the bytes are too few.
  static std::string DecodePrefixByPrefix(const std::string& bytes) {
    std::string answer = "not yet";
    for (size_t size = 0; size <= bytes.size(); ++size) {
      const std::string text =
          TextOf(dialect().DecodeHead(absl::string_view(bytes).substr(0, size)));
      if (answer != "not yet") {
        EXPECT_EQ(text, answer) << "the answer changed at " << size << " bytes";
      }
      answer = text;
    }
    return answer;
  }

  static bool IsClaimed(const std::string& bytes) {
    const std::optional<RequestHeader> header = dialect().DecodeHeader(bytes);
    return header && dialect().Claims(*header);
  }

  // A head of the dialect with some of its bytes replaced by random ones, but so that the dialect
  // still claims it, and random bytes after it.
  static std::string Damaged(const std::string& head, std::mt19937& random) {
    std::string bytes = head + testing::PseudoRandomBytes(kMaxHeadSize, random());
    const size_t changes = random() % 16;
    for (size_t i = 0; i < changes; ++i) {
      // The sizes in a header are worth most of them.
      const size_t at = random() % (i % 2 == 0 ? head.size() : dialect().header_size());
      const char before = std::exchange(bytes[at], static_cast<char>(random()));
      if (!IsClaimed(bytes)) bytes[at] = before;
    }
    bytes.resize(kMaxHeadSize);
    return bytes;
  }
};

TEST_P(DialectContract, ClaimsItsRequests) {
  for (const std::string& head : GetParam().heads) {
    EXPECT_TRUE(IsClaimed(head)) << absl::BytesToHexString(head);
  }
}

TEST_P(DialectContract, NeedsEveryByteOfAHeadAndNoMore) {
  for (const std::string& head : GetParam().heads) {
    const auto decoded = dialect().DecodeHead(head);
    ASSERT_OK(decoded);
    ASSERT_TRUE(decoded->has_value()) << absl::BytesToHexString(head);
    EXPECT_EQ((*decoded)->head_size, head.size());
    for (size_t size = 0; size < head.size(); ++size) {
      EXPECT_EQ(TextOf(dialect().DecodeHead(absl::string_view(head).substr(0, size))), "not yet")
          << size;
    }
  }
}

TEST_P(DialectContract, DoesNotCareWhatFollowsAHead) {
  for (const std::string& head : GetParam().heads) {
    const std::string alone = TextOf(dialect().DecodeHead(head));
    for (const uint32_t seed : {1, 2, 3}) {
      const std::string more = testing::PseudoRandomBytes(2 * kMaxHeadSize, seed);
      EXPECT_EQ(TextOf(dialect().DecodeHead(head + more)), alone);
    }
  }
}

TEST_P(DialectContract, DecodesAStreamOfRequestsTheSameHoweverItIsCut) {
  std::string stream;
  std::vector<std::string> expected;
  for (const std::string& head : GetParam().heads) {
    const auto decoded = dialect().DecodeHead(head);
    ASSERT_OK(decoded);
    ASSERT_TRUE(decoded->has_value());
    expected.push_back(TextOf(decoded));
    absl::StrAppend(&stream, head, testing::PseudoRandomBytes((*decoded)->body_size));
  }
  for (uint32_t seed = 1; seed <= 10; ++seed) {
    testing::RandomCutSource source(stream, /*max_piece=*/300, seed);
    std::vector<std::string> texts;
    std::string buffer;
    uint64_t body_left = 0;
    for (auto piece = source.Read(); !piece->empty(); piece = source.Read()) {
      absl::StrAppend(&buffer, *piece);
      while (!buffer.empty()) {
        const size_t of_body = std::min<uint64_t>(body_left, buffer.size());
        buffer.erase(0, of_body);
        body_left -= of_body;
        const auto decoded = dialect().DecodeHead(buffer);
        ASSERT_OK(decoded);
        if (!decoded->has_value()) break;
        texts.push_back(TextOf(decoded));
        buffer.erase(0, (*decoded)->head_size);
        body_left = (*decoded)->body_size;
      }
    }
    EXPECT_EQ(texts, expected) << "cut with seed " << seed;
  }
}

TEST_P(DialectContract, AnswersAnyBytesOnceAndForAllWithinTheLargestHead) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    for (const std::string& head : GetParam().heads) {
      const std::string bytes = Damaged(head, random);
      const auto decoded = dialect().DecodeHead(bytes);
      EXPECT_NE(TextOf(decoded), "not yet") << absl::BytesToHexString(bytes.substr(0, 64));
      if (!decoded.ok()) {
        EXPECT_THAT(decoded, testing::StatusIs(absl::StatusCode::kInvalidArgument));
        EXPECT_FALSE(decoded.status().message().empty());
      } else if (decoded->has_value()) {
        EXPECT_LE((*decoded)->head_size, kMaxHeadSize);
        EXPECT_GE((*decoded)->head_size, dialect().header_size());
      }
    }
  }
}

TEST_P(DialectContract, NeverChangesAnAnswerWhenMoreOfDamagedBytesArrives) {
  std::mt19937 random(2);
  for (const std::string& head : GetParam().heads) {
    EXPECT_NE(DecodePrefixByPrefix(Damaged(head, random)), "not yet");
  }
}

TEST_P(DialectContract, HasOneAnswerOfEachKindWhateverItAnswers) {
  const ClientId id = *ClientId::FromBytes("0123456789abcdef");
  const std::string key(128, 'k');
  const std::vector<Reply> replies = {
      Registered{id},   RegistrationFailed{}, KeyAccepted{id, key},
      Acknowledged{id}, GeneralError{},       FileReceived{id, 7, std::string(255, 'n'), 9}};
  for (const std::string& head : GetParam().heads) {
    const auto decoded = dialect().DecodeHead(head);
    ASSERT_OK(decoded);
    std::map<std::string, size_t> index_of_answer;
    for (const Reply& reply : replies) {
      const std::string answer = dialect().EncodeReply(reply, &(*decoded)->request);
      EXPECT_LE(answer.size(), kMaxHeadSize);
      EXPECT_TRUE(index_of_answer.emplace(answer, reply.index()).second) << reply.index();
    }
  }
  EXPECT_FALSE(dialect().EncodeReply(GeneralError{}, nullptr).empty());
}

}  // namespace backup::wire
