#include "content/chunk_source.h"

#include <functional>
#include <map>
#include <random>
#include <utility>

#include "base/error.h"
#include "base/status_macros.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "content/chunk_digest.h"
#include "content/chunk_seal.h"
#include "content/chunker.h"
#include "content/compression.h"
#include "content/pack_footer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::content {
namespace {

using storage::ChunkCoding;
using storage::StorageForm;
using storage::StoredChunk;
using testing::HasReason;
using ::testing::HasSubstr;
using testing::PseudoRandomBytes;

std::string Sha256Of(absl::string_view bytes) {
  crypto::Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

BlobId PackId(int number) {
  return *BlobId::FromBytes(std::string(15, 'p') + static_cast<char>(number));
}

const crypto::KeyRing& MasterKey() {
  static const auto* const key = new crypto::KeyRing(std::string(32, 'm'));
  return *key;
}

// A content in chunks, in packs that the test can change.
class FakeStore final : public ChunkStore {
 public:
  explicit FakeStore(ChunkIdKey id_key) : id_key_(std::move(id_key)) {}

  // Appends a chunk to the content, into pack `number`.
  void Add(absl::string_view bytes, StorageForm form, ChunkCoding coding, int number,
           size_t gap = 0) {
    StoredChunk chunk;
    chunk.number = static_cast<int64_t>(chunks_.size()) + 1;
    chunk.ref = {ChunkIdOf(id_key_, bytes), std::ssize(bytes)};
    chunk.offset_in_content = size_bytes_;
    size_bytes_ += std::ssize(bytes);
    chunks_.push_back(Place(chunk, bytes, form, coding, number, gap));
  }

  // Puts a chunk into another pack, or another place of this one.
  void Move(size_t at, absl::string_view bytes, int number) {
    const StoredChunk& old = chunks_[at];
    chunks_[at] = Place(old, bytes, old.form, old.coding, number, /*gap=*/0);
  }

  absl::StatusOr<std::vector<StoredChunk>> ListChunks(int64_t offset) override {
    ++lists;
    std::vector<StoredChunk> page;
    for (const StoredChunk& chunk : chunks_) {
      if (chunk.offset_in_content + chunk.ref.size_bytes > offset && page.size() < page_size)
        page.push_back(chunk);
    }
    return page;
  }
  absl::StatusOr<std::unique_ptr<RandomAccess>> OpenPack(const BlobId& id) override {
    ++opened[id];
    before_open();
    const auto found = packs.find(id);
    if (found == packs.end()) return absl::NotFoundError("no such blob");
    if (keeps_readers) return std::make_unique<StringAccess>(found->second);
    return std::make_unique<Perishable>(*this, id, std::ssize(found->second));
  }
  void NoteRead(const BlobId& id, int64_t offset, int64_t size_bytes) override {
    if (opened.contains(id)) ++noted_too_late;
    noted.push_back({id, offset, size_bytes});
  }
  void TellDamaged(const StoredChunk& chunk) override { damaged.push_back(chunk.number); }

  std::vector<StoredChunk>& chunks() { return chunks_; }

  std::map<BlobId, std::string> packs;
  size_t page_size = 3;
  int lists = 0;
  std::map<BlobId, int> opened;
  struct Noted {
    BlobId id;
    int64_t offset;
    int64_t size_bytes;
  };
  std::vector<Noted> noted;
  int noted_too_late = 0;  // Of packs that were open.
  std::function<void()> before_open = [] {};
  bool keeps_readers = true;                  // Of packs that are deleted meanwhile.
  std::function<void()> before_read = [] {};  // Only without them.
  std::vector<int64_t> damaged;

 private:
  // A pack that is gone for its readers, too, once it is.
  class Perishable final : public RandomAccess {
   public:
    Perishable(FakeStore& store, const BlobId& id, int64_t size_bytes)
        : store_(store), id_(id), size_bytes_(size_bytes) {}
    int64_t size_bytes() const override { return size_bytes_; }
    absl::Status ReadAt(int64_t offset, std::span<char> out) const override {
      store_.before_read();
      const auto found = store_.packs.find(id_);
      if (found == store_.packs.end()) return absl::NotFoundError("no such blob any more");
      return StringAccess(found->second).ReadAt(offset, out);
    }

   private:
    FakeStore& store_;
    const BlobId id_;
    const int64_t size_bytes_;
  };

  StoredChunk Place(StoredChunk chunk, absl::string_view bytes, StorageForm form,
                    ChunkCoding coding, int number, size_t gap) {
    std::string& pack = packs[PackId(number)];
    pack.append(gap, 'g');
    chunk.form = form;
    chunk.coding = coding;
    chunk.pack = number;
    chunk.pack_blob = PackId(number);
    chunk.index = indexes_[number]++;
    chunk.wrapped_key =
        wrapped_keys_.try_emplace(number, WrapPackKey(kPackKey, chunk.pack_blob, MasterKey()))
            .first->second;
    chunk.offset = std::ssize(pack);
    const std::string coded =
        coding == ChunkCoding::kZstd ? Compress({&bytes, 1}, 3).value() : std::string(bytes);
    if (form == StorageForm::kSealed) {
      ChunkSealer sealer(kPackKey, chunk.pack_blob);
      sealer.Begin(chunk.index);
      sealer.Update(coded, pack);
      sealer.Finish(chunk.ref.id, pack);
    } else {
      pack += coded;
    }
    chunk.stored_size = std::ssize(pack) - chunk.offset;
    return chunk;
  }

  const std::string kPackKey = std::string(kPackKeySize, 'p');
  const ChunkIdKey id_key_;
  std::vector<StoredChunk> chunks_;
  std::map<int, int> indexes_;
  std::map<int, std::string> wrapped_keys_;
  int64_t size_bytes_ = 0;
};

class ChunkSourceTest : public ::testing::Test {
 protected:
  ChunkSourceTest() {
    checks_.id_keys = {keys_->IdKey(storage::StorageForm::kSealed, ClientId()), id_key_};
  }

  // A chunk that can be compressed, and is another for each seed.
  static std::string Bytes(size_t size, uint32_t seed) {
    return PseudoRandomBytes(size / 3, seed) + std::string(size - size / 3, 'z');
  }

  // Adds a chunk in some form of its own.
  void AddAny(size_t size, std::mt19937& random) {
    const std::string bytes = Bytes(size, random());
    plain_ += bytes;
    parts_.push_back(bytes);
    store_.Add(bytes, random() % 2 == 0 ? StorageForm::kPlain : StorageForm::kSealed,
               size < 1000 || random() % 2 == 0 ? ChunkCoding::kRaw : ChunkCoding::kZstd,
               static_cast<int>(1 + random() % 3), random() % 5000);
  }

  // As a caller would whose pieces are to last.
  absl::StatusOr<std::string> Read(int64_t offset, int64_t size, size_t lasting = 0) {
    Checks checks = checks_;
    if (size == std::ssize(plain_)) checks.sha256 = sha256_ ? *sha256_ : Sha256Of(plain_);
    ChunkSource source(store_, {&MasterKey(), keys_.get(), nullptr}, checks, *budget_, offset,
                       size);
    RETURN_IF_ERROR(source.Open());
    source.MakeLast(lasting);
    std::deque<std::pair<absl::string_view, std::string>> last;
    std::string all;
    while (true) {
      ASSIGN_OR_RETURN(const absl::string_view piece, source.Read());
      EXPECT_LE(piece.size(), kMaxPieceSize);
      last.emplace_back(piece, std::string(piece));
      if (last.size() > lasting + 1) last.pop_front();
      for (const auto& [view, copy] : last) EXPECT_TRUE(view == copy);
      if (piece.empty()) return all;
      all.append(piece.data(), piece.size());
    }
  }
  absl::StatusOr<std::string> ReadWhole() { return Read(0, std::ssize(plain_)); }

  using Checks = ChunkSource::Checks;

  const std::unique_ptr<StoreKeys> keys_ =
      StoreKeys::Open(StoreKeys::NewSealedSecret(MasterKey()), MasterKey()).value();
  const ChunkIdKey id_key_ = keys_->IdKey(storage::StorageForm::kPlain);
  FakeStore store_{id_key_};
  std::vector<std::string> parts_;
  std::string plain_;
  std::optional<std::string> sha256_;
  Checks checks_;
  const std::unique_ptr<PieceBudget> budget_ = std::make_unique<PieceBudget>();
};

TEST_F(ChunkSourceTest, GivesAnyRangeHoweverTheChunksAreKept) {
  std::mt19937 random(17);
  for (const size_t size : {size_t{1}, size_t{700}, kMinChunkSize, size_t{300'000}, size_t{65'536},
                            kMaxChunkSize, size_t{2'500'000}, size_t{4096}, size_t{999'999}})
    AddAny(size, random);
  for (int i = 0; i < 100; ++i) {
    const int64_t offset = static_cast<int64_t>(random() % (plain_.size() + 1));
    const int64_t size =
        std::min<int64_t>(std::ssize(plain_) - offset, i % 2 == 0 ? random() % 100'000 : random());
    const auto read = Read(offset, size, random() % 4);
    ASSERT_OK(read);
    EXPECT_TRUE(*read == plain_.substr(static_cast<size_t>(offset), static_cast<size_t>(size)))
        << offset << " " << size;
  }
  const auto whole = ReadWhole();
  ASSERT_OK(whole);
  EXPECT_TRUE(*whole == plain_);
}

TEST_F(ChunkSourceTest, AnEmptyContentHasNoChunks) {
  EXPECT_THAT(ReadWhole(), testing::IsOkAndHolds(""));
  EXPECT_EQ(store_.lists, 0);
}

TEST_F(ChunkSourceTest, ARangeTouchesOnlyTheChunksThatItNeeds) {
  for (int pack = 1; pack <= 20; ++pack) {
    parts_.push_back(Bytes(10'000, static_cast<uint32_t>(pack)));
    plain_ += parts_.back();
    store_.Add(parts_.back(), StorageForm::kPlain, ChunkCoding::kRaw, pack);
  }
  EXPECT_THAT(Read(59'999, 2), testing::IsOkAndHolds(plain_.substr(59'999, 2)));
  EXPECT_EQ(store_.opened, (std::map<BlobId, int>{{PackId(6), 1}, {PackId(7), 1}}));
  EXPECT_EQ(store_.lists, 1);
}

TEST_F(ChunkSourceTest, ReadsOneChunkAfterTheOtherIfThereIsNoRoom) {
  std::mt19937 random(3);
  for (int i = 0; i < 8; ++i) AddAny(300'000, random);
  const int64_t all = PieceBudget::kMaxBytes;
  ASSERT_TRUE(budget_->TryTake(all));
  const size_t before = CountBufferBytes().used;
  size_t most = 0;
  store_.before_open = [&] { most = std::max(most, CountBufferBytes().used - before); };
  const auto whole = ReadWhole();
  ASSERT_OK(whole);
  EXPECT_TRUE(*whole == plain_);
  EXPECT_LE(most, size_t{2} << 20);
  budget_->GiveBack(all);
  ASSERT_OK(ReadWhole());
  EXPECT_TRUE(budget_->TryTake(all));  // Everything was given back.
}

// Each byte of a pack belongs to one chunk at most: the others of the content stay readable.
TEST_F(ChunkSourceTest, AFlippedByteIsInTheWayOfItsChunkOnly) {
  std::mt19937 random(5);
  for (int i = 0; i < 12; ++i) AddAny(2'000, random);
  for (const auto& [id, intact] : std::map<BlobId, std::string>(store_.packs)) {
    for (size_t at = 0; at < intact.size(); at += 97) {
      store_.packs[id][at] = static_cast<char>(store_.packs[id][at] ^ 1);
      store_.damaged.clear();
      int unreadable = 0;
      for (size_t i = 0; i < parts_.size(); ++i) {
        const StoredChunk& chunk = store_.chunks()[i];
        const bool is_hit = chunk.pack_blob == id && std::cmp_greater_equal(at, chunk.offset) &&
                            std::cmp_less(at, chunk.offset + chunk.stored_size);
        const auto read = Read(chunk.offset_in_content, chunk.ref.size_bytes);
        if (read.ok()) {
          // zstd ignores a bit or two of a frame.
          EXPECT_TRUE(*read == parts_[i]);
          EXPECT_TRUE(!is_hit ||
                      (chunk.coding == ChunkCoding::kZstd && chunk.form == StorageForm::kPlain));
        } else {
          EXPECT_TRUE(is_hit) << at;
          EXPECT_THAT(read, HasReason(Reason::kBlobDamaged));
          EXPECT_THAT(store_.damaged, ::testing::ElementsAre(chunk.number));
          ++unreadable;
        }
      }
      EXPECT_LE(unreadable, 1);
      store_.packs[id] = intact;
    }
  }
}

TEST_F(ChunkSourceTest, NamesTheChunkThatIsDamagedOrWhosePackIsMissing) {
  std::mt19937 random(7);
  for (int i = 0; i < 4; ++i) AddAny(10'000, random);
  store_.Move(2, parts_[2], 9);
  char& hit = store_.packs[PackId(9)][static_cast<size_t>(store_.chunks()[2].stored_size / 2)];
  hit = static_cast<char>(hit ^ 1);
  absl::StatusOr<std::string> read = ReadWhole();
  EXPECT_THAT(read, HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(read.status().message(), HasSubstr("the chunk at byte 20000"));
  EXPECT_FALSE(SaysPackMissing(read.status()));
  store_.packs.erase(PackId(9));
  read = ReadWhole();
  EXPECT_THAT(read, HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(read.status().message(), HasSubstr("the chunk at byte 20000"));
  EXPECT_TRUE(SaysPackMissing(read.status()));
  EXPECT_THAT(store_.damaged, ::testing::ElementsAre(3, 3));
}

TEST_F(ChunkSourceTest, TellsOfPacksBeforeTheyAreOpened) {
  for (uint32_t i = 0; i < 60; ++i) {
    plain_ += Bytes(1'000, i);
    store_.Add(Bytes(1'000, i), StorageForm::kSealed, ChunkCoding::kRaw,
               1 + static_cast<int>(i / 10));
  }
  store_.page_size = 7;  // Nor does a page begin where a pack does: that one is opened at once.
  const auto whole = ReadWhole();
  ASSERT_OK(whole);
  EXPECT_TRUE(*whole == plain_);
  EXPECT_EQ(store_.noted_too_late, 0);
  ASSERT_EQ(store_.noted.size(), 5u) << "all but the first";
  for (size_t i = 0; i < store_.noted.size(); ++i) {
    const FakeStore::Noted& noted = store_.noted[i];
    EXPECT_EQ(noted.id, PackId(static_cast<int>(i) + 2));
    EXPECT_GE(noted.offset, 0);
    EXPECT_GE(noted.size_bytes, 1'000);
    EXPECT_LE(noted.offset + noted.size_bytes, std::ssize(store_.packs[noted.id]));
  }
}

TEST_F(ChunkSourceTest, FollowsChunksWhosePackGoesWhileItIsRead) {
  for (uint32_t i = 0; i < 30; ++i) {
    parts_.push_back(Bytes(1'000 * (i + 1), i));
    plain_ += parts_.back();
    store_.Add(parts_.back(), StorageForm::kSealed, ChunkCoding::kRaw, 1);
  }
  store_.keeps_readers = false;
  int reads = 0;
  int next_pack = 10;
  store_.before_read = [&] {
    if (++reads % 7 != 0) return;
    store_.packs.clear();
    ++next_pack;
    for (size_t i = 0; i < parts_.size(); ++i) store_.Move(i, parts_[i], next_pack);
  };
  const auto whole = ReadWhole();
  ASSERT_OK(whole);
  EXPECT_TRUE(*whole == plain_);
  EXPECT_GT(next_pack, 12);
  EXPECT_TRUE(store_.damaged.empty());
  // Gone for good.
  store_.before_read = [&] { store_.packs.clear(); };
  const auto gone = ReadWhole();
  EXPECT_THAT(gone, HasReason(Reason::kBlobDamaged));
  EXPECT_TRUE(SaysPackMissing(gone.status()));
}

TEST_F(ChunkSourceTest, FollowsChunksThatMoveAndTakesThemForDamagedNever) {
  std::mt19937 random(11);
  for (int i = 0; i < 30; ++i) AddAny(1'000 * static_cast<size_t>(i + 1), random);
  int next_pack = 10;
  int moves = 0;
  // Whenever a pack is opened, all chunks are in new ones already, and the old ones are gone; but
  // not for ever.
  store_.before_open = [&] {
    if (++moves % 3 == 0) return;
    store_.packs.clear();
    ++next_pack;
    for (size_t i = 0; i < parts_.size(); ++i) store_.Move(i, parts_[i], next_pack);
  };
  const auto whole = ReadWhole();
  ASSERT_OK(whole);
  EXPECT_TRUE(*whole == plain_);
  EXPECT_GE(moves, 3);
  EXPECT_TRUE(store_.damaged.empty());
}

TEST_F(ChunkSourceTest, ComparesTheWholeWithItsSha256) {
  std::mt19937 random(13);
  for (int i = 0; i < 4; ++i) AddAny(10'000, random);
  sha256_ = Sha256Of("another content");
  EXPECT_THAT(ReadWhole(), HasReason(Reason::kBlobDamaged));
  EXPECT_TRUE(store_.damaged.empty());
  EXPECT_OK(Read(1, std::ssize(plain_) - 1));
}

// Two that were swapped, sizes and all, are found by their ids alone.
TEST_F(ChunkSourceTest, ComparesEachChunkWithItsId) {
  for (uint32_t i = 0; i < 2; ++i) {
    parts_.push_back(PseudoRandomBytes(5'000, i));
    plain_ += parts_.back();
    store_.Add(parts_.back(), StorageForm::kPlain, ChunkCoding::kRaw, 1);
  }
  std::swap(store_.chunks()[0].offset, store_.chunks()[1].offset);
  EXPECT_THAT(Read(0, 10), HasReason(Reason::kBlobDamaged));
  checks_.id_keys.clear();
  EXPECT_OK(Read(0, 10));
}

TEST_F(ChunkSourceTest, BelievesNoNumbersThatCannotBe) {
  const std::string bytes = Bytes(5'000, 1);
  plain_ = bytes;
  store_.Add(bytes, StorageForm::kPlain, ChunkCoding::kRaw, 1);
  const StoredChunk good = store_.chunks()[0];
  for (const auto& [stored_size, offset] :
       std::vector<std::pair<int64_t, int64_t>>{{int64_t{1} << 40, 0},
                                                {0, 0},
                                                {-1, 0},
                                                {5'000, -1},
                                                {5'000, 1},
                                                {5'000, int64_t{1} << 40},
                                                {5'001, 0}}) {
    store_.chunks()[0].stored_size = stored_size;
    store_.chunks()[0].offset = offset;
    EXPECT_THAT(ReadWhole(), HasReason(Reason::kBlobDamaged)) << stored_size << " " << offset;
  }
  store_.chunks()[0] = good;
  EXPECT_OK(ReadWhole());
  // Or a recipe that has a hole, or ends before the content.
  store_.Add(Bytes(3'000, 2), StorageForm::kPlain, ChunkCoding::kRaw, 1);
  plain_ += Bytes(3'000, 2) + "more";
  EXPECT_THAT(ReadWhole(), HasReason(Reason::kBlobDamaged));
  plain_.resize(8'000);
  EXPECT_OK(ReadWhole());
  store_.chunks()[1].offset_in_content = 5'001;
  EXPECT_THAT(ReadWhole(), HasReason(Reason::kBlobDamaged));
}

}  // namespace
}  // namespace backup::content
