#include "content/pack_footer.h"

#include <functional>
#include <random>

#include "base/checksum.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "content/blob_footer.h"
#include "content/chunk_seal.h"
#include "content/chunker.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::content {
namespace {

using storage::ChunkCoding;
using storage::PackedChunk;
using storage::StorageForm;
using testing::HasReason;
using testing::PseudoRandomBytes;

constexpr size_t kPayloadSize = 500'000;

ChunkId Chunk(uint32_t seed) { return *ChunkId::FromBytes(PseudoRandomBytes(32, seed)); }
const std::string& PackKey() {
  static const auto* const key = new std::string(PseudoRandomBytes(kPackKeySize, 5));
  return *key;
}

// A chunk in its whole size, behind a gap, one that waits, and one that was compressed.
std::vector<PackedChunk> SomeChunks(StorageForm form) {
  const auto kept = [&](int64_t size) {
    return form == StorageForm::kSealed ? SealedChunkSize(size) : size;
  };
  return {
      {.id = Chunk(1), .size_bytes = 1000, .offset = 0, .stored_size = kept(1000), .index = 0},
      {.id = Chunk(2),
       .size_bytes = 100'000,
       .offset = 4096,
       .stored_size = kept(100'000),
       .index = 2,
       .waits = true},
      {.id = Chunk(3),
       .size_bytes = kMaxChunkSize,
       .offset = 4096 + kept(100'000),
       .stored_size = kept(70'000),
       .index = 3,
       .coding = ChunkCoding::kZstd},
  };
}

storage::Version SomeVersion(StorageForm form) {
  storage::Version version;
  version.client_id = *ClientId::FromBytes("0123456789abcdef");
  version.file_name = std::string("na\0me\xFF", 6);
  version.version_id = 42;
  version.size_bytes = int64_t{5} << 40;
  version.encoded_size = (int64_t{5} << 40) + 16;
  version.checksum_kind = storage::ChecksumKind::kCrc32OfPlaintext;
  version.checksum = 0xFEDCBA98;
  version.sha256 = std::string(32, '\xAB');
  version.receive_time = absl::FromUnixMicros(1'700'000'000'123'456);
  version.form = form;
  return version;
}

PackFooter SomeFooter(StorageForm form = StorageForm::kSealed) {
  PackFooter footer;
  footer.pack_id = *BlobId::FromBytes("fedcba9876543210");
  footer.form = form;
  footer.chunks = SomeChunks(form);
  footer.recipe = {.content_id = PseudoRandomBytes(16),
                   .first_step = int64_t{1} << 33,
                   .steps = {{Chunk(2), 100'000}, {Chunk(9), kMaxChunkSize}, {Chunk(3), 1}}};
  footer.version = SomeVersion(form);
  footer.sealed_secret = std::string(60, '\x77');
  if (form == StorageForm::kSealed) footer.wrapped_key = std::string(60, '\x99');
  return footer;
}

std::string PackOf(const PackFooter& footer) {
  return std::string(kPayloadSize, 'p') + EncodePackFooter(footer, PackKey());
}

absl::StatusOr<PackFooter> Read(std::string pack) {
  return ReadPackFooter(StringAccess(std::move(pack)));
}

void ExpectSame(const PackFooter& a, const PackFooter& b) {
  EXPECT_EQ(a.pack_id, b.pack_id);
  EXPECT_EQ(a.form, b.form);
  ASSERT_EQ(a.chunks.size(), b.chunks.size());
  for (size_t i = 0; i < a.chunks.size(); ++i) {
    EXPECT_EQ(a.chunks[i].id, b.chunks[i].id);
    EXPECT_EQ(a.chunks[i].size_bytes, b.chunks[i].size_bytes);
    EXPECT_EQ(a.chunks[i].offset, b.chunks[i].offset);
    EXPECT_EQ(a.chunks[i].stored_size, b.chunks[i].stored_size);
    EXPECT_EQ(a.chunks[i].index, b.chunks[i].index);
    EXPECT_EQ(a.chunks[i].coding, b.chunks[i].coding);
    EXPECT_EQ(a.chunks[i].waits, b.chunks[i].waits);
  }
  EXPECT_EQ(a.recipe.content_id, b.recipe.content_id);
  EXPECT_EQ(a.recipe.first_step, b.recipe.first_step);
  EXPECT_EQ(a.recipe.steps, b.recipe.steps);
  EXPECT_EQ(a.sealed_secret, b.sealed_secret);
  EXPECT_EQ(a.wrapped_key, b.wrapped_key);
}

TEST(PackFooter, GivesBackEveryField) {
  for (const StorageForm form : {StorageForm::kPlain, StorageForm::kSealed}) {
    const PackFooter footer = SomeFooter(form);
    const auto read = Read(PackOf(footer));
    ASSERT_OK(read);
    ExpectSame(*read, footer);
    ASSERT_TRUE(read->version);
    EXPECT_EQ(read->version->client_id, footer.version->client_id);
    EXPECT_EQ(read->version->file_name, footer.version->file_name);
    EXPECT_EQ(read->version->version_id, footer.version->version_id);
    EXPECT_EQ(read->version->size_bytes, footer.version->size_bytes);
    EXPECT_EQ(read->version->encoded_size, footer.version->encoded_size);
    EXPECT_EQ(read->version->checksum_kind, footer.version->checksum_kind);
    EXPECT_EQ(read->version->checksum, footer.version->checksum);
    EXPECT_EQ(read->version->sha256, footer.version->sha256);
    EXPECT_EQ(read->version->receive_time, footer.version->receive_time);
    EXPECT_EQ(read->version->form, form);
    EXPECT_OK(CheckPackSeal(*read, PackKey()));
  }
}

TEST(PackFooter, MayHaveNeitherRecipeNorVersionNorChunks) {
  PackFooter footer = SomeFooter();
  footer.recipe = {};
  footer.version.reset();
  auto read = Read(PackOf(footer));
  ASSERT_OK(read);
  ExpectSame(*read, footer);
  EXPECT_FALSE(read->version);
  footer.chunks.clear();
  read = Read(EncodePackFooter(footer, PackKey()));
  ASSERT_OK(read);
  ExpectSame(*read, footer);
}

TEST(PackFooter, FitsItsLimitWithTheMostOfEverything) {
  PackFooter footer = SomeFooter();
  footer.chunks.clear();
  for (size_t i = 0; i < kMaxPackChunks; ++i)
    footer.chunks.push_back({.id = Chunk(1),
                             .size_bytes = 1000,
                             .offset = static_cast<int64_t>(16'000 * i),
                             .stored_size = SealedChunkSize(1000),
                             .index = static_cast<int>(i)});
  footer.recipe.steps.assign(kMaxFooterSteps, {Chunk(1), 1000});
  footer.version->file_name = std::string(255, 'n');
  footer.sealed_secret = std::string(kMaxWrappedKeySize, 's');
  footer.wrapped_key = std::string(kMaxWrappedKeySize, 'w');
  const std::string encoded = EncodePackFooter(footer, PackKey());
  EXPECT_LE(static_cast<int64_t>(encoded.size()), kMaxPackFooterSize);
  const std::string pack =
      std::string(static_cast<size_t>(kMaxPackSize) - encoded.size(), 'p') + encoded;
  const auto read = Read(pack);
  ASSERT_OK(read);
  ExpectSame(*read, footer);
  EXPECT_THAT(Read("p" + pack), HasReason(Reason::kBlobDamaged)) << "too large for a pack";
}

TEST(PackFooter, IsRefusedWhenThePackIsCutAnywhere) {
  const std::string pack = PackOf(SomeFooter());
  for (size_t size = kPayloadSize - 10; size < pack.size(); ++size)
    EXPECT_THAT(Read(pack.substr(0, size)), HasReason(Reason::kBlobDamaged)) << size;
  EXPECT_THAT(Read(""), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Read(pack + "x"), HasReason(Reason::kBlobDamaged));
}

TEST(PackFooter, IsRefusedWhenThePayloadIsTooShortForItsChunks) {
  const PackFooter footer = SomeFooter();
  const std::string encoded = EncodePackFooter(footer, PackKey());
  const auto end =
      static_cast<size_t>(footer.chunks.back().offset + footer.chunks.back().stored_size);
  EXPECT_OK(Read(std::string(end, 'p') + encoded));
  EXPECT_THAT(Read(std::string(end - 1, 'p') + encoded), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Read(encoded), HasReason(Reason::kBlobDamaged));
}

TEST(PackFooter, IsRefusedWhenAnyByteOfItIsFlipped) {
  for (const StorageForm form : {StorageForm::kPlain, StorageForm::kSealed}) {
    const std::string pack = PackOf(SomeFooter(form));
    for (size_t at = kPayloadSize; at < pack.size(); ++at) {
      std::string flipped = pack;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << at % 8));
      EXPECT_THAT(Read(flipped), HasReason(Reason::kBlobDamaged)) << at;
    }
  }
}

// Whoever changes a field also sets the CRC right; so the seal has to tell.
TEST(PackFooter, IsRefusedBySealWhenAnyFieldWasChangedOnPurpose) {
  const PackFooter footer = SomeFooter();
  const std::string seal = Read(PackOf(footer))->seal;
  const std::function<void(PackFooter&)> changes[] = {
      [](PackFooter& f) { f.pack_id = *BlobId::FromBytes("fedcba9876543211"); },
      [](PackFooter& f) { f.chunks[0].id = Chunk(7); },
      [](PackFooter& f) { std::swap(f.chunks[0].id, f.chunks[1].id); },
      [](PackFooter& f) { f.chunks[1].offset += 1; },
      [](PackFooter& f) { f.chunks[1].index = 1; },
      [](PackFooter& f) { f.chunks[1].waits = false; },
      [](PackFooter& f) { f.chunks[2].size_bytes -= 1; },
      [](PackFooter& f) { f.chunks.pop_back(); },
      [](PackFooter& f) { f.recipe.content_id[0] ^= 1; },
      [](PackFooter& f) { f.recipe.first_step += 1; },
      [](PackFooter& f) { f.recipe.steps[0].id = Chunk(8); },
      [](PackFooter& f) { f.recipe.steps.pop_back(); },
      [](PackFooter& f) { f.version.reset(); },
      [](PackFooter& f) { f.version->client_id = ClientId(); },
      [](PackFooter& f) { f.version->file_name = "another"; },
      [](PackFooter& f) { f.version->version_id += 1; },
      [](PackFooter& f) { f.version->sha256[31] = 'x'; },
      [](PackFooter& f) { f.version->receive_time += absl::Microseconds(1); },
      [](PackFooter& f) { f.sealed_secret += 's'; },
      [](PackFooter& f) { f.wrapped_key[0] = 'x'; },
      [](PackFooter& f) { f.seal[0] ^= 1; },
      [](PackFooter& f) { f.seal.clear(); },
  };
  int number = 0;
  for (const auto& change : changes) {
    PackFooter changed = footer;
    changed.seal = seal;
    EXPECT_OK(CheckPackSeal(changed, PackKey()));
    change(changed);
    EXPECT_THAT(CheckPackSeal(changed, PackKey()), HasReason(Reason::kBlobDamaged)) << number;
    ++number;
  }
  PackFooter other = footer;
  other.seal = seal;
  EXPECT_THAT(CheckPackSeal(other, PseudoRandomBytes(32)), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(CheckPackSeal(other, ""), HasReason(Reason::kBlobDamaged));
}

// Footers whose CRC is right, since damage that a CRC tells gets no further: each length and place
// is checked all the same.
std::string WithCrc(std::string fields) {
  Crc32 crc;
  crc.Update(fields);
  const auto append = [&](uint32_t value) {
    for (int i = 0; i < 4; ++i) fields.push_back(static_cast<char>(value >> (8 * i)));
  };
  append(crc.Value());
  append(static_cast<uint32_t>(fields.size() + 12));
  return std::string(kPayloadSize, 'p') + fields + "BKPPACK1";
}

TEST(PackFooter, IsReadOrRefusedHoweverItsFieldsAreDamaged) {
  std::mt19937 random(17);
  for (const StorageForm form : {StorageForm::kPlain, StorageForm::kSealed}) {
    const std::string encoded = EncodePackFooter(SomeFooter(form), PackKey());
    const std::string fields = encoded.substr(0, encoded.size() - 16);
    ASSERT_OK(Read(WithCrc(fields)));
    for (size_t at = 0; at < fields.size(); ++at) {
      for (const char value : {'\0', '\x01', '\x7F', '\x80', '\xFF'}) {
        std::string damaged = fields;
        damaged[at] = value;
        const auto read = Read(WithCrc(damaged));
        // What is taken says the same when it is written again: nothing was left unread.
        if (read.ok() && form == StorageForm::kPlain) {
          EXPECT_EQ(EncodePackFooter(*read, ""), WithCrc(damaged).substr(kPayloadSize)) << at;
        }
        if (read.ok() && form == StorageForm::kSealed && damaged != fields) {
          EXPECT_THAT(CheckPackSeal(*read, PackKey()), HasReason(Reason::kBlobDamaged)) << at;
        }
      }
    }
    for (int round = 0; round < 500; ++round) {
      std::string damaged = fields;
      for (uint32_t i = random() % 4 + 1; i > 0; --i)
        damaged[random() % damaged.size()] = static_cast<char>(random());
      if (random() % 2 == 0) damaged.resize(random() % damaged.size());
      const auto read = Read(WithCrc(damaged));
      if (!read.ok()) {
        EXPECT_THAT(read, HasReason(Reason::kBlobDamaged));
      }
    }
  }
}

TEST(PackFooterDeathTest, DiesOnWhatNoReaderWouldTake) {
  const auto encode = [](const std::function<void(PackFooter&)>& change) {
    PackFooter footer = SomeFooter();
    change(footer);
    EncodePackFooter(footer, PackKey());
  };
  EXPECT_DEATH(encode([](PackFooter& f) { f.chunks[1].offset = 10; }), "IsPossible");
  EXPECT_DEATH(encode([](PackFooter& f) { f.chunks[2].index = 2; }), "IsPossible");
  EXPECT_DEATH(encode([](PackFooter& f) { f.chunks[0].stored_size = 1000; }), "IsPossible");
  EXPECT_DEATH(encode([](PackFooter& f) { f.chunks[2].waits = true; }), "IsPossible");
  EXPECT_DEATH(encode([](PackFooter& f) { f.recipe.content_id.clear(); }), "IsPossible");
  EXPECT_DEATH(encode([](PackFooter& f) { f.wrapped_key.clear(); }), "IsPossible");
  EXPECT_DEATH(encode([](PackFooter& f) { f.chunks[0].size_bytes = kMaxChunkSize + 1; }),
               "IsPossible");
  EXPECT_DEATH(encode([](PackFooter& f) { f.chunks.resize(kMaxPackChunks + 1); }), "IsPossible");
}

TEST(IsPack, TellsPacksFromVersionsBlobs) {
  EXPECT_TRUE(*IsPack(StringAccess(PackOf(SomeFooter()))));
  BlobFooter footer;
  footer.file_name = "BKPPACK1";
  footer.sha256 = std::string(32, 's');
  EXPECT_FALSE(*IsPack(StringAccess("BKPPACK1" + EncodeFooter(footer))));
  EXPECT_FALSE(*IsPack(StringAccess("PACK1")));
  EXPECT_FALSE(*IsPack(StringAccess("")));
}

}  // namespace
}  // namespace backup::content
