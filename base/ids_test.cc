#include "base/ids.h"

#include <set>
#include <string>

#include "absl/hash/hash.h"
#include "base/testing/random_cut_source.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using testing::PseudoRandomBytes;

constexpr char kText[] = "00112233-4455-6677-8899-aabbccddeeff";
constexpr absl::string_view kBytes(
    "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xAA\xBB\xCC\xDD\xEE\xFF", 16);

TEST(Id, TakesExactlySixteenBytes) {
  EXPECT_TRUE(ClientId::FromBytes(kBytes).has_value());
  EXPECT_FALSE(ClientId::FromBytes(kBytes.substr(1)).has_value());
  EXPECT_FALSE(ClientId::FromBytes(std::string(17, 'x')).has_value());
  EXPECT_FALSE(ClientId::FromBytes("").has_value());
}

TEST(Id, KeepsItsBytesAndOrdersAndHashesByThem) {
  const ClientId id = *ClientId::FromBytes(kBytes);
  EXPECT_EQ(id.bytes(), kBytes);
  EXPECT_EQ(ClientId().bytes(), std::string(16, '\0'));
  EXPECT_LT(ClientId(), id);
  EXPECT_LT(id, *ClientId::FromBytes(std::string(16, '\xff')));
  EXPECT_EQ(id, *ClientId::FromBytes(kBytes));
  EXPECT_NE(id, ClientId());
  EXPECT_EQ(absl::HashOf(id), absl::HashOf(*ClientId::FromBytes(kBytes)));
  EXPECT_EQ((std::set<ClientId>{id, ClientId(), id}).size(), 2u);
}

TEST(Uuid, IsCanonicalLowerCase) { EXPECT_EQ(ToUuid(*ClientId::FromBytes(kBytes)), kText); }

TEST(Uuid, IsReadInEitherCase) {
  EXPECT_EQ(FromUuid<ClientId>(kText), ClientId::FromBytes(kBytes));
  EXPECT_EQ(FromUuid<ClientId>("00112233-4455-6677-8899-AABBccddEEFF"),
            ClientId::FromBytes(kBytes));
}

TEST(Uuid, LeadsBackToAnyBytes) {
  for (uint32_t seed = 0; seed < 1000; ++seed) {
    const UploadId id = *UploadId::FromBytes(PseudoRandomBytes(16, seed));
    ASSERT_EQ(FromUuid<UploadId>(ToUuid(id)), id);
  }
}

TEST(Uuid, RefusesWhatIsNotOne) {
  EXPECT_FALSE(FromUuidText("").has_value());
  EXPECT_FALSE(FromUuidText("00112233-4455-6677-8899-aabbccddeef").has_value());
  EXPECT_FALSE(FromUuidText("00112233-4455-6677-8899-aabbccddeefff").has_value());
  EXPECT_FALSE(FromUuidText("00112233-4455-6677-8899-aabbccddeefg").has_value());
  EXPECT_FALSE(FromUuidText("001122334-455-6677-8899-aabbccddeeff").has_value());
  EXPECT_FALSE(FromUuidText("00112233-4455-6677-8899 aabbccddeeff").has_value());
  EXPECT_FALSE(FromUuidText("------------------------------------").has_value());
  EXPECT_FALSE(FromUuidText("00112233445566778899aabbccddeeff").has_value());
  EXPECT_FALSE(FromUuidText("{0112233-4455-6677-8899-aabbccddeef}").has_value());
}

TEST(ToUuidTextDeathTest, DiesOnAnotherSize) { EXPECT_DEATH(ToUuidText("short"), "16"); }

TEST(BlobId, IsThirtyTwoHexDigits) {
  const BlobId id = *BlobId::FromBytes(kBytes);
  EXPECT_EQ(ToHex(id), "00112233445566778899aabbccddeeff");
  EXPECT_EQ(BlobIdFromHex(ToHex(id)), id);
  EXPECT_EQ(BlobIdFromHex("00112233445566778899AABBCCDDEEFF"), id);
}

TEST(BlobId, RefusesWhatIsNotOne) {
  EXPECT_FALSE(BlobIdFromHex("").has_value());
  EXPECT_FALSE(BlobIdFromHex("00112233445566778899aabbccddeef").has_value());
  EXPECT_FALSE(BlobIdFromHex("00112233445566778899aabbccddeeff0").has_value());
  EXPECT_FALSE(BlobIdFromHex("0x112233445566778899aabbccddeeff").has_value());
  EXPECT_FALSE(BlobIdFromHex(kText).has_value());
}

}  // namespace
}  // namespace backup
