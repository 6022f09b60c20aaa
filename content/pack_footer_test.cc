#include "content/pack_footer.h"

#include <functional>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/checksum.h"
#include "base/hex.h"
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

using Format = PackFooter::Format;

// Of the pack's own upload, and of one whose pack it took the place of: this one has neither the
// last steps nor the version.
PackFooter SomeFooter(StorageForm form = StorageForm::kSealed, Format format = Format::kParts) {
  PackFooter footer;
  footer.format = format;
  footer.pack_id = *BlobId::FromBytes("fedcba9876543210");
  footer.form = form;
  footer.chunks = SomeChunks(form);
  footer.parts.push_back({.content_id = PseudoRandomBytes(16),
                          .first_step = int64_t{1} << 33,
                          .steps = {{Chunk(2), 100'000}, {Chunk(9), kMaxChunkSize}, {Chunk(3), 1}},
                          .version = SomeVersion(form)});
  if (format == Format::kParts) {
    footer.parts.push_back({.content_id = PseudoRandomBytes(16, 2),
                            .first_step = 0,
                            .steps = {{Chunk(1), 1000}, {Chunk(1), 1000}},
                            .version = std::nullopt});
  }
  footer.sealed_secret = std::string(60, '\x77');
  if (form == StorageForm::kSealed) footer.wrapped_key = std::string(60, '\x99');
  return footer;
}

constexpr std::pair<StorageForm, Format> kForms[] = {
    {StorageForm::kPlain, Format::kOnePart},
    {StorageForm::kPlain, Format::kParts},
    {StorageForm::kSealed, Format::kOnePart},
    {StorageForm::kSealed, Format::kParts},
};

std::string PackOf(const PackFooter& footer) {
  return std::string(kPayloadSize, 'p') + EncodePackFooter(footer, PackKey());
}

absl::StatusOr<PackFooter> Read(std::string pack) {
  return ReadPackFooter(StringAccess(std::move(pack)));
}

void ExpectSame(const storage::Version& a, const storage::Version& b) {
  EXPECT_EQ(a.client_id, b.client_id);
  EXPECT_EQ(a.file_name, b.file_name);
  EXPECT_EQ(a.version_id, b.version_id);
  EXPECT_EQ(a.size_bytes, b.size_bytes);
  EXPECT_EQ(a.encoded_size, b.encoded_size);
  EXPECT_EQ(a.checksum_kind, b.checksum_kind);
  EXPECT_EQ(a.checksum, b.checksum);
  EXPECT_EQ(a.sha256, b.sha256);
  EXPECT_EQ(a.receive_time, b.receive_time);
  EXPECT_EQ(a.form, b.form);
}

void ExpectSame(const PackFooter& a, const PackFooter& b) {
  EXPECT_EQ(a.format, b.format);
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
  ASSERT_EQ(a.parts.size(), b.parts.size());
  for (size_t i = 0; i < a.parts.size(); ++i) {
    EXPECT_EQ(a.parts[i].content_id, b.parts[i].content_id);
    EXPECT_EQ(a.parts[i].first_step, b.parts[i].first_step);
    EXPECT_EQ(a.parts[i].steps, b.parts[i].steps);
    ASSERT_EQ(a.parts[i].version.has_value(), b.parts[i].version.has_value());
    if (a.parts[i].version) ExpectSame(*a.parts[i].version, *b.parts[i].version);
  }
  EXPECT_EQ(a.sealed_secret, b.sealed_secret);
  EXPECT_EQ(a.wrapped_key, b.wrapped_key);
}

TEST(PackFooter, GivesBackEveryField) {
  for (const auto& [form, format] : kForms) {
    const PackFooter footer = SomeFooter(form, format);
    const auto read = Read(PackOf(footer));
    ASSERT_OK(read);
    ExpectSame(*read, footer);
    EXPECT_OK(CheckPackSeal(*read, PackKey()));
  }
}

// Written by the last program that made packs of this format.
constexpr absl::string_view kRecordedPlain =
    "66656463626139383736353433323130010300000025eb8c48ff89cb854fc09081cc47edfc8619b214fe6592d48b"
    "fcea9c9d8e3244e803000000000000e8030000000000000100a80fed48162bd24b6807a2b15f4bd52f3f1fda947c"
    "7425a7c36604aa6b336726a086010000100000a08601000200000001016a98f983b8c80015fd93ca6bf9a98a9577"
    "a6e094ac5da78ef81a51da964202bf00004000a09601007011010003000000020025eb8c48ff89cb854fc09081cc"
    "47edfc000000000200000003000000a80fed48162bd24b6807a2b15f4bd52f3f1fda947c7425a7c36604aa6b3367"
    "26a08601007e5c7ef5b638fb967d4116b43b28faf1f8755ba1dddc80bceebbd8cab8dd3eea000040006a98f983b8"
    "c80015fd93ca6bf9a98a9577a6e094ac5da78ef81a51da964202bf01000000013031323334353637383961626364"
    "65662a00000000000000000000000005000010000000000500000498badcfeababababababababababababababab"
    "ababababababababababababababababab40222018240a060006006e61006d65ff3c007777777777777777777777"
    "77777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777"
    "7777770000e5b266d4e1010000424b505041434b31";
constexpr absl::string_view kRecordedSealed =
    "66656463626139383736353433323130020300000025eb8c48ff89cb854fc09081cc47edfc8619b214fe6592d48b"
    "fcea9c9d8e3244e803000000000000f8030000000000000100a80fed48162bd24b6807a2b15f4bd52f3f1fda947c"
    "7425a7c36604aa6b336726a086010000100000c08601000200000001016a98f983b8c80015fd93ca6bf9a98a9577"
    "a6e094ac5da78ef81a51da964202bf00004000c09601009011010003000000020025eb8c48ff89cb854fc09081cc"
    "47edfc000000000200000003000000a80fed48162bd24b6807a2b15f4bd52f3f1fda947c7425a7c36604aa6b3367"
    "26a08601007e5c7ef5b638fb967d4116b43b28faf1f8755ba1dddc80bceebbd8cab8dd3eea000040006a98f983b8"
    "c80015fd93ca6bf9a98a9577a6e094ac5da78ef81a51da964202bf01000000013031323334353637383961626364"
    "65662a00000000000000000000000005000010000000000500000498badcfeababababababababababababababab"
    "ababababababababababababababababab40222018240a060006006e61006d65ff3c007777777777777777777777"
    "77777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777"
    "7777773c009999999999999999999999999999999999999999999999999999999999999999999999999999999999"
    "999999999999999999999999999999999999995619f2fa43b24a4ba6c4cd435e00e394701012e92d020000424b50"
    "5041434b31";
constexpr absl::string_view kRecordedOfJob =
    "66656463626139383736353433323130010000000000000000000000000000000000000000000000000000000000"
    "000000003c0077777777777777777777777777777777777777777777777777777777777777777777777777777777"
    "77777777777777777777777777777777777777770000cd2f2ba582000000424b505041434b31";

TEST(PackFooter, IsReadAsItWasWrittenBeforeItHadManyParts) {
  for (const auto& [hex, form] : {std::pair(kRecordedPlain, StorageForm::kPlain),
                                  std::pair(kRecordedSealed, StorageForm::kSealed)}) {
    const std::string recorded = *HexToBytes(hex);
    const PackFooter footer = SomeFooter(form, Format::kOnePart);
    EXPECT_EQ(EncodePackFooter(footer, PackKey()), recorded);
    const auto read = Read(std::string(kPayloadSize, 'p') + recorded);
    ASSERT_OK(read);
    ExpectSame(*read, footer);
    EXPECT_OK(CheckPackSeal(*read, PackKey()));
    EXPECT_TRUE(*IsPack(StringAccess(recorded)));
  }
  const auto of_job = Read(*HexToBytes(kRecordedOfJob));
  ASSERT_OK(of_job);
  EXPECT_TRUE(of_job->parts.empty());
}

TEST(PackFooter, MayHaveNeitherPartsNorChunks) {
  PackFooter footer = SomeFooter();
  footer.parts.clear();
  auto read = Read(PackOf(footer));
  ASSERT_OK(read);
  ExpectSame(*read, footer);
  footer.chunks.clear();
  read = Read(EncodePackFooter(footer, PackKey()));
  ASSERT_OK(read);
  ExpectSame(*read, footer);
}

TEST(PackFooter, MayHavePartsWithoutSteps) {
  PackFooter footer = SomeFooter();
  for (PackFooter::Part& part : footer.parts) part.steps.clear();
  const auto read = Read(PackOf(footer));
  ASSERT_OK(read);
  ExpectSame(*read, footer);
}

TEST(PackFooter, TellsWhatAPartTakes) {
  PackFooter footer = SomeFooter(StorageForm::kPlain);
  const size_t with_all = EncodePackFooter(footer, "").size();
  const int64_t first = EncodedSize(footer.parts[0]);
  const int64_t second = EncodedSize(footer.parts[1]);
  footer.parts.clear();
  EXPECT_EQ(static_cast<int64_t>(with_all - EncodePackFooter(footer, "").size()), first + second);
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
  footer.parts.resize(1);
  footer.parts[0].steps.assign(kMaxFooterSteps, {Chunk(1), 1000});
  footer.parts[0].version->file_name = std::string(255, 'n');
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

TEST(PackFooter, HasAsManyPartsAsFit) {
  PackFooter footer = SomeFooter(StorageForm::kPlain);
  footer.parts.assign(kMaxFooterParts, footer.parts[1]);
  for (PackFooter::Part& part : footer.parts) part.steps.resize(1);
  const std::string encoded = EncodePackFooter(footer, "");
  EXPECT_LE(static_cast<int64_t>(encoded.size()), kMaxPackFooterSize);
  const auto read = Read(std::string(kPayloadSize, 'p') + encoded);
  ASSERT_OK(read);
  ExpectSame(*read, footer);
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
  for (const auto& [form, format] : kForms) {
    const std::string pack = PackOf(SomeFooter(form, format));
    for (size_t at = kPayloadSize; at < pack.size(); ++at) {
      std::string flipped = pack;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << at % 8));
      EXPECT_THAT(Read(flipped), HasReason(Reason::kBlobDamaged)) << at;
    }
  }
}

// Whoever changes a field also sets the CRC right; so the seal has to tell.
TEST(PackFooter, IsRefusedBySealWhenAnyFieldWasChangedOnPurpose) {
  const std::function<void(PackFooter&)> changes[] = {
      [](PackFooter& f) { f.pack_id = *BlobId::FromBytes("fedcba9876543211"); },
      [](PackFooter& f) { f.chunks[0].id = Chunk(7); },
      [](PackFooter& f) { std::swap(f.chunks[0].id, f.chunks[1].id); },
      [](PackFooter& f) { f.chunks[1].offset += 1; },
      [](PackFooter& f) { f.chunks[1].index = 1; },
      [](PackFooter& f) { f.chunks[1].waits = false; },
      [](PackFooter& f) { f.chunks[2].size_bytes -= 1; },
      [](PackFooter& f) { f.chunks.pop_back(); },
      [](PackFooter& f) { f.parts[0].content_id[0] ^= 1; },
      [](PackFooter& f) { f.parts[0].first_step += 1; },
      [](PackFooter& f) { f.parts[0].steps[0].id = Chunk(8); },
      [](PackFooter& f) { f.parts[0].steps.pop_back(); },
      [](PackFooter& f) { f.parts[0].version.reset(); },
      [](PackFooter& f) { f.parts[0].version->client_id = ClientId(); },
      [](PackFooter& f) { f.parts[0].version->file_name = "another"; },
      [](PackFooter& f) { f.parts[0].version->version_id += 1; },
      [](PackFooter& f) { f.parts[0].version->sha256[31] = 'x'; },
      [](PackFooter& f) { f.parts[0].version->receive_time += absl::Microseconds(1); },
      [](PackFooter& f) { f.parts.back().content_id[0] ^= 1; },
      [](PackFooter& f) { f.parts.pop_back(); },
      [](PackFooter& f) { f.parts.push_back(f.parts[0]); },
      [](PackFooter& f) { f.sealed_secret += 's'; },
      [](PackFooter& f) { f.wrapped_key[0] = 'x'; },
      [](PackFooter& f) { f.seal[0] ^= 1; },
      [](PackFooter& f) { f.seal.clear(); },
  };
  for (const Format format : {Format::kOnePart, Format::kParts}) {
    const PackFooter footer = *Read(PackOf(SomeFooter(StorageForm::kSealed, format)));
    EXPECT_OK(CheckPackSeal(footer, PackKey()));
    int number = 0;
    for (const auto& change : changes) {
      PackFooter changed = footer;
      change(changed);
      const bool is_possible = format == Format::kParts || changed.parts.size() <= 1;
      if (is_possible) {
        EXPECT_THAT(CheckPackSeal(changed, PackKey()), HasReason(Reason::kBlobDamaged)) << number;
      }
      ++number;
    }
    EXPECT_THAT(CheckPackSeal(footer, PseudoRandomBytes(32)), HasReason(Reason::kBlobDamaged));
    EXPECT_THAT(CheckPackSeal(footer, ""), HasReason(Reason::kBlobDamaged));
  }
}

// Footers whose CRC is right, since damage that a CRC tells gets no further: each length and place
// is checked all the same.
std::string WithCrc(std::string fields, Format format) {
  Crc32 crc;
  crc.Update(fields);
  const auto append = [&](uint32_t value) {
    for (int i = 0; i < 4; ++i) fields.push_back(static_cast<char>(value >> (8 * i)));
  };
  append(crc.Value());
  append(static_cast<uint32_t>(fields.size() + 12));
  absl::StrAppend(&fields, format == Format::kOnePart ? "BKPPACK1" : "BKPPACK2");
  return std::string(kPayloadSize, 'p') + fields;
}

TEST(PackFooter, IsReadOrRefusedHoweverItsFieldsAreDamaged) {
  std::mt19937 random(17);
  for (const auto& [form, format] : kForms) {
    const std::string encoded = EncodePackFooter(SomeFooter(form, format), PackKey());
    const std::string fields = encoded.substr(0, encoded.size() - 16);
    ASSERT_OK(Read(WithCrc(fields, format)));
    for (size_t at = 0; at < fields.size(); ++at) {
      for (const char value : {'\0', '\x01', '\x7F', '\x80', '\xFF'}) {
        std::string damaged = fields;
        damaged[at] = value;
        const auto read = Read(WithCrc(damaged, format));
        // What is taken says the same when it is written again: nothing was left unread.
        if (read.ok() && form == StorageForm::kPlain) {
          EXPECT_EQ(EncodePackFooter(*read, ""), WithCrc(damaged, format).substr(kPayloadSize))
              << at;
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
      const auto read = Read(WithCrc(damaged, format));
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
  EXPECT_DEATH(encode([](PackFooter& f) { f.parts[0].content_id.clear(); }), "IsPossible");
  EXPECT_DEATH(encode([](PackFooter& f) { f.parts[0].content_id.assign(16, '\0'); }), "IsPossible");
  EXPECT_DEATH(encode([](PackFooter& f) { f.format = Format::kOnePart; }), "IsPossible");
  EXPECT_DEATH(encode([](PackFooter& f) {
                 f.parts.assign(2, f.parts[0]);
                 for (auto& part : f.parts) part.steps.resize(kMaxFooterSteps, part.steps[0]);
               }),
               "IsPossible");
  EXPECT_DEATH(encode([](PackFooter& f) { f.parts.resize(kMaxFooterParts + 1, f.parts[0]); }),
               "IsPossible");
  EXPECT_DEATH(encode([](PackFooter& f) { f.wrapped_key.clear(); }), "IsPossible");
  EXPECT_DEATH(encode([](PackFooter& f) { f.chunks[0].size_bytes = kMaxChunkSize + 1; }),
               "IsPossible");
  EXPECT_DEATH(encode([](PackFooter& f) { f.chunks.resize(kMaxPackChunks + 1); }), "IsPossible");
}

TEST(IsPack, TellsPacksFromVersionsBlobs) {
  EXPECT_TRUE(*IsPack(StringAccess(PackOf(SomeFooter()))));
  BlobFooter footer;
  footer.file_name = "BKPPACK2";
  footer.sha256 = std::string(32, 's');
  EXPECT_FALSE(*IsPack(StringAccess("BKPPACK2" + EncodeFooter(footer))));
  EXPECT_FALSE(*IsPack(StringAccess("PACK2")));
  EXPECT_FALSE(*IsPack(StringAccess("")));
}

}  // namespace
}  // namespace backup::content
