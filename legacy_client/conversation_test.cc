#include "legacy_client/conversation.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/checksum.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "legacy_client/identity.h"
#include "legacy_client/testing/fake_server.h"

namespace backup::legacy_client {
namespace {

using ::backup::testing::PseudoRandomBytes;
using ::backup::testing::StatusIs;
using testing::AnswerBytes;
using ::testing::ElementsAre;
using testing::FakeServer;
using testing::Received;
using testing::Reply;

constexpr char kSessionKey[] = "0123456789abcdef";
const std::string& ClientIdBytes() {
  static const std::string& id = *new std::string("\x11\x22zyxwvutsrqponm");
  return id;
}

// Steps of a script.
Reply Registered(const Received&) { return {AnswerBytes(2100, ClientIdBytes())}; }
Reply KeyAccepted(const Received& request) {
  return {AnswerBytes(
      2102, absl::StrCat(request.id, testing::EncryptForClient(request.Content(), kSessionKey)))};
}
Reply FileAnswer(const Received& request, uint32_t checksum) {
  std::string payload = absl::StrCat(request.id, request.payload.substr(0, 4 + 255));
  for (int shift = 0; shift < 32; shift += 8)
    payload.push_back(static_cast<char>(checksum >> shift));
  return {AnswerBytes(2103, payload)};
}
uint32_t Crc32Of(absl::string_view bytes) {
  Crc32 crc32;
  crc32.Update(bytes);
  return crc32.Value();
}
uint32_t CksumOf(absl::string_view bytes) {
  Cksum cksum;
  cksum.Update(bytes);
  return cksum.Value();
}
Reply FileReceived(const Received& request) {
  return FileAnswer(request, Crc32Of(request.Content()));
}
Reply FileMangled(const Received& request) {
  return FileAnswer(request, Crc32Of(request.Content()) + 1);
}
Reply Acknowledged(const Received& request) { return {AnswerBytes(2104, request.id)}; }
Reply Silent(const Received&) { return {}; }
Reply GeneralError(const Received&) { return {AnswerBytes(2107)}; }
Reply HangUp(const Received&) { return {"", false, true}; }

class ConversationTest : public ::testing::Test {
 protected:
  ConversationTest() {
    std::string pattern = absl::StrCat(::testing::TempDir(), "/conversation_test.XXXXXX");
    dir_ = mkdtemp(pattern.data());
    path_ = absl::StrCat(dir_, "/hello.txt");
    WriteFile(PseudoRandomBytes(3000));
  }
  ~ConversationTest() override { std::filesystem::remove_all(dir_); }

  void WriteFile(const std::string& bytes) {
    content_ = bytes;
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
  }

  ConversationOptions Options(const FakeServer& server,
                              ConnectionUse use = ConnectionUse::kPerRequest) const {
    ConversationOptions options;
    options.client_name = "laptop 7";
    options.dir = dir_;
    options.server = {"127.0.0.1", absl::StrCat(server.port())};
    options.style.connection_use = use;
    return options;
  }

  // Start() and then the one file.
  absl::StatusOr<SentFile> Run(const ConversationOptions& options) const {
    Conversation conversation(options);
    const absl::Status started = conversation.Start();
    if (!started.ok()) return started;
    return conversation.SendFile("hello.txt", path_);
  }

  static std::vector<int> Codes(FakeServer& server) {
    std::vector<int> codes;
    for (const Received& request : server.Finish()) codes.push_back(request.code);
    return codes;
  }

  std::string dir_;
  std::string path_;
  std::string content_;
};

TEST_F(ConversationTest, FirstRunRegistersSendsItsKeyAndTheFile) {
  FakeServer server({Registered, KeyAccepted, FileReceived, Acknowledged});
  const auto sent = Run(Options(server));
  ASSERT_OK(sent);
  EXPECT_EQ(sent->size_bytes, 3000);
  EXPECT_EQ(sent->tries, 1);
  EXPECT_THAT(Codes(server), ElementsAre(1025, 1026, 1028, 1029));
  const std::vector<Received>& requests = server.Finish();
  EXPECT_EQ(requests[0].Name(), "laptop 7");
  EXPECT_EQ(requests[1].id, ClientIdBytes());
  EXPECT_EQ(requests[1].Content().size(), 160u);
  EXPECT_EQ(requests[2].Name(), "hello.txt");
  EXPECT_EQ(requests[2].Content().size(), 3008u);
  EXPECT_EQ(requests[3].Name(), "hello.txt");
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(requests[i].version, 1);
    EXPECT_EQ(requests[i].connection, static_cast<int>(i) + 1);
  }
}

TEST_F(ConversationTest, FirstRunLeavesAnIdentityWithWhichTheNextReconnects) {
  std::string key;
  FakeServer server(
      {Registered,
       [&key](const Received& request) {
         key = request.Content();
         return KeyAccepted(request);
       },
       [&key](const Received& request) {
         return Reply{AnswerBytes(
             2105, absl::StrCat(request.id, testing::EncryptForClient(key, kSessionKey)))};
       },
       FileReceived, Acknowledged});
  ASSERT_OK(Conversation(Options(server)).Start());
  ASSERT_OK(Run(Options(server)));
  EXPECT_THAT(Codes(server), ElementsAre(1025, 1026, 1027, 1028, 1029));
  EXPECT_EQ(server.Finish()[2].id, ClientIdBytes());
}

TEST_F(ConversationTest, DeniedReconnectRegistersAnewAndKeepsTheNewId) {
  const ClientId old_id = *ClientId::FromBytes("old id old id ol");
  ASSERT_OK(SaveIdentity(dir_, {"laptop 7", old_id, KeyPair::Generate().PrivateDer()}));
  FakeServer server({[](const Received&) { return Reply{AnswerBytes(2106, std::string(16, 'f'))}; },
                     Registered, KeyAccepted, FileReceived, Acknowledged});
  ASSERT_OK(Run(Options(server, ConnectionUse::kSingle)));
  EXPECT_THAT(Codes(server), ElementsAre(1027, 1025, 1026, 1028, 1029));
  EXPECT_EQ(server.Finish()[0].id, old_id.bytes());
  EXPECT_EQ(server.Finish()[4].connection, 1);
  const auto identity = LoadIdentity(dir_);
  ASSERT_OK(identity);
  EXPECT_EQ((*identity)->id.bytes(), ClientIdBytes());
}

TEST_F(ConversationTest, RefusedRegistrationLeavesNoIdentity) {
  FakeServer server({[](const Received&) { return Reply{AnswerBytes(2101)}; }});
  EXPECT_THAT(Run(Options(server)), StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_FALSE(std::filesystem::exists(absl::StrCat(dir_, "/me.info")));
}

TEST_F(ConversationTest, IdentityOfAnotherNameIsNotUsed) {
  ASSERT_OK(SaveIdentity(dir_, {"laptop 8", ClientId(), KeyPair::Generate().PrivateDer()}));
  FakeServer server({});
  EXPECT_THAT(Run(Options(server)), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(ConversationTest, CksumOfThePlaintextGoesWithVersion3) {
  FakeServer server(
      {Registered, KeyAccepted,
       [this](const Received& request) { return FileAnswer(request, CksumOf(content_)); },
       Acknowledged});
  ConversationOptions options = Options(server, ConnectionUse::kSingle);
  options.style.checksum_kind = ChecksumKind::kCksumOfPlaintext;
  const auto sent = Run(options);
  ASSERT_OK(sent);
  EXPECT_EQ(sent->checksum, CksumOf(content_));
  for (const Received& request : server.Finish()) EXPECT_EQ(request.version, 3);
}

TEST_F(ConversationTest, WrongChecksumSendsTheFileAgainAtOnce) {
  FakeServer server({Registered, KeyAccepted, FileMangled, Silent, FileReceived, Acknowledged});
  const auto sent = Run(Options(server, ConnectionUse::kSingle));
  ASSERT_OK(sent);
  EXPECT_EQ(sent->tries, 2);
  EXPECT_THAT(Codes(server), ElementsAre(1025, 1026, 1028, 1030, 1028, 1029));
  EXPECT_EQ(server.Finish()[2].payload, server.Finish()[4].payload);
}

TEST_F(ConversationTest, LateAnswerToARetryNoticeIsNotTakenForTheFiles) {
  FakeServer server(
      {Registered, KeyAccepted, FileMangled, Acknowledged, FileReceived, Acknowledged});
  const auto sent = Run(Options(server, ConnectionUse::kSingle));
  ASSERT_OK(sent);
  EXPECT_EQ(sent->tries, 2);
}

TEST_F(ConversationTest, RetryNoticeOnItsOwnConnectionIsFinishedBeforeTheFile) {
  for (const FakeServer::Step& after_notice :
       {FakeServer::Step(Acknowledged), FakeServer::Step(HangUp)}) {
    FakeServer server(
        {Registered, KeyAccepted, FileMangled, after_notice, FileReceived, Acknowledged});
    ASSERT_OK(Run(Options(server)));
    EXPECT_THAT(Codes(server), ElementsAre(1025, 1026, 1028, 1030, 1028, 1029));
    std::filesystem::remove(absl::StrCat(dir_, "/me.info"));
  }
}

TEST_F(ConversationTest, ThreeWrongChecksumsEndInAnAbort) {
  FakeServer server({Registered, KeyAccepted, FileMangled, Silent, FileMangled, Silent, FileMangled,
                     Acknowledged});
  EXPECT_THAT(Run(Options(server, ConnectionUse::kSingle)), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Codes(server), ElementsAre(1025, 1026, 1028, 1030, 1028, 1030, 1028, 1031));
}

TEST_F(ConversationTest, GeneralErrorIsTriedAgainThreeTimes) {
  FakeServer server({Registered, KeyAccepted, GeneralError, GeneralError, GeneralError,
                     FileReceived, GeneralError, Acknowledged});
  const auto sent = Run(Options(server, ConnectionUse::kSingle));
  ASSERT_OK(sent);
  EXPECT_EQ(sent->tries, 1);
  EXPECT_THAT(Codes(server), ElementsAre(1025, 1026, 1028, 1028, 1028, 1028, 1029, 1029));
}

TEST_F(ConversationTest, FourthGeneralErrorIsTheEnd) {
  FakeServer server({GeneralError, GeneralError, GeneralError, GeneralError});
  EXPECT_THAT(Run(Options(server)), StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(Codes(server), ElementsAre(1025, 1025, 1025, 1025));
}

TEST_F(ConversationTest, AnswersMayComeInSingleBytes) {
  const auto in_single_bytes = [](FakeServer::Step step) -> FakeServer::Step {
    return [step](const Received& request) {
      Reply reply = step(request);
      reply.in_single_bytes = true;
      return reply;
    };
  };
  FakeServer server({in_single_bytes(Registered), in_single_bytes(KeyAccepted),
                     in_single_bytes(FileReceived), in_single_bytes(Acknowledged)});
  EXPECT_OK(Run(Options(server, ConnectionUse::kSingle)));
}

TEST_F(ConversationTest, AcknowledgementMayBeEmpty) {
  FakeServer server({Registered, KeyAccepted, FileReceived,
                     [](const Received&) { return Reply{AnswerBytes(2104)}; }});
  EXPECT_OK(Run(Options(server)));
}

TEST_F(ConversationTest, ServerThatHangsUpIsUnavailable) {
  FakeServer server({Registered, KeyAccepted, HangUp});
  EXPECT_THAT(Run(Options(server)), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(ConversationTest, AnswerThatBreaksOffIsUnavailable) {
  FakeServer server({[](const Received&) {
    return Reply{AnswerBytes(2100, ClientIdBytes()).substr(0, 20), false, true};
  }});
  EXPECT_THAT(Run(Options(server)), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(ConversationTest, ServerThatIsNotThereIsUnavailable) {
  FakeServer server({});
  server.Finish();
  ConversationOptions options = Options(server);
  options.server = {"127.0.0.1", std::string("1")};
  EXPECT_THAT(Run(options), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(ConversationTest, SilentServerIsNotWaitedForBeyondTheTimeout) {
  FakeServer server({Silent, Silent});
  ConversationOptions options = Options(server);
  options.timeout = absl::Milliseconds(50);
  EXPECT_THAT(Run(options), StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(ConversationTest, AnswerAboutAnotherFileIsRefused) {
  FakeServer server({Registered, KeyAccepted, [](Received request) {
                       request.payload[4] = 'j';
                       return FileReceived(request);
                     }});
  EXPECT_THAT(Run(Options(server)), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(ConversationTest, FileOfManyPiecesArrivesWholeAndItsProgressIsTold) {
  WriteFile(PseudoRandomBytes(3 * kPieceSize + 5));
  FakeServer server({Registered, KeyAccepted, FileReceived, Acknowledged});
  ConversationOptions options = Options(server);
  int64_t last_sent = 0;
  int64_t last_total = 0;
  options.on_progress = [&](int64_t sent, int64_t total) {
    EXPECT_GT(sent, last_sent);
    last_sent = sent;
    last_total = total;
  };
  const auto sent = Run(options);
  ASSERT_OK(sent);
  EXPECT_EQ(sent->size_bytes, static_cast<int64_t>(content_.size()));
  EXPECT_EQ(last_sent, EncryptedSize(sent->size_bytes));
  EXPECT_EQ(last_total, last_sent);
}

// A family, or a style of one, and what the fake server makes of it.
struct Played {
  std::string name;
  char family_name;
  ClientStyle style;
  testing::FakeFamily family;
  std::vector<int> codes;    // Register, key, reconnect or key again, file, ok, retry.
  size_t file_requests = 1;  // For the file of 3000 bytes.
};

testing::FakeFamily FakeOf(char family) {
  switch (family) {
    case 'A':
      return {1101, 1103, 16, 4, 2100};
    case 'B':
      return {1101, 1103, 0, 4, 2100};
    case 'C':
      return {1026, 1028, 0, 4, 2100};
    case 'D':
      return {1026, 1028, 0, 12, 1600};
    case 'E':
      return {826, 828, 0, 12, 1600};
  }
  return {};
}

std::vector<int> CodesOf(char family) {
  switch (family) {
    case 'A':
      return {1100, 1101, 1101, 1103, 1104, 1105};
    case 'B':
      return {1100, 1101, 1102, 1103, 1104, 1105};
    case 'C':
    case 'D':
      return {1025, 1026, 1027, 1028, 1029, 1030};
    case 'E':
      return {825, 826, 827, 828, 900, 901};
  }
  return {};
}

// The family is the first letter of the name.
Played Play(std::string name, ClientStyle style, size_t file_requests = 1) {
  const char family_name = name[0];
  testing::FakeFamily family = FakeOf(family_name);
  family.blocks_1024 = style.blocks_1024;
  return {std::move(name), family_name,          std::move(style),
          family,          CodesOf(family_name), file_requests};
}

class EveryFamily : public ConversationTest, public ::testing::WithParamInterface<Played> {
 protected:
  // Steps for this family, which answer at its codes, in its blocks.
  FakeServer::Step Answering(int offset,
                             std::function<std::string(const Received&)> payload) const {
    return [this, offset, payload](const Received& request) {
      std::string bytes = AnswerBytes(family_.answer_base + offset, payload(request));
      if (family_.blocks_1024) bytes.resize((bytes.size() + 1023) / 1024 * 1024);
      return Reply{bytes, false, family_.blocks_1024};
    };
  }

  FakeServer::Step WithKey(int offset) {
    return Answering(offset, [this](const Received& request) {
      if (request.code == family_.public_key_code) public_key_ = request.Content();
      return absl::StrCat(request.id, testing::EncryptForClient(public_key_, session_key_));
    });
  }

  // The packets of one file, or the file; the last is answered with a checksum off by `error`.
  void AppendFile(std::vector<FakeServer::Step>& script, uint32_t error) {
    const auto content_size = std::make_shared<std::string>();  // The first packet's.
    const auto note = [this, content_size](const Received& request) {
      if (content_size->empty()) *content_size = request.payload.substr(family_.id_size, 4);
      return Reply{};
    };
    script.insert(script.end(), GetParam().file_requests - 1, note);
    script.push_back(Answering(3, [this, error, note, content_size](const Received& request) {
      note(request);
      std::string payload =
          absl::StrCat(request.id, *content_size, request.payload.substr(request.name_at, 255));
      const uint32_t checksum = CksumOf(content_) + error;
      for (int shift = 0; shift < 32; shift += 8) {
        payload.push_back(static_cast<char>(checksum >> shift));
      }
      return payload;
    }));
  }

  const testing::FakeFamily family_ = GetParam().family;
  const std::string session_key_ = std::string(GetParam().family_name < 'D' ? 16 : 32, 'k');
  std::string public_key_;
};

TEST_P(EveryFamily, RegistersSendsAFileTwiceAndComesBack) {
  const FakeServer::Step acknowledged = Answering(4, [](const Received& r) { return r.id; });
  std::vector<FakeServer::Step> script = {
      Answering(0, [](const Received&) { return ClientIdBytes(); }), WithKey(2)};
  AppendFile(script, /*error=*/1);
  script.push_back(acknowledged);  // To a retry notice, which is waited for.
  AppendFile(script, /*error=*/0);
  script.push_back(acknowledged);
  const bool reconnects = GetParam().codes[2] != GetParam().codes[1];
  script.push_back(WithKey(reconnects ? 5 : 2));
  AppendFile(script, /*error=*/0);
  script.push_back(acknowledged);

  FakeServer server(script, family_);
  ConversationOptions options = Options(server);
  options.style = GetParam().style;
  options.style.retry_notice = RetryNotice::kWait;
  options.style.checksum_kind = ChecksumKind::kCksumOfPlaintext;
  const auto first = Run(options);
  ASSERT_OK(first);
  EXPECT_EQ(first->tries, 2);
  ASSERT_OK(Run(options));

  const std::vector<int>& codes = GetParam().codes;
  std::vector<int> expected = {codes[0], codes[1]};
  const auto expect_file = [&](int verdict) {
    expected.insert(expected.end(), GetParam().file_requests, codes[3]);
    expected.push_back(verdict);
  };
  expect_file(codes[5]);
  expect_file(codes[4]);
  expected.push_back(codes[2]);
  expect_file(codes[4]);
  EXPECT_EQ(Codes(server), expected);
  for (const Received& request : server.Finish()) {
    if (request.code >= family_.file_code) {
      EXPECT_EQ(request.Name(), "hello.txt");
      EXPECT_EQ(request.payload.substr(0, family_.id_size), request.id.substr(0, family_.id_size));
    }
  }
}

ClientStyle With(char family, std::optional<FileStyle> file_style = std::nullopt) {
  ClientStyle style;
  style.dialect = FamilyDialect(std::string(1, family)).value();
  style.file_style = file_style;
  return style;
}
ClientStyle InPackets(char family, FileStyle file_style, int64_t packet_size) {
  ClientStyle style = With(family, file_style);
  style.packet_size = packet_size;
  return style;
}
ClientStyle InBlocks(char family) {
  ClientStyle style = With(family);
  style.blocks_1024 = true;
  return style;
}

INSTANTIATE_TEST_SUITE_P(
    Styles, EveryFamily,
    ::testing::Values(Play("A", With('A')), Play("ATruncated", With('A', FileStyle::kTruncated)),
                      Play("ABlocks", InBlocks('A')), Play("B", With('B')),
                      Play("BUncounted", With('B', FileStyle::kUncounted)),
                      Play("BBlocks", InBlocks('B')), Play("C", With('C')),
                      Play("CUncounted", With('C', FileStyle::kUncounted)), Play("D", With('D')),
                      Play("DChunks", InPackets('D', FileStyle::kChunks, 1000), 3),
                      Play("DStream", InPackets('D', FileStyle::kStream, 1000), 4),
                      Play("EChunks", InPackets('E', FileStyle::kChunks, 2999), 2),
                      Play("EStream", InPackets('E', FileStyle::kStream, 16), 188)),
    [](const auto& played) { return played.param.name; });

TEST_F(ConversationTest, RetryNoticeMayBeWaitedForOnASingleConnection) {
  FakeServer server(
      {Registered, KeyAccepted, FileMangled, Acknowledged, FileReceived, Acknowledged});
  ConversationOptions options = Options(server, ConnectionUse::kSingle);
  options.style.retry_notice = RetryNotice::kWait;
  ASSERT_OK(Run(options));
  EXPECT_THAT(Codes(server), ElementsAre(1025, 1026, 1028, 1030, 1028, 1029));
}

TEST_F(ConversationTest, TriesAreAsManyAsTheOptionsSay) {
  FakeServer server({Registered, KeyAccepted, FileMangled, Acknowledged});
  ConversationOptions options = Options(server, ConnectionUse::kSingle);
  options.tries_of_file = 1;
  EXPECT_THAT(Run(options), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Codes(server), ElementsAre(1025, 1026, 1028, 1031));
}

TEST_F(ConversationTest, ServerMustHangUpAfterBlocksOfVersion3) {
  const auto registered = [](const Received&) {
    std::string bytes = AnswerBytes(2100, ClientIdBytes());
    bytes.resize(1024);
    return Reply{bytes};
  };
  testing::FakeFamily family = FakeOf('B');
  family.blocks_1024 = true;
  FakeServer server({registered, Silent}, family);
  ConversationOptions options = Options(server);
  options.style.dialect = FamilyDialect("B").value();
  options.style.blocks_1024 = true;
  options.timeout = absl::Milliseconds(50);
  EXPECT_THAT(Run(options), StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(ConversationTest, RetryNoticeOnItsOwnConnectionNeedNotBeWaitedFor) {
  FakeServer server({Registered, KeyAccepted, FileMangled, Silent, FileReceived, Acknowledged});
  ConversationOptions options = Options(server);
  options.style.retry_notice = RetryNotice::kAtOnce;
  ASSERT_OK(Run(options));
  EXPECT_THAT(Codes(server), ElementsAre(1025, 1026, 1028, 1030, 1028, 1029));
  EXPECT_EQ(server.Finish()[4].connection, 5);
}

TEST_F(ConversationTest, DialectWithoutRetriesGivesUpAtOnce) {
  FakeServer server({Registered, KeyAccepted, FileMangled});
  ConversationOptions options = Options(server);
  auto& requests = *options.style.dialect.mutable_requests();
  requests.DeleteSubrange(requests.size() - 2, 2);  // RETRY and ABORT.
  EXPECT_THAT(Run(options), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Codes(server), ElementsAre(1025, 1026, 1028));
}

TEST_F(ConversationTest, FileThatIsNotThereLeavesTheConversationUsable) {
  FakeServer server({Registered, KeyAccepted, FileReceived, Acknowledged});
  Conversation conversation(Options(server));
  ASSERT_OK(conversation.Start());
  EXPECT_THAT(conversation.SendFile("none", absl::StrCat(dir_, "/none")),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_OK(conversation.SendFile("hello.txt", path_));
}

TEST_F(ConversationTest, WhatTheProtocolHasNoRoomForIsNotSent) {
  FakeServer server({Registered, KeyAccepted});
  Conversation conversation(Options(server));
  ASSERT_OK(conversation.Start());
  EXPECT_THAT(conversation.SendFile(std::string(256, 'n'), path_),
              StatusIs(absl::StatusCode::kInvalidArgument));
  std::filesystem::resize_file(path_, uint64_t{1} << 32);  // Sparse.
  EXPECT_THAT(conversation.SendFile("hello.txt", path_),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Codes(server), ElementsAre(1025, 1026));
}

}  // namespace
}  // namespace backup::legacy_client
