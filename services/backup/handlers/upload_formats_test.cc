// Content in every format in which old clients encrypt it.

#include <algorithm>
#include <optional>
#include <string>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "base/checksum.h"
#include "base/error.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/handlers/upload_file.h"
#include "services/backup/handlers/verify_store.h"
#include "services/backup/testing/legacy_peer.h"
#include "services/backup/testing/memory_service.h"

namespace backup::handlers {
namespace {

using storage::StorageForm;
using testing::ClientCipher;
using testing::DownloadOf;
using testing::EncryptAsClient;
using testing::HasReason;
using ::testing::HasSubstr;
using testing::HeaderOf;
using testing::IsOkAndHolds;
using testing::KnownClient;
using testing::MemoryService;
using testing::PseudoRandomBytes;
using testing::RandomCutSource;
using Header = v1::UploadFileHeader;

enum class Cut { kWhole, kSizedSegments, kEqualSegments };
// Plaintext of one segment, whole blocks.
constexpr size_t kSegmentContent = 48;
// As much as may be; a full last segment has room for it where PKCS#7 has a block for nothing else.
constexpr absl::string_view kSurplus = "no part of file";
static_assert(kSurplus.size() == 15);

std::string LittleEndian32(size_t value) {
  std::string out;
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(value >> shift));
  return out;
}

struct Encoded {
  Header header;
  std::string sent;
  std::string ciphertext;  // Without the sizes of segments.
};

// As a client sends it that encrypts as `padding` and `vector` say, `content` of it in a segment.
Encoded Encode(const KnownClient& client, const std::string& plain, Cut cut,
               Header::InitialVector vector, Header::Padding padding,
               absl::string_view surplus = kSurplus, size_t content = kSegmentContent) {
  Encoded encoded;
  size_t segment_size = 0;
  const bool has_surplus = padding == Header::PKCS7_AND_SURPLUS;
  for (size_t at = 0; at == 0 || at < plain.size(); at += content) {
    const ClientCipher how{.vector = vector == Header::IN_FRONT
                                         ? PseudoRandomBytes(16, static_cast<uint32_t>(at))
                                         : "",
                           .pkcs7 = padding != Header::ZEROS};
    std::string part = cut == Cut::kWhole ? plain : plain.substr(at, content);
    const bool is_last = cut == Cut::kWhole || at + content >= plain.size();
    if (has_surplus && is_last) absl::StrAppend(&part, surplus);
    const std::string segment = EncryptAsClient(client.session_key, part, how);
    if (cut == Cut::kSizedSegments) encoded.sent += LittleEndian32(segment.size());
    encoded.sent += segment;
    encoded.ciphertext += segment;
    if (cut == Cut::kWhole) break;
    if (at == 0) segment_size = segment.size();
  }
  encoded.header =
      HeaderOf(client.id, "file", cut == Cut::kWhole ? Header::AES_CBC : Header::AES_CBC_SEGMENTS,
               encoded.sent);
  if (cut == Cut::kSizedSegments) encoded.header.set_encoded_size(0);
  if (cut == Cut::kEqualSegments) {
    // A last segment that is the only one may be shorter than any.
    encoded.header.set_segment_size(static_cast<int32_t>(std::max<size_t>(segment_size, 32)));
  }
  encoded.header.set_initial_vector(vector);
  encoded.header.set_padding(padding);
  if (has_surplus) encoded.header.set_original_size(std::ssize(plain));
  return encoded;
}

template <typename Sum>
uint32_t SumOf(const std::string& bytes) {
  Sum sum;
  sum.Update(bytes);
  return sum.Value();
}

class UploadFormatsTest
    : public ::testing::TestWithParam<
          std::tuple<StorageForm, Cut, Header::InitialVector, Header::Padding>> {
 protected:
  Encoded Encode(const std::string& plain) const {
    return handlers::Encode(client_, plain, std::get<1>(GetParam()), std::get<2>(GetParam()),
                            std::get<3>(GetParam()));
  }
  v1::FileVersion::Storage ExpectedStorage() const {
    switch (std::get<0>(GetParam())) {
      case StorageForm::kPlain:
        return v1::FileVersion::PLAIN;
      case StorageForm::kSealed:
        return v1::FileVersion::SEALED;
      default:
        return v1::FileVersion::CLIENT_CIPHERTEXT;
    }
  }
  void ExpectReadBack(const std::string& plain, int64_t version_id) {
    v1::DownloadFileRequest request = DownloadOf(client_.id, "file", version_id);
    EXPECT_THAT(service_.Download(request), IsOkAndHolds(plain));
    request.set_offset_bytes(static_cast<int64_t>(plain.size() / 2));
    EXPECT_THAT(service_.Download(request), IsOkAndHolds(plain.substr(plain.size() / 2)));
  }

  MemoryService service_;
  const KnownClient client_ = service_.MakeClient("laptop", 256);
};

TEST_P(UploadFormatsTest, AreReadBackAtEverySizeFromTheCatalogAndFromBlobs) {
  service_.uploads.form = std::get<0>(GetParam());
  for (const int64_t inline_limit : {0, 1 << 20}) {
    service_.uploads.inline_blob_limit = inline_limit;
    for (const size_t size : {0, 1, 15, 16, 47, 48, 49, 96, 100, 5000, 100'000}) {
      const std::string plain = PseudoRandomBytes(size);
      Encoded encoded = Encode(plain);
      encoded.header.set_original_size(static_cast<int64_t>(size));
      encoded.header.set_checksum_kind(v1::CRC32_OF_PLAINTEXT);
      const auto response = service_.Upload(encoded.header, encoded.sent);
      ASSERT_OK(response) << size;
      EXPECT_EQ(response->checksum(), SumOf<Crc32>(plain)) << size;
      EXPECT_EQ(response->encoded_size(), std::ssize(encoded.ciphertext));
      EXPECT_EQ(response->version().size_bytes(), std::ssize(plain));
      EXPECT_EQ(response->version().storage(), ExpectedStorage());
      ExpectReadBack(plain, response->version().version_id());
    }
  }
}

TEST_P(UploadFormatsTest, AreSummedUpAsTheyCame) {
  service_.uploads.form = std::get<0>(GetParam());
  Encoded encoded = Encode(PseudoRandomBytes(1000));
  encoded.header.set_checksum_kind(v1::CKSUM_OF_CIPHERTEXT);
  const auto response = service_.Upload(encoded.header, encoded.sent);
  ASSERT_OK(response);
  EXPECT_EQ(response->checksum(), SumOf<Cksum>(encoded.ciphertext));
}

TEST_P(UploadFormatsTest, KeepTheirZerosIfNobodySaysWhereTheyBegin) {
  if (std::get<3>(GetParam()) != Header::ZEROS) return;
  service_.uploads.form = std::get<0>(GetParam());
  const std::string plain = PseudoRandomBytes(100);
  const Encoded encoded = Encode(plain);
  const auto response = service_.Upload(encoded.header, encoded.sent);
  ASSERT_OK(response);
  const std::string kept = plain + std::string(12, '\0');
  EXPECT_EQ(response->checksum(), SumOf<Cksum>(kept));
  ExpectReadBack(kept, response->version().version_id());
}

INSTANTIATE_TEST_SUITE_P(
    EveryFormat, UploadFormatsTest,
    ::testing::Combine(::testing::Values(StorageForm::kPlain, StorageForm::kSealed,
                                         StorageForm::kClientCiphertext),
                       ::testing::Values(Cut::kWhole, Cut::kSizedSegments, Cut::kEqualSegments),
                       ::testing::Values(Header::ZERO_IV, Header::IN_FRONT),
                       ::testing::Values(Header::PKCS7, Header::ZEROS, Header::PKCS7_AND_SURPLUS)));

class UploadFormatErrorsTest : public ::testing::Test {
 protected:
  absl::Status Upload(const Header& header, const std::string& sent) {
    return service_.Upload(header, sent).status();
  }
  absl::Status UploadZeros(const std::string& plain, int64_t original_size) {
    Encoded encoded = Encode(client_, plain, Cut::kWhole, Header::ZERO_IV, Header::ZEROS);
    encoded.header.set_original_size(original_size);
    return Upload(encoded.header, encoded.sent);
  }

  MemoryService service_;
  const KnownClient client_ = service_.MakeClient("laptop");
};

MATCHER_P(IsRejected, why, "") {
  return ReasonOf(arg) == Reason::kContentRejected &&
         ExplainMatchResult(HasSubstr(why), std::string(arg.message()), result_listener);
}

TEST_F(UploadFormatErrorsTest, ContentThatIsTooShortForItsVector) {
  Header header = HeaderOf(client_.id, "file", Header::AES_CBC, std::string(16, 'v'));
  header.set_initial_vector(Header::IN_FRONT);
  EXPECT_THAT(Upload(header, std::string(16, 'v')), IsRejected("too short for the initial vector"));
  header.set_encoded_size(10);
  EXPECT_THAT(Upload(header, std::string(10, 'v')), IsRejected("too short for the initial vector"));
}

TEST_F(UploadFormatErrorsTest, SizesThatAreNoWholeBlocks) {
  Header header = HeaderOf(client_.id, "file", Header::AES_CBC, std::string(20, 'c'));
  header.set_padding(Header::ZEROS);
  EXPECT_THAT(Upload(header, std::string(20, 'c')), IsRejected("no multiple of 16 bytes"));
  header.set_encoding(Header::AES_CBC_SEGMENTS);
  header.set_segment_size(32);
  EXPECT_THAT(Upload(header, std::string(20, 'c')), IsRejected("no multiple of 16 bytes"));
}

TEST_F(UploadFormatErrorsTest, AnOriginalSizeThatDoesNotFit) {
  const std::string plain(32, 'p');
  EXPECT_OK(UploadZeros(plain, 32));
  EXPECT_THAT(UploadZeros(plain, 33), IsRejected("announced original size"));
  EXPECT_THAT(UploadZeros(plain, 16), IsRejected("longer than its original size and padding"));
  // Bytes that are no padding are not cut off in silence.
  EXPECT_THAT(UploadZeros(plain, 31), IsRejected("cannot be decrypted"));
}

TEST_F(UploadFormatErrorsTest, FieldsThatContradictEachOther) {
  struct Case {
    const char* field;
    void (*spoil)(Header&);
  };
  const Case cases[] = {
      {"header.initial_vector",
       [](Header& header) { header.set_initial_vector(static_cast<Header::InitialVector>(2)); }},
      {"header.padding",
       [](Header& header) { header.set_padding(static_cast<Header::Padding>(3)); }},
      {"header.original_size",
       [](Header& header) { header.set_padding(Header::PKCS7_AND_SURPLUS); }},
      {"header.segment_size", [](Header& header) { header.set_segment_size(32); }},
      {"header.encoding",
       [](Header& header) {
         header.set_encoding(Header::IDENTITY);
         header.set_padding(Header::ZEROS);
       }},
      {"header.encoding",
       [](Header& header) {
         header.set_encoding(Header::IDENTITY);
         header.set_initial_vector(Header::IN_FRONT);
       }},
      {"header.segment_size",
       [](Header& header) {
         header.set_encoding(Header::AES_CBC_SEGMENTS);
         header.set_segment_size(24);
       }},
      {"header.segment_size",
       [](Header& header) {
         header.set_encoding(Header::AES_CBC_SEGMENTS);
         header.set_segment_size(-16);
       }},
      {"header.segment_size",
       [](Header& header) {
         header.set_encoding(Header::AES_CBC_SEGMENTS);
         header.set_initial_vector(Header::IN_FRONT);
         header.set_segment_size(16);
       }},
      {"header.segment_count",
       [](Header& header) {
         header.set_encoding(Header::AES_CBC_SEGMENTS);
         header.set_segment_size(32);
         header.set_segment_count(1);
       }},
  };
  const std::string sent(32, 'c');
  for (const Case& wrong : cases) {
    Header header = HeaderOf(client_.id, "file", Header::AES_CBC, sent);
    wrong.spoil(header);
    const absl::Status status = Upload(header, sent);
    EXPECT_THAT(status, HasReason(Reason::kInvalidField)) << wrong.field;
    EXPECT_EQ(SubjectOf(status), wrong.field);
  }
}

// A service that does not know these fields must not read such content as if they were not there.
TEST_F(UploadFormatErrorsTest, OldEncodingsWithNewFields) {
  const std::string sent(32, 'c');
  for (const auto encoding : {Header::AES_CBC_ZERO_IV, Header::AES_CBC_ZERO_IV_SEGMENTS}) {
    for (const auto padding : {Header::PKCS7, Header::ZEROS, Header::PKCS7_AND_SURPLUS}) {
      Header header = HeaderOf(client_.id, "file", encoding, sent);
      header.set_original_size(1);
      header.set_padding(padding);
      if (padding == Header::PKCS7) header.set_initial_vector(Header::IN_FRONT);
      const absl::Status status = Upload(header, sent);
      EXPECT_THAT(status, HasReason(Reason::kInvalidField));
      EXPECT_EQ(SubjectOf(status), "header.encoding");
    }
  }
}

TEST_F(UploadFormatErrorsTest, ASurplusThatIsTooLargeOrNotThere) {
  for (const Cut cut : {Cut::kWhole, Cut::kSizedSegments, Cut::kEqualSegments}) {
    Encoded encoded = Encode(client_, std::string(40, 'p'), cut, Header::ZERO_IV,
                             Header::PKCS7_AND_SURPLUS, "", 64);
    for (const int size : {40, 39, 25}) {
      encoded.header.set_original_size(size);
      EXPECT_OK(Upload(encoded.header, encoded.sent)) << size;
    }
    for (const int size : {24, 0}) {
      encoded.header.set_original_size(size);
      EXPECT_THAT(Upload(encoded.header, encoded.sent),
                  IsRejected("longer than its original size"));
    }
    encoded.header.set_original_size(41);
    EXPECT_THAT(Upload(encoded.header, encoded.sent), IsRejected("announced original size"));
  }
}

// As the client sends it of which that is known: each 16 bytes on their own, and a byte too many
// with the last if these are fewer.
TEST(UploadFormats, WithASurplusAreStoredRestoredAndVerified) {
  for (const StorageForm form :
       {StorageForm::kPlain, StorageForm::kSealed, StorageForm::kClientCiphertext}) {
    MemoryService service;
    service.uploads.form = form;
    service.uploads.inline_blob_limit = 100;
    const KnownClient client = service.MakeClient("laptop");
    for (const size_t size : {1, 15, 16, 17, 3000}) {
      const std::string plain = PseudoRandomBytes(size);
      const Encoded encoded = Encode(client, plain, Cut::kEqualSegments, Header::ZERO_IV,
                                     Header::PKCS7_AND_SURPLUS, size % 16 == 0 ? "" : "\5", 16);
      ASSERT_EQ(encoded.header.segment_size(), 32);
      const auto response = service.Upload(encoded.header, encoded.sent);
      ASSERT_OK(response) << size;
      EXPECT_EQ(response->checksum(), SumOf<Cksum>(plain));
      EXPECT_EQ(response->version().size_bytes(), std::ssize(plain));
      ASSERT_OK(service.Report(client.id, "file", v1::ReportTransferRequest::VERIFIED));
      const int64_t id = response->version().version_id();
      EXPECT_THAT(service.Download(DownloadOf(client.id, "file", id)), IsOkAndHolds(plain)) << size;
    }
    const absl::Status verified =
        VerifyStore(service.stored_places, service.stages.pieces, v1::VerifyStoreRequest(),
                    [](const v1::VerifyStoreResponse& event) {
                      EXPECT_FALSE(event.has_finding()) << event.ShortDebugString();
                      return absl::OkStatus();
                    });
    EXPECT_OK(verified);
  }
}

// As when --rotate_session_keys is on: each version has the key under which it came.
TEST(UploadFormats, StayReadableWhenTheSessionKeyGetsAnotherSize) {
  MemoryService service;
  service.uploads.form = StorageForm::kClientCiphertext;
  const KnownClient client = service.MakeClient("laptop", 128);
  const Encoded encoded =
      Encode(client, "content", Cut::kEqualSegments, Header::IN_FRONT, Header::PKCS7);
  const auto response = service.Upload(encoded.header, encoded.sent);
  ASSERT_OK(response);
  v1::ResumeClientRequest resume;
  resume.set_client_id(client.id);
  resume.set_session_key_bits(256);
  ASSERT_OK(service.ResumeClient(resume));
  EXPECT_EQ(service.Client(client.id).session_key_bits, 256);
  EXPECT_THAT(service.Download(DownloadOf(client.id, "file", response->version().version_id())),
              IsOkAndHolds("content"));
}

// The same while an upload is under way.
TEST(UploadFormats, StayReadableWhenTheSessionKeyChangesBeforeTheyAreAdded) {
  MemoryService service;
  service.uploads.form = StorageForm::kClientCiphertext;
  const KnownClient client = service.MakeClient("laptop", 128);
  const Encoded encoded = Encode(client, "content", Cut::kWhole, Header::IN_FRONT, Header::PKCS7);
  RandomCutSource chunks(encoded.sent, 10);
  auto upload = UploadFile::Prepare(service.upload_resources, encoded.header, chunks);
  ASSERT_OK(upload);
  v1::ResumeClientRequest resume;
  resume.set_client_id(client.id);
  resume.set_session_key_bits(256);
  ASSERT_OK(service.ResumeClient(resume));
  const auto response = upload->Respond(service.catalog.Run(
      [&](storage::Transaction& transaction) { return upload->Apply(transaction); }));
  ASSERT_OK(response);
  EXPECT_EQ(service.Client(client.id).session_key_bits, 256);
  EXPECT_THAT(service.Download(DownloadOf(client.id, "file", response->version().version_id())),
              IsOkAndHolds("content"));
}

}  // namespace
}  // namespace backup::handlers
