#include "content/blob_footer.h"

#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace backup::content {
namespace {

using crypto::CbcFormat;
using storage::ChecksumKind;
using storage::StorageForm;
using testing::HasReason;

constexpr absl::string_view kPayload = "the payload";

BlobFooter SomeFooter() {
  BlobFooter footer;
  footer.client_id = *ClientId::FromBytes("0123456789abcdef");
  footer.file_name = std::string("na\0me\xFF", 6);
  footer.version_id = 42;
  footer.size_bytes = int64_t{5} << 40;
  footer.encoded_size = (int64_t{5} << 40) + 16;
  footer.payload_size = static_cast<int64_t>(kPayload.size());
  footer.checksum_kind = ChecksumKind::kCrc32OfCiphertext;
  footer.checksum = 0xFEDCBA98;
  footer.sha256 = std::string(32, '\xAB');
  footer.form = StorageForm::kClientCiphertext;
  footer.receive_time = absl::FromUnixMicros(1'700'000'000'123'456);
  footer.wrapped_key = std::string(60, '\x99');
  return footer;
}

// Of a client that encrypts in another way than most.
BlobFooter ClientFormatFooter() {
  BlobFooter footer = SomeFooter();
  footer.form = StorageForm::kClientFormat;
  footer.cbc = {.cut = CbcFormat::Cut::kEqualSegments,
                .initial_vector = CbcFormat::InitialVector::kInFront,
                .padding = CbcFormat::Padding::kZeros,
                .segment_size = 0x01020310};
  return footer;
}

absl::StatusOr<BlobFooter> Read(absl::string_view blob) {
  return ReadFooter(StringAccess(std::string(blob)));
}

std::string BlobOf(const BlobFooter& footer) {
  return std::string(kPayload) + EncodeFooter(footer);
}

TEST(BlobFooter, GivesBackEveryField) {
  const BlobFooter footer = SomeFooter();
  const auto read = Read(BlobOf(footer));
  ASSERT_OK(read);
  EXPECT_EQ(read->client_id, footer.client_id);
  EXPECT_EQ(read->file_name, footer.file_name);
  EXPECT_EQ(read->version_id, footer.version_id);
  EXPECT_EQ(read->size_bytes, footer.size_bytes);
  EXPECT_EQ(read->encoded_size, footer.encoded_size);
  EXPECT_EQ(read->payload_size, footer.payload_size);
  EXPECT_EQ(read->checksum_kind, footer.checksum_kind);
  EXPECT_EQ(read->checksum, footer.checksum);
  EXPECT_EQ(read->sha256, footer.sha256);
  EXPECT_EQ(read->form, footer.form);
  EXPECT_EQ(read->receive_time, footer.receive_time);
  EXPECT_EQ(read->wrapped_key, footer.wrapped_key);
}

TEST(BlobFooter, TellsTheClientsFormatBehindTheName) {
  const BlobFooter footer = ClientFormatFooter();
  const std::string fields = EncodeFooterFields(footer);
  // For ever: blobs of old versions have it so.
  EXPECT_EQ(fields.substr(fields.size() - 7), std::string("\x03\x01\x01\x10\x03\x02\x01", 7));
  const auto read = Read(BlobOf(footer));
  ASSERT_OK(read);
  EXPECT_EQ(read->cbc, footer.cbc);
}

TEST(BlobFooter, TellsTheFormatsOfTheOtherClientsFormsByTheForm) {
  BlobFooter footer = SomeFooter();
  EXPECT_EQ(Read(BlobOf(footer))->cbc, CbcFormat());
  footer.form = StorageForm::kClientSegments;
  EXPECT_EQ(Read(BlobOf(footer))->cbc, CbcFormat{.cut = CbcFormat::Cut::kSizedSegments});
  for (const StorageForm form : {StorageForm::kClientCiphertext, StorageForm::kClientSegments}) {
    footer.form = form;
    EXPECT_EQ(FormOf(Read(BlobOf(footer))->cbc), form);
  }
  EXPECT_EQ(FormOf(ClientFormatFooter().cbc), StorageForm::kClientFormat);
}

TEST(BlobFooter, IsRefusedIfItsFormatMakesNoSense) {
  const auto with = [&](auto change) {
    BlobFooter footer = ClientFormatFooter();
    change(footer.cbc);
    return Read(BlobOf(footer));
  };
  EXPECT_OK(with([](CbcFormat&) {}));
  EXPECT_OK(with([](CbcFormat& cbc) { cbc.padding = CbcFormat::Padding::kPkcs7AndSurplus; }));
  EXPECT_THAT(with([](CbcFormat& cbc) { cbc.cut = static_cast<CbcFormat::Cut>(0); }),
              HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(with([](CbcFormat& cbc) { cbc.cut = static_cast<CbcFormat::Cut>(4); }),
              HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(
      with([](CbcFormat& cbc) { cbc.initial_vector = static_cast<CbcFormat::InitialVector>(2); }),
      HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(with([](CbcFormat& cbc) { cbc.padding = static_cast<CbcFormat::Padding>(3); }),
              HasReason(Reason::kBlobDamaged));
  for (const int64_t size : {0, 1, 24})
    EXPECT_THAT(with([&](CbcFormat& cbc) { cbc.segment_size = size; }),
                HasReason(Reason::kBlobDamaged))
        << size;
  EXPECT_THAT(with([](CbcFormat& cbc) { cbc.cut = CbcFormat::Cut::kWhole; }),
              HasReason(Reason::kBlobDamaged));
}

TEST(BlobFooter, FitsItsLimitWithTheLongestNameAndKey) {
  BlobFooter footer = ClientFormatFooter();
  footer.file_name = std::string(255, 'n');
  footer.wrapped_key = std::string(kMaxWrappedKeySize, 'k');
  EXPECT_LE(EncodeFooter(footer).size(), kMaxFooterSize);
  EXPECT_OK(Read(BlobOf(footer)));
}

TEST(BlobFooter, IsFoundBehindAnEmptyPayload) {
  BlobFooter footer = SomeFooter();
  footer.payload_size = 0;
  EXPECT_OK(Read(EncodeFooter(footer)));
}

TEST(BlobFooter, BeginsWithTheFieldsThatWrappingTheKeyAuthenticates) {
  const BlobFooter footer = SomeFooter();
  const std::string fields = EncodeFooterFields(footer);
  EXPECT_EQ(EncodeFooter(footer).substr(0, fields.size()), fields);
  BlobFooter other = footer;
  other.wrapped_key = "another";
  EXPECT_EQ(EncodeFooterFields(other), fields);
}

TEST(BlobFooter, IsRefusedWhenTheBlobIsCutAnywhere) {
  const std::string blob = BlobOf(SomeFooter());
  for (size_t size = 0; size < blob.size(); ++size) {
    EXPECT_THAT(Read(absl::string_view(blob).substr(0, size)), HasReason(Reason::kBlobDamaged))
        << size;
  }
}

TEST(BlobFooter, IsRefusedWhenTheBlobsFrontIsMissing) {
  const std::string blob = BlobOf(SomeFooter());
  for (size_t missing = 1; missing <= blob.size(); ++missing) {
    EXPECT_THAT(Read(absl::string_view(blob).substr(missing)), HasReason(Reason::kBlobDamaged))
        << missing;
  }
}

TEST(BlobFooter, IsRefusedWhenAnythingIsAppendedOrPrepended) {
  const std::string blob = BlobOf(SomeFooter());
  EXPECT_THAT(Read(blob + "x"), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Read("x" + blob), HasReason(Reason::kBlobDamaged));
}

TEST(BlobFooter, IsRefusedWhenAnyBitOfItIsFlipped) {
  const std::string blob = BlobOf(ClientFormatFooter());
  for (size_t at = kPayload.size(); at < blob.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = blob;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
      EXPECT_THAT(Read(flipped), HasReason(Reason::kBlobDamaged)) << at << "." << bit;
    }
  }
}

}  // namespace
}  // namespace backup::content
