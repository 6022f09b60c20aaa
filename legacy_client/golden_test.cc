// What real clients of every family sent, byte for byte, encoded anew: the transcripts in
// tests/testdata/wire.
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/hex.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "legacy_client/dialect_file.h"
#include "legacy_client/encrypted_file.h"
#include "legacy_client/fields.h"
#include "legacy_client/file_plan.h"
#include "legacy_client/file_request.h"
#include "legacy_client/frames.h"
#include "legacy_client/key_pair.h"

namespace backup::legacy_client {
namespace {

using bridge::v1::Field;

struct Recording {
  std::string name;
  ClientStyle style;
  // Of a file's last bytes, that are not compared.
  size_t odd_end = 0;
};

ClientStyle Style(absl::string_view family, std::optional<FileStyle> file_style = std::nullopt) {
  ClientStyle style;
  style.dialect = FamilyDialect(family).value();
  style.file_style = file_style;
  return style;
}

ClientStyle BuiltIn(absl::string_view dialect) {
  ClientStyle style;
  style.dialect = BuiltInDialect(dialect).value();
  return style;
}

std::vector<Recording> Recordings() {
  ClientStyle b2 = Style("B", FileStyle::kBlocks);
  b2.blocks_1024 = true;
  ClientStyle c1 = Style("C", FileStyle::kCounted);
  c1.header_version = 1;
  ClientStyle c2 = Style("C", FileStyle::kCounted);
  c2.header_version = 3;
  ClientStyle c3 = Style("C", FileStyle::kUncounted);
  c3.header_version = 3;
  ClientStyle d1 = Style("D", FileStyle::kChunks);
  d1.packet_size = 4000;
  d1.original_size = OriginalSize::kPacket;
  ClientStyle e1 = Style("E", FileStyle::kStream);
  e1.packet_size = 4096;
  ClientStyle e2 = Style("E", FileStyle::kChunks);
  e2.packet_size = 1024;
  e2.swap_packet_fields = true;
  ClientStyle e3 = BuiltIn("e3");
  e3.packet_size = 1024;
  return {{"a1", Style("A", FileStyle::kTruncated)},
          {"a2", BuiltIn("a2")},
          {"b1", Style("B", FileStyle::kCounted)},
          {"b2", b2},
          // Its client encrypted one byte too many with the last, incomplete piece: whatever was
          // behind the end of the file. A played client adds none (PKCS7_AND_SURPLUS), so the
          // cipher block that has it differs.
          {"b3", BuiltIn("b3"), kCipherBlockSize},
          {"c1", c1},
          {"c2", c2},
          {"c3", c3},
          {"d1", d1},
          {"e1", e1},
          {"e2", e2},
          {"e3", e3}};
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

  size_t header_size() const { return frames_.request_header_size(); }

  RequestKind KindOf(absl::string_view request) const {
    size_t at = 0;
    for (const Field& field : style_.dialect.request_header()) {
      if (field.kind() == Field::CODE) {
        const uint64_t code =
            DecodeInteger(field, style_.dialect.byte_order(), request.substr(at, field.width()));
        for (const auto& one : style_.dialect.requests()) {
          if (one.codes(0) == code) return one.kind();
        }
        ADD_FAILURE() << code;
      }
      at += field.width();
    }
    return RequestKind::REQUEST_KIND_UNSPECIFIED;
  }

  ClientId IdOf(absl::string_view request) const {
    return *ClientId::FromBytes(request.substr(0, ClientId::kSize));
  }

  // Where a name begins in a request, behind its header, and how large its field is.
  struct NamePlace {
    size_t at = 0;
    size_t width = 0;
  };
  NamePlace NameIn(RequestKind kind, size_t at) const {
    for (const Field& field : FindRequest(style_.dialect, kind)->fields()) {
      if (field.kind() == Field::CLIENT_NAME || field.kind() == Field::FILE_NAME) {
        return {at, field.width()};
      }
      at += field.width();
    }
    return {};
  }

  std::string NameOf(absl::string_view request) const {
    const NamePlace place = NameIn(KindOf(request), header_size());
    const absl::string_view field = request.substr(place.at, place.width);
    return std::string(field.substr(0, field.find('\0')));
  }

  // `bytes` with zeros for what some clients leave behind a name, and in and behind the fields
  // that mean nothing; `at`: where the payload begins.
  void RemoveGarbage(RequestKind kind, size_t at, std::string& bytes) const {
    const NamePlace place = NameIn(kind, at);
    const size_t end = std::min(bytes.find('\0', place.at), place.at + place.width);
    std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(end), place.at + place.width - end, '\0');
    for (const Field& field : FindRequest(style_.dialect, kind)->fields()) {
      if (field.kind() == Field::FILL) bytes[at] = '\0';
      at += field.width();
    }
    if (kind != RequestKind::FILE) {
      std::fill(bytes.begin() + static_cast<ptrdiff_t>(at), bytes.end(), '\0');
    }
  }

  std::string WithoutGarbage(std::string request) const {
    const RequestKind kind = KindOf(request);
    RemoveGarbage(kind, header_size(), request);
    return request;
  }

  std::string EncodeFile(absl::string_view recorded, const std::string& session_key) const {
    const std::string name = NameOf(recorded);
    const std::string path = absl::StrCat(dir_, "/", name);
    std::ofstream(path, std::ios::binary | std::ios::trunc) << transcript_.plaintexts.at(name);
    EncryptionOptions options = EncryptionOf(style_);
    const size_t fields_size = frames_.Fields(RequestKind::FILE, RequestValues()).size();
    options.make_vector = [&] {
      return std::string(recorded.substr(header_size() + fields_size, kCipherBlockSize));
    };
    auto content = EncryptedFile::Open(path, session_key, options);
    EXPECT_OK(content);
    const auto plan =
        FilePlan::Make(style_, frames_, {IdOf(recorded), name, (*content)->plaintext_size()});
    EXPECT_OK(plan);
    FileRequest request(*plan, **content);
    StringSink sink;
    EXPECT_OK(CopyAll(request, sink));
    return sink.bytes();
  }

  std::string Encode(absl::string_view request) const {
    const KeyPair key_pair = KeyPair::FromPrivateDer(transcript_.private_key).value();
    const std::string key = key_pair.PublicDer(*style_.public_key_form);
    const std::string name = NameOf(request);
    std::string encoded = frames_.Request(
        KindOf(request),
        {.id = IdOf(request), .client_name = name, .file_name = name, .public_key = key});
    encoded.append(static_cast<size_t>(frames_.RequestPadding(std::ssize(encoded))), '\0');
    return encoded;
  }

  const ClientStyle style_ = Complete(GetParam().style).value();
  const Frames frames_ = Frames(style_.dialect, FrameStyleOf(style_));
  const Transcript transcript_ = ReadTranscript(GetParam().name);
  std::string dir_;
};

TEST_P(Golden, EveryRequestIsEncodedAsItWasRecorded) {
  size_t run = 0;
  std::string file;  // All requests of the one that is being sent.
  std::vector<RequestKind> kinds;
  for (const std::string& recorded : transcript_.requests) {
    const std::string request = WithoutGarbage(recorded);
    const RequestKind kind = KindOf(request);
    kinds.push_back(kind);
    if (kind == RequestKind::FILE) {
      file += request;
      continue;
    }
    if (kind == RequestKind::VALID) {
      const std::string encoded = EncodeFile(file, transcript_.session_keys.at(run++));
      ASSERT_EQ(encoded.size(), file.size());
      const size_t compared = file.size() - GetParam().odd_end;
      EXPECT_EQ(absl::BytesToHexString(encoded.substr(0, compared)),
                absl::BytesToHexString(file.substr(0, compared)));
      file.clear();
    }
    EXPECT_EQ(absl::BytesToHexString(Encode(request)), absl::BytesToHexString(request))
        << RequestKind_Name(kind);
  }
  EXPECT_EQ(run, 2u);
  EXPECT_EQ(kinds.front(), RequestKind::REGISTER);
}

INSTANTIATE_TEST_SUITE_P(RealClients, Golden, ::testing::ValuesIn(Recordings()),
                         [](const auto& recording) { return recording.param.name; });

}  // namespace
}  // namespace backup::legacy_client
