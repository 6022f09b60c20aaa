#include "content/stored_form.h"

#include <memory>
#include <string>
#include <utility>

#include "base/checksum.h"
#include "base/error.h"
#include "base/low_priority_thread.h"
#include "base/stage_resources.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "content/stored_content.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::content {
namespace {

using crypto::CbcFormat;
using storage::ChecksumKind;
using storage::StorageForm;
using testing::HasReason;
using testing::IsOkAndHolds;
using testing::PseudoRandomBytes;
using testing::RandomCutSource;

constexpr std::nullopt_t kUnencrypted = std::nullopt;
constexpr CbcFormat kSegments{.cut = CbcFormat::Cut::kSizedSegments};
constexpr size_t kMaxPiece = 100'000;
constexpr size_t kMaxStored = 32 << 20;
// `printf 'hello, backup' | openssl enc -aes-128-cbc -K 000102030405060708090a0b0c0d0e0f -iv 00`.
const std::string kSessionKey("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f",
                              16);
const std::string kCiphertext("\x1d\x36\xd5\x89\x16\x8e\xfe\x67\x5c\xc1\x1b\x7d\x7b\xfc\x00\xb9",
                              16);

class StoredFormTest : public ::testing::Test {
 protected:
  static Arrival ArrivalOf(StorageForm form, const std::optional<CbcFormat>& cbc,
                           size_t encoded_size) {
    Arrival arrival;
    arrival.client_id = *ClientId::FromBytes("0123456789abcdef");
    arrival.file_name = "name";
    arrival.encoding.cbc = cbc;
    if (arrival.encoding.in_sized_segments()) {
      arrival.encoding.max_size_bytes = 1000;
    } else {
      arrival.encoding.size_bytes = static_cast<int64_t>(encoded_size);
    }
    if (arrival.encoding.encrypted()) arrival.session_key = kSessionKey;
    arrival.form = FormOf(arrival.encoding, form);
    return arrival;
  }
  // What is stored of `encoded`; footer_ is its footer.
  absl::StatusOr<std::string> Store(Arrival arrival, const std::string& encoded) {
    RandomCutSource chunks(encoded, kMaxPiece);
    StoredForm form(
        std::move(arrival), master_key_, clock_, stages_, [] { return int64_t{7}; }, chunks);
    absl::StatusOr<std::string> stored = ReadAll(form, kMaxStored);
    footer_ = form.footer();
    return stored;
  }
  absl::StatusOr<std::string> ReadBack(const std::string& stored, int64_t offset, int64_t size) {
    auto content = StoredContent::Open(std::make_unique<StringAccess>(stored), master_key_,
                                       VersionOf(footer_));
    if (!content.ok()) return content.status();
    const auto range =
        ContentRange::Open(*std::move(content), stages_, offset, size, Verification::kOn);
    if (!range.ok()) return range.status();
    return ReadAll(**range, kMaxStored);
  }

  const crypto::KeyRing master_key_{std::string(32, 'm')};
  const FakeClock clock_{absl::FromUnixSeconds(1'700'000'000)};
  StageResources stages_;
  BlobFooter footer_;
};

TEST_F(StoredFormTest, IsReadBackWhateverTheFormAndHoweverItCame) {
  const std::string segment = std::string("\x10\0\0\0", 4) + kCiphertext;
  const std::pair<std::optional<CbcFormat>, std::string> encodings[] = {
      {kUnencrypted, "hello, backup"}, {CbcFormat(), kCiphertext}, {kSegments, segment}};
  for (const auto form :
       {StorageForm::kPlain, StorageForm::kSealed, StorageForm::kClientCiphertext}) {
    for (const auto& [cbc, encoded] : encodings) {
      const auto stored = Store(ArrivalOf(form, cbc, encoded.size()), encoded);
      ASSERT_OK(stored);
      EXPECT_EQ(footer_.version_id, 7);
      EXPECT_EQ(footer_.size_bytes, 13);
      EXPECT_EQ(footer_.receive_time, clock_.Now());
      EXPECT_THAT(ReadBack(*stored, 0, 13), IsOkAndHolds("hello, backup"));
      EXPECT_THAT(ReadBack(*stored, 7, 6), IsOkAndHolds("backup"));
    }
  }
}

TEST_F(StoredFormTest, OfALargeFileIsMadeAndReadAheadOfWhoeverWantsIt) {
  const std::string plain = PseudoRandomBytes(kLowPriorityMinSize + 12'345);
  for (const auto form : {StorageForm::kPlain, StorageForm::kSealed}) {
    const auto stored = Store(ArrivalOf(form, kUnencrypted, plain.size()), plain);
    ASSERT_OK(stored);
    const auto read = ReadBack(*stored, 0, static_cast<int64_t>(plain.size()));
    ASSERT_OK(read);
    EXPECT_TRUE(*read == plain);
  }
}

TEST_F(StoredFormTest, SumsUpWhatItIsToldTo) {
  Cksum plain_cksum;
  plain_cksum.Update("hello, backup");
  Crc32 plain_crc;
  plain_crc.Update("hello, backup");
  Cksum sent_cksum;
  sent_cksum.Update(kCiphertext);
  Crc32 sent_crc;
  sent_crc.Update(kCiphertext);
  const std::pair<ChecksumKind, uint32_t> expected[] = {
      {ChecksumKind::kCksumOfPlaintext, plain_cksum.Value()},
      {ChecksumKind::kCrc32OfPlaintext, plain_crc.Value()},
      {ChecksumKind::kCksumOfCiphertext, sent_cksum.Value()},
      {ChecksumKind::kCrc32OfCiphertext, sent_crc.Value()}};
  for (const auto& [kind, value] : expected) {
    Arrival arrival = ArrivalOf(StorageForm::kPlain, CbcFormat(), kCiphertext.size());
    arrival.checksum_kind = kind;
    ASSERT_OK(Store(arrival, kCiphertext));
    EXPECT_EQ(footer_.checksum, value) << static_cast<int>(kind);
  }
}

TEST_F(StoredFormTest, IsNotMadeOfContentThatIsNotWhatItShouldBe) {
  Arrival arrival = ArrivalOf(StorageForm::kPlain, kUnencrypted, 7);
  EXPECT_THAT(Store(arrival, "shorts"), HasReason(Reason::kInvalidField));
  EXPECT_THAT(Store(arrival, "too long"), HasReason(Reason::kInvalidField));
  arrival.original_size = 6;
  EXPECT_THAT(Store(arrival, "content"), HasReason(Reason::kContentRejected));
  arrival = ArrivalOf(StorageForm::kPlain, CbcFormat(), 16);
  EXPECT_THAT(Store(arrival, std::string(16, 'x')), HasReason(Reason::kContentRejected));
  arrival = ArrivalOf(StorageForm::kPlain, kSegments, 0);
  arrival.encoding.max_size_bytes = 19;
  EXPECT_THAT(Store(arrival, std::string("\x10\0\0\0", 4) + kCiphertext),
              HasReason(Reason::kSizeLimit));
}

TEST_F(StoredFormTest, HasNoRoomForMoreThanItsLargestSize) {
  for (const auto form : {StorageForm::kPlain, StorageForm::kSealed}) {
    const Arrival arrival = ArrivalOf(form, kUnencrypted, 100'000);
    const auto stored = Store(arrival, std::string(100'000, 'x'));
    ASSERT_OK(stored);
    EXPECT_LE(std::ssize(*stored), *LargestStoredSize(arrival.encoding, form));
  }
  EXPECT_EQ(
      LargestStoredSize(ArrivalOf(StorageForm::kPlain, kSegments, 0).encoding, StorageForm::kPlain),
      std::nullopt);
}

}  // namespace
}  // namespace backup::content
