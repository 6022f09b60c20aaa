// What real clients of every family sent, byte for byte, encoded anew: the transcripts in
// tests/testdata/wire.
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/hex.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "legacy_client/encrypted_file.h"
#include "legacy_client/file_plan.h"
#include "legacy_client/file_request.h"
#include "legacy_client/frames.h"
#include "legacy_client/key_pair.h"

namespace backup::legacy_client {
namespace {

constexpr size_t kHeaderSize = 23;

struct Recording {
  std::string name;
  ClientStyle style;
};

ClientStyle Style(Family family, FileStyle file_style) {
  ClientStyle style;
  style.family = family;
  style.file_style = file_style;
  return style;
}

std::vector<Recording> Recordings() {
  ClientStyle c1 = Style(Family::kC, FileStyle::kCounted);
  c1.header_version = 1;
  ClientStyle c2 = Style(Family::kC, FileStyle::kCounted);
  c2.header_version = 3;
  ClientStyle c3 = Style(Family::kC, FileStyle::kUncounted);
  c3.header_version = 3;
  ClientStyle d1 = Style(Family::kD, FileStyle::kChunks);
  d1.packet_size = 4000;
  d1.original_size = OriginalSize::kPacket;
  ClientStyle e1 = Style(Family::kE, FileStyle::kStream);
  e1.packet_size = 4096;
  ClientStyle e2 = Style(Family::kE, FileStyle::kChunks);
  e2.packet_size = 1024;
  e2.swap_packet_fields = true;
  return {{"a1", Style(Family::kA, FileStyle::kTruncated)},
          {"b1", Style(Family::kB, FileStyle::kCounted)},
          {"c1", c1},
          {"c2", c2},
          {"c3", c3},
          {"d1", d1},
          {"e1", e1},
          {"e2", e2}};
}

struct Transcript {
  std::string private_key;
  std::map<std::string, std::string> plaintexts;  // By file name.
  std::vector<std::string> session_keys;          // One a run.
  std::vector<std::string> requests;
};

Transcript ReadTranscript(const std::string& name) {
  std::ifstream in(absl::StrCat(WIRE_TRANSCRIPTS, "/", name, ".txt"));
  EXPECT_TRUE(in.is_open()) << name;
  Transcript transcript;
  for (std::string line; std::getline(in, line);) {
    absl::string_view rest = line;
    if (absl::ConsumePrefix(&rest, "C> ")) {
      transcript.requests.push_back(*HexToBytes(rest));
    } else if (absl::ConsumePrefix(&rest, "# AES key (")) {
      transcript.session_keys.push_back(*HexToBytes(rest.substr(rest.find(": ") + 2)));
    } else if (absl::ConsumePrefix(&rest, "# RSA private key")) {
      transcript.private_key = *HexToBytes(rest.substr(rest.find(": ") + 2));
    } else if (absl::ConsumePrefix(&rest, "# plaintext file ")) {
      const size_t space = rest.find(" hex: ");
      transcript.plaintexts[std::string(rest.substr(0, space))] =
          *HexToBytes(rest.substr(space + 6));
    }
  }
  return transcript;
}

class Golden : public ::testing::TestWithParam<Recording> {
 protected:
  Golden() {
    std::string pattern = absl::StrCat(::testing::TempDir(), "/golden_test.XXXXXX");
    dir_ = mkdtemp(pattern.data());
  }
  ~Golden() override { std::filesystem::remove_all(dir_); }

  RequestKind KindOf(absl::string_view request) const {
    const int code = static_cast<uint8_t>(request[17]) | static_cast<uint8_t>(request[18]) << 8;
    const auto& codes = TraitsOf(style_.family).request_codes;
    const auto found = std::find(codes.begin(), codes.end(), code);
    EXPECT_NE(found, codes.end()) << code;
    return static_cast<RequestKind>(found - codes.begin());
  }

  Sender SenderOf(absl::string_view request) const {
    return {*ClientId::FromBytes(request.substr(0, ClientId::kSize)), *style_.header_version,
            style_.family};
  }

  // Where the name field of a request begins.
  size_t NameAt(absl::string_view request) const {
    switch (KindOf(request)) {
      case RequestKind::kFile:
        return kHeaderSize + static_cast<size_t>(FileFieldsSize(style_.family)) - kNameFieldSize;
      case RequestKind::kChecksumOk:
      case RequestKind::kRetry:
      case RequestKind::kAbort:
        return kHeaderSize + (style_.family == Family::kA ? ClientId::kSize : 0);
      default:
        return kHeaderSize;
    }
  }

  std::string NameIn(absl::string_view request) const {
    const absl::string_view field = request.substr(NameAt(request), kNameFieldSize);
    return std::string(field.substr(0, field.find('\0')));
  }

  // Without what some clients leave behind a name, which means nothing.
  std::string WithoutGarbage(std::string request) const {
    const size_t at = NameAt(request);
    const size_t end = request.find('\0', at);
    if (end < at + kNameFieldSize) {
      request.replace(end, at + kNameFieldSize - end, at + kNameFieldSize - end, '\0');
    }
    return request;
  }

  std::string EncodeFile(const Sender& sender, const std::string& name,
                         const std::string& session_key) const {
    const std::string path = absl::StrCat(dir_, "/", name);
    std::ofstream(path, std::ios::binary | std::ios::trunc) << transcript_.plaintexts.at(name);
    auto content =
        EncryptedFile::Open(path, session_key, {*style_.checksum_kind, ChunkSize(style_)});
    EXPECT_OK(content);
    const auto plan = MakeFilePlan(style_, {sender, name, (*content)->plaintext_size()});
    EXPECT_OK(plan);
    FileRequest request(**plan, **content);
    StringSink sink;
    EXPECT_OK(CopyAll(request, sink));
    return sink.bytes();
  }

  std::string Encode(absl::string_view request) const {
    const RequestKind kind = KindOf(request);
    if (kind == RequestKind::kPublicKey) {
      return EncodePublicKeyRequest(
          SenderOf(request), NameIn(request),
          KeyPair::FromPrivateDer(transcript_.private_key)->PublicKeyField(PublicKeyForm::kSpki));
    }
    return EncodeNameRequest(SenderOf(request), kind, NameIn(request));
  }

  const ClientStyle style_ = Complete(GetParam().style).value();
  const Transcript transcript_ = ReadTranscript(GetParam().name);
  std::string dir_;
};

TEST_P(Golden, EveryRequestIsEncodedAsItWasRecorded) {
  size_t run = 0;
  std::string packets;  // Of the file that is being sent.
  std::vector<RequestKind> kinds;
  for (const std::string& recorded : transcript_.requests) {
    const std::string request = WithoutGarbage(recorded);
    const RequestKind kind = KindOf(request);
    kinds.push_back(kind);
    if (kind == RequestKind::kFile) {
      packets += request;
      continue;
    }
    if (kind == RequestKind::kChecksumOk) {
      EXPECT_EQ(EncodeFile(SenderOf(request), NameIn(request), transcript_.session_keys.at(run++)),
                packets);
      packets.clear();
    }
    EXPECT_EQ(Encode(request), request) << static_cast<int>(kind);
  }
  EXPECT_EQ(run, 2u);
  EXPECT_EQ(kinds.front(), RequestKind::kRegister);
}

INSTANTIATE_TEST_SUITE_P(RealClients, Golden, ::testing::ValuesIn(Recordings()),
                         [](const auto& recording) { return recording.param.name; });

}  // namespace
}  // namespace backup::legacy_client
