#include "content/chunk_decoding.h"

#include <random>
#include <vector>

#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "content/chunk_digest.h"
#include "content/chunk_seal.h"
#include "content/chunker.h"
#include "content/compression.h"
#include "content/testing/decode_chunk.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::content {
namespace {

using storage::ChunkCoding;
using storage::StorageForm;
using storage::StoredChunk;
using testing::HasReason;
using testing::PseudoRandomBytes;

class ChunkDecoding : public ::testing::Test {
 protected:
  struct Kept {
    StoredChunk chunk;
    std::string stored;
  };

  // A chunk in each of the ways in which it can be kept.
  std::vector<Kept> AllOf(const std::string& bytes) {
    std::vector<Kept> all;
    for (const StorageForm form : {StorageForm::kPlain, StorageForm::kSealed}) {
      for (const ChunkCoding coding : {ChunkCoding::kRaw, ChunkCoding::kZstd}) {
        for (const int64_t pack : {0, 7}) all.push_back(Keep(bytes, form, coding, pack));
      }
    }
    return all;
  }

  Kept Keep(const std::string& bytes, StorageForm form, ChunkCoding coding, int64_t pack) {
    Kept kept;
    kept.chunk.ref = {ChunkIdOf(id_keys_[0], bytes), static_cast<int64_t>(bytes.size())};
    kept.chunk.form = form;
    kept.chunk.coding = coding;
    kept.chunk.pack = pack;
    kept.chunk.pack_blob = *BlobId::FromBytes("fedcba9876543210");
    kept.chunk.index = 5;
    const absl::string_view whole = bytes;
    kept.stored = coding == ChunkCoding::kZstd ? Compress({&whole, 1}, 3).value() : bytes;
    if (form == StorageForm::kSealed) kept.stored = Seal(kept);
    return kept;
  }

  std::string Seal(const Kept& kept) {
    const ChunkId& id = kept.chunk.ref.id;
    if (kept.chunk.pack == 0) return SealInline(keys_->InlineKey(id), id, kept.stored);
    ChunkSealer sealer(pack_key_, kept.chunk.pack_blob);
    std::string sealed;
    sealer.Begin(kept.chunk.index);
    sealer.Update(kept.stored, sealed);
    sealer.Finish(id, sealed);
    return sealed;
  }

  absl::StatusOr<absl::string_view> Decode(const StoredChunk& chunk, absl::string_view stored) {
    return DecodeChunk(chunk, stored, pack_key_, *keys_, id_keys_, scratch_);
  }

  const crypto::KeyRing master_{PseudoRandomBytes(32)};
  const std::unique_ptr<StoreKeys> keys_ =
      StoreKeys::Open(StoreKeys::NewSealedSecret(master_), master_).value();
  const std::string pack_key_ = PseudoRandomBytes(kPackKeySize, 3);
  std::vector<ChunkIdKey> id_keys_ = {keys_->IdKey(storage::StorageForm::kPlain)};
  std::string scratch_;
};

TEST_F(ChunkDecoding, GivesBackTheChunkHoweverItIsKept) {
  for (const size_t size : {size_t{100}, size_t{70'000}, kMaxChunkSize}) {
    const std::string bytes = PseudoRandomBytes(size / 2) + std::string(size - size / 2, 'a');
    for (const Kept& kept : AllOf(bytes)) {
      const auto decoded = Decode(kept.chunk, kept.stored);
      ASSERT_OK(decoded);
      EXPECT_TRUE(*decoded == bytes);
    }
  }
}

TEST_F(ChunkDecoding, DoesNotCopyWhatIsPlainAndRaw) {
  const Kept kept = Keep("content", StorageForm::kPlain, ChunkCoding::kRaw, 7);
  EXPECT_EQ(Decode(kept.chunk, kept.stored)->data(), kept.stored.data());
}

TEST_F(ChunkDecoding, TakesTheIdOfAnyOfTheKeys) {
  const Kept kept = Keep("content", StorageForm::kPlain, ChunkCoding::kRaw, 7);
  id_keys_.insert(id_keys_.begin(), keys_->IdKey(storage::StorageForm::kSealed, ClientId()));
  EXPECT_OK(Decode(kept.chunk, kept.stored));
  id_keys_.pop_back();
  EXPECT_THAT(Decode(kept.chunk, kept.stored), HasReason(Reason::kBlobDamaged));
  id_keys_.clear();
  EXPECT_THAT(Decode(kept.chunk, kept.stored), HasReason(Reason::kBlobDamaged));
}

TEST_F(ChunkDecoding, RefusesEachFlippedByteAndEachCut) {
  const std::string bytes = PseudoRandomBytes(200) + std::string(200, 'a');
  for (const Kept& kept : AllOf(bytes)) {
    for (size_t at = 0; at < kept.stored.size(); ++at) {
      std::string flipped = kept.stored;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << at % 8));
      const auto decoded = Decode(kept.chunk, flipped);
      // zstd ignores a bit or two of a frame: then it is the same content.
      if (decoded.ok()) {
        EXPECT_TRUE(kept.chunk.coding == ChunkCoding::kZstd && *decoded == bytes) << at;
      } else {
        EXPECT_THAT(decoded, HasReason(Reason::kBlobDamaged));
      }
      EXPECT_THAT(Decode(kept.chunk, kept.stored.substr(0, at)), HasReason(Reason::kBlobDamaged));
    }
    EXPECT_THAT(Decode(kept.chunk, kept.stored + "x"), HasReason(Reason::kBlobDamaged));
  }
}

TEST_F(ChunkDecoding, RefusesARowThatSaysOtherwise) {
  const std::string bytes(400, 'a');
  const auto all = AllOf(bytes);
  for (const Kept& kept : all) {
    for (const int64_t size : {int64_t{-1}, int64_t{0}, int64_t{399}, int64_t{401},
                               static_cast<int64_t>(kMaxChunkSize) + 1, int64_t{1} << 62}) {
      StoredChunk chunk = kept.chunk;
      chunk.ref.size_bytes = size;
      EXPECT_THAT(Decode(chunk, kept.stored), HasReason(Reason::kBlobDamaged)) << size;
    }
    StoredChunk chunk = kept.chunk;
    chunk.ref.id = ChunkIdOf(id_keys_[0], "other");
    EXPECT_THAT(Decode(chunk, kept.stored), HasReason(Reason::kBlobDamaged));
    // What is kept in one way is not taken for what is kept in another.
    for (const Kept& other : all) {
      if (other.stored == kept.stored) continue;
      EXPECT_THAT(Decode(other.chunk, kept.stored).value_or(""), ::testing::AnyOf("", bytes));
    }
  }
}

TEST_F(ChunkDecoding, YieldsTheChunkOrAnErrorWhateverItIsGiven) {
  std::mt19937 random(17);
  const std::string bytes = PseudoRandomBytes(200) + std::string(200, 'a');
  for (const Kept& kept : AllOf(bytes)) {
    for (int round = 0; round < 2000; ++round) {
      std::string damaged = kept.stored;
      for (uint32_t i = random() % 4 + 1; i > 0; --i)
        damaged[random() % damaged.size()] = static_cast<char>(random());
      if (random() % 4 == 0) damaged = PseudoRandomBytes(random() % 500, random());
      const auto decoded = Decode(kept.chunk, damaged);
      if (decoded.ok()) {
        EXPECT_EQ(*decoded, bytes);
      } else {
        EXPECT_THAT(decoded, HasReason(Reason::kBlobDamaged));
      }
    }
  }
}

}  // namespace
}  // namespace backup::content
