#include "content/chunked_form.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/low_priority_thread.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "content/chunker.h"
#include "content/pack_footer.h"
#include "content/testing/decode_chunk.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::content {
namespace {

using storage::ChunkRef;
using storage::StorageForm;
using testing::HasReason;
using testing::PseudoRandomBytes;
using testing::RandomCutSource;
using When = CompressionPolicy::When;

constexpr size_t kMiB = size_t{1} << 20;
constexpr int64_t kInlineLimit = 1000;

// Uses what is written for as long as it may, as writes that are in flight do.
class LingeringSink final : public ByteSink {
 public:
  absl::Status Write(absl::string_view piece) override {
    in_use_.push_back({piece, std::string(piece)});
    ++pieces_;
    bytes_.append(piece.data(), piece.size());
    return LetGo(lasting_);
  }
  void LetPiecesLast(size_t pieces) override {
    lasting_ = pieces;
    EXPECT_OK(LetGo(pieces));
  }
  std::string TakeBytes() { return std::move(bytes_); }
  size_t lasting() const { return most_; }
  int pieces() const { return pieces_; }

 private:
  absl::Status LetGo(size_t pieces) {
    most_ = std::max(most_, pieces);
    for (; in_use_.size() > pieces; in_use_.pop_front()) {
      if (in_use_.front().piece != in_use_.front().copy)
        return absl::InternalError("a piece has changed while it was in use");
    }
    return absl::OkStatus();
  }

  struct InUse {
    absl::string_view piece;
    std::string copy;
  };
  std::deque<InUse> in_use_;
  size_t lasting_ = 0;
  size_t most_ = 0;
  int pieces_ = 0;
  std::string bytes_;
};

// Fails behind so many bytes.
class FailingSource final : public ByteSource {
 public:
  FailingSource(ByteSource& source, int64_t bytes) : source_(source), left_(bytes) {}
  absl::StatusOr<absl::string_view> Read() override {
    absl::StatusOr<absl::string_view> piece = source_.Read();
    if (piece.ok() && (left_ -= std::ssize(*piece)) < 0)
      return MakeError(Reason::kStorageIo, "the line is cut");
    return piece;
  }

 private:
  ByteSource& source_;
  int64_t left_;
};

// A content of `size` bytes, one MiB again and again, that was never held.
class RepeatedSource final : public ByteSource {
 public:
  RepeatedSource(std::string block, int64_t size) : block_(std::move(block)), left_(size) {}
  absl::StatusOr<absl::string_view> Read() override {
    const auto size = static_cast<size_t>(std::min(left_, std::ssize(block_)));
    left_ -= static_cast<int64_t>(size);
    return absl::string_view(block_).substr(0, size);
  }

 private:
  const std::string block_;
  int64_t left_;
};

class ChunkedFormTest : public ::testing::Test, public ChunkIndex {
 protected:
  // What was made of a content, and the store afterwards.
  struct Made {
    storage::Version version;
    std::vector<ChunkRef> recipe;
    std::vector<storage::NewPack> packs;
    std::vector<storage::InlineChunk> inlined;
    ChunkTotals totals;
    size_t lasting = 0;
    int pieces = 0;  // That packs were written in.
    int64_t largest_pack = 0;
    bool was_wide = false;
  };

  absl::StatusOr<bool> Knows(const ChunkRef& ref) override {
    ++lookups_;
    return known_.contains(ref.id);
  }

  Chunking MakeChunking() const {
    return {*keys_, keys_->IdKey(form_), compression_, kInlineLimit,
            /*max_recipe_part=*/max_recipe_part_};
  }
  Arrival ArrivalOf(int64_t size) const {
    Arrival arrival;
    arrival.client_id = *ClientId::FromBytes("0123456789abcdef");
    arrival.file_name = "name";
    arrival.encoding.size_bytes = size;
    arrival.form = form_;
    return arrival;
  }
  absl::StatusOr<Made> Store(const std::string& content) {
    RandomCutSource chunks(content, 300'000);
    return Store(chunks, ArrivalOf(std::ssize(content)));
  }
  absl::StatusOr<Made> Store(ByteSource& chunks, Arrival arrival) {
    ChunkedForm form(
        std::move(arrival), MakeChunking(), master_key_, clock_, stages_, [] { return int64_t{7}; },
        *this, chunks);
    Made made;
    while (true) {
      absl::StatusOr<ChunkedForm::Next> next = form.Advance();
      if (!next.ok()) return next.status();
      if (*next == ChunkedForm::Next::kEnd) break;
      if (*next == ChunkedForm::Next::kRecipe) {
        Take(made, form.TakeRecipePart());
        continue;
      }
      const BlobId id = NewId();
      const absl::Status stored = StorePack(form, id, made);
      if (!stored.ok()) return stored;
    }
    Take(made, form.TakeRest());
    made.version = form.version();
    made.totals = form.totals();
    made.was_wide = form.content().is_wide();
    return made;
  }
  absl::Status StorePack(ChunkedForm& form, const BlobId& id, Made& made) {
    LingeringSink sink;
    const std::unique_ptr<ByteSource> pack = form.OpenPack(id);
    const std::optional<int64_t> largest = form.LargestPackSize();
    const auto size = CopyAll(*pack, sink);
    if (!size.ok()) return size.status();
    if (largest) {
      EXPECT_LE(*size, *largest);
    }
    EXPECT_LE(*size, kMaxPackSize);
    made.lasting = std::max(made.lasting, sink.lasting());
    made.pieces += sink.pieces();
    made.largest_pack = std::max(made.largest_pack, *size);
    if (keeps_packs_) packs_[id] = sink.TakeBytes();
    form.PackIsStaged(*size);
    return absl::OkStatus();
  }
  void Take(Made& made, storage::NewChunks chunks) {
    EXPECT_LE(chunks.recipe.size(), max_recipe_part_);
    most_packs_ = std::max(most_packs_, chunks.packs.size());
    made.recipe.insert(made.recipe.end(), chunks.recipe.begin(), chunks.recipe.end());
    for (const storage::NewPack& pack : chunks.packs) {
      for (const storage::PackedChunk& chunk : pack.chunks) {
        if (known_.insert(chunk.id).second) places_[chunk.id] = {pack, chunk};
      }
      made.packs.push_back(pack);
    }
    for (const storage::InlineChunk& chunk : chunks.inlined) made.inlined.push_back(chunk);
  }
  BlobId NewId() {
    std::string bytes(BlobId::kSize, '\0');
    bytes[0] = static_cast<char>(++blobs_);
    bytes[1] = static_cast<char>(blobs_ >> 8);
    return *BlobId::FromBytes(bytes);
  }

  std::string ReadChunk(const ChunkRef& ref) {
    const auto& [pack, packed] = places_.at(ref.id);
    storage::StoredChunk chunk;
    chunk.ref = ref;
    chunk.form = pack.form;
    chunk.coding = packed.coding;
    chunk.pack = 1;
    chunk.pack_blob = pack.blob_id;
    chunk.index = packed.index;
    SecretBytes key;
    if (pack.form == StorageForm::kSealed)
      key = OpenPackKey(pack.wrapped_key, pack.blob_id, master_key_).value();
    const ChunkIdKey id_keys[] = {keys_->IdKey(pack.form)};
    const absl::string_view stored =
        absl::string_view(packs_.at(pack.blob_id))
            .substr(static_cast<size_t>(packed.offset), static_cast<size_t>(packed.stored_size));
    std::string scratch;
    return std::string(DecodeChunk(chunk, stored, key, *keys_, id_keys, scratch).value());
  }
  std::string ReadBack(const Made& made) {
    std::string content;
    for (const ChunkRef& ref : made.recipe) content += ReadChunk(ref);
    return content;
  }
  // Its packs' footers say the same as it does.
  void ExpectFooters(const Made& made) {
    std::vector<ChunkRef> steps;
    for (const storage::NewPack& pack : made.packs) {
      const auto footer = ReadPackFooter(StringAccess(packs_.at(pack.blob_id)));
      ASSERT_OK(footer);
      EXPECT_EQ(footer->pack_id, pack.blob_id);
      EXPECT_EQ(footer->form, form_);
      EXPECT_EQ(footer->wrapped_key, pack.wrapped_key);
      EXPECT_EQ(footer->chunks.size(), pack.chunks.size());
      ASSERT_EQ(footer->parts.size(), 1u);
      const PackFooter::Part& part = footer->parts[0];
      EXPECT_EQ(pack.footer_bytes,
                std::ssize(EncodePackFooter(*footer, std::string(kPackKeySize, 'k'))));
      EXPECT_EQ(part.first_step, std::ssize(steps));
      steps.insert(steps.end(), part.steps.begin(), part.steps.end());
      EXPECT_EQ(part.version.has_value(), &pack == &made.packs.back());
      if (!part.version) continue;
      EXPECT_EQ(part.version->version_id, 7);
      EXPECT_EQ(part.version->sha256, made.version.sha256);
      EXPECT_EQ(part.version->size_bytes, made.version.size_bytes);
    }
    EXPECT_TRUE(steps == made.recipe);
  }

  const crypto::KeyRing master_key_{std::string(32, 'm')};
  const std::unique_ptr<StoreKeys> keys_ =
      StoreKeys::Open(StoreKeys::NewSealedSecret(master_key_), master_key_).value();
  const FakeClock clock_{absl::FromUnixSeconds(1'700'000'000)};
  StageResources stages_;
  StorageForm form_ = StorageForm::kPlain;
  CompressionPolicy compression_{When::kNever, 3};
  size_t max_recipe_part_ = 1024;
  bool keeps_packs_ = true;

  std::set<ChunkId> known_;
  std::map<ChunkId, std::pair<storage::NewPack, storage::PackedChunk>> places_;
  std::map<BlobId, std::string> packs_;
  int blobs_ = 0;
  int lookups_ = 0;
  size_t most_packs_ = 0;
};

std::string Text(size_t size) {
  std::string text;
  for (int line = 0; text.size() < size; ++line)
    absl::StrAppend(&text, "line ", line * 7919 % 100'003, " of a log that grows and grows\n");
  text.resize(size);
  return text;
}

TEST_F(ChunkedFormTest, IsReadBackWhateverItsSizeFormAndCompression) {
  const size_t sizes[] = {1001, 65536,        256 << 10,    (256 << 10) + 1,
                          kMiB, kMiB + 12345, 5 * kMiB + 1, 9 * kMiB + 4097};
  for (const StorageForm form : {StorageForm::kPlain, StorageForm::kSealed}) {
    for (const When when : {When::kNever, When::kAlways, When::kAuto}) {
      form_ = form;
      compression_.when = when;
      for (const size_t size : sizes) {
        const std::string half = Text(size / 2);
        const std::string content =
            half + PseudoRandomBytes(size - half.size(), static_cast<uint32_t>(size));
        known_.clear();
        const auto made = Store(content);
        ASSERT_OK(made) << size;
        EXPECT_TRUE(made->was_wide);
        EXPECT_EQ(made->version.size_bytes, std::ssize(content));
        EXPECT_EQ(made->version.form, form);
        EXPECT_TRUE(ReadBack(*made) == content) << size;
        ExpectFooters(*made);
        EXPECT_EQ(made->totals.known + made->totals.raw + made->totals.compressed,
                  std::ssize(content));
      }
    }
  }
}

TEST_F(ChunkedFormTest, OfSmallContentIsOneChunkInTheCatalog) {
  for (const StorageForm form : {StorageForm::kPlain, StorageForm::kSealed}) {
    for (const When when : {When::kNever, When::kAuto}) {
      form_ = form;
      compression_.when = when;
      const std::string content = Text(900);
      const auto made = Store(content);
      ASSERT_OK(made);
      ASSERT_EQ(made->inlined.size(), 1);
      EXPECT_TRUE(made->packs.empty());
      const storage::InlineChunk& chunk = made->inlined[0];
      EXPECT_EQ(made->recipe, std::vector<ChunkRef>{chunk.ref});
      EXPECT_EQ(chunk.coding == storage::ChunkCoding::kZstd, when == When::kAuto);
      storage::StoredChunk stored;
      stored.ref = chunk.ref;
      stored.form = chunk.form;
      stored.coding = chunk.coding;
      const ChunkIdKey id_keys[] = {keys_->IdKey(form)};
      std::string scratch;
      EXPECT_EQ(DecodeChunk(stored, chunk.payload, "", *keys_, id_keys, scratch).value(), content);
    }
  }
  EXPECT_EQ(lookups_, 0);
}

TEST_F(ChunkedFormTest, OfNothingIsNoChunk) {
  const auto made = Store("");
  ASSERT_OK(made);
  EXPECT_TRUE(made->recipe.empty() && made->packs.empty() && made->inlined.empty());
}

TEST_F(ChunkedFormTest, StoresNothingThatIsKnown) {
  const std::string content = PseudoRandomBytes(12 * kMiB);
  ASSERT_OK(Store(content));
  const auto again = Store(content);
  ASSERT_OK(again);
  EXPECT_TRUE(again->packs.empty());
  EXPECT_EQ(again->totals.known, std::ssize(content));
  EXPECT_TRUE(ReadBack(*again) == content);
}

TEST_F(ChunkedFormTest, StoresWhatIsNewBetweenWhatIsKnown) {
  const std::string content = PseudoRandomBytes(24 * kMiB);
  std::string changed = content;
  for (const size_t place : {size_t{5}, 9 * kMiB + 77, 23 * kMiB}) changed[place] ^= 1;
  changed.insert(15 * kMiB + 3, "a few bytes more");
  for (const StorageForm form : {StorageForm::kPlain, StorageForm::kSealed}) {
    form_ = form;
    ASSERT_OK(Store(content));
    const auto made = Store(changed);
    ASSERT_OK(made);
    EXPECT_TRUE(ReadBack(*made) == changed);
    ExpectFooters(*made);
    EXPECT_GT(made->totals.known, std::ssize(content) / 4);
    EXPECT_GT(made->totals.raw, 0);
  }
}

TEST_F(ChunkedFormTest, StoresWhatItRepeatsOnce) {
  const std::string block = PseudoRandomBytes(8 * kMiB);
  const auto made = Store(block + block + block);
  ASSERT_OK(made);
  EXPECT_LT(made->totals.raw, std::ssize(block) * 2);
  EXPECT_TRUE(ReadBack(*made) == block + block + block);
  // Nowhere a boundary.
  const std::string zeros(17 * kMiB, '\0');
  const auto same = Store(zeros);
  ASSERT_OK(same);
  EXPECT_LE(same->totals.raw, std::ssize(zeros) / 2);
  EXPECT_TRUE(ReadBack(*same) == zeros);
}

TEST_F(ChunkedFormTest, ReferencesRawChunksThatAreAlignedAsTheirPiecesAre) {
  const std::string content = PseudoRandomBytes(12 * kMiB);
  const auto made = Store(content);
  ASSERT_OK(made);
  ASSERT_EQ(made->packs.size(), 1);
  EXPECT_GT(made->lasting, 0);
  // Without a gap: the pack begins with the content, byte for byte.
  EXPECT_TRUE(packs_.at(made->packs[0].blob_id).substr(0, content.size()) == content);
  // And in as few pieces as it came in, wherever it was cut; the footer is one more.
  EXPECT_GT(made->recipe.size(), 12);
  EXPECT_LE(made->pieces, 12 + 1);
}

TEST_F(ChunkedFormTest, IsTheSameWithoutRoomForLargePieces) {
  const std::string content = PseudoRandomBytes(11 * kMiB + 4242);
  for (const StorageForm form : {StorageForm::kPlain, StorageForm::kSealed}) {
    form_ = form;
    const auto wide = Store(content);
    ASSERT_OK(wide);
    known_.clear();
    ASSERT_TRUE(stages_.pieces.TryTake(PieceBudget::kMaxBytes));
    const auto narrow = Store(content);
    ASSERT_OK(narrow);
    EXPECT_FALSE(narrow->was_wide);
    EXPECT_EQ(narrow->recipe, wide->recipe);
    EXPECT_TRUE(ReadBack(*narrow) == content);
    ExpectFooters(*narrow);
    // What is known is garbage in the pack.
    const auto again = Store(content);
    ASSERT_OK(again);
    EXPECT_EQ(again->totals.known, std::ssize(content));
    ASSERT_EQ(again->packs.size(), 1);
    EXPECT_TRUE(again->packs[0].chunks.empty());
    stages_.pieces.GiveBack(PieceBudget::kMaxBytes);
  }
}

TEST_F(ChunkedFormTest, FillsPacksToTheirLargestSize) {
  keeps_packs_ = false;
  max_recipe_part_ = 64;
  const std::string content = PseudoRandomBytes(135 * kMiB);
  for (const bool wide : {true, false}) {
    known_.clear();
    if (!wide) {
      ASSERT_TRUE(stages_.pieces.TryTake(PieceBudget::kMaxBytes));
    }
    const auto made = Store(content);
    ASSERT_OK(made);
    EXPECT_EQ(made->packs.size(), 3);
    EXPECT_GT(made->largest_pack, kMaxPackSize - int64_t{5 * kMiB});
    // The catalog was told in parts.
    EXPECT_LT(most_packs_, made->packs.size());
  }
}

TEST_F(ChunkedFormTest, OfALotThatShrinksTakesLittleRoom) {
  keeps_packs_ = false;
  compression_.when = When::kAlways;
  constexpr int64_t kSize = int64_t{256} << 20;
  RepeatedSource chunks(Text(kMiB), kSize);
  const auto made = Store(chunks, ArrivalOf(kSize));
  ASSERT_OK(made);
  EXPECT_EQ(made->version.size_bytes, kSize);
  EXPECT_LT(made->totals.stored, kSize / 20);
}

TEST_F(ChunkedFormTest, CompressesOnlyWhatTheSendersDelayPaysFor) {
  compression_.when = When::kAuto;
  const std::string content = Text(3 * kMiB);
  const auto made = Store(content);
  ASSERT_OK(made);
  ASSERT_EQ(made->packs.size(), 1);
  // It came at once.
  EXPECT_TRUE(made->packs[0].chunks.back().waits ||
              made->packs[0].chunks.back().coding == storage::ChunkCoding::kZstd);
  const auto random = Store(PseudoRandomBytes(3 * kMiB));
  ASSERT_OK(random);
  EXPECT_FALSE(random->packs[0].chunks.back().waits);
}

TEST_F(ChunkedFormTest, TakesNoRoomForAContentThatIsSaidToBeSmall) {
  StringSource chunks("");
  for (const int64_t size : {1'000, 1'000'000}) {
    Arrival arrival = ArrivalOf(0);
    arrival.encoding.cbc = crypto::CbcFormat{.cut = crypto::CbcFormat::Cut::kSizedSegments};
    arrival.session_key = std::string(16, 'k');
    arrival.original_size = size;
    const ChunkedForm form(
        arrival, MakeChunking(), master_key_, clock_, stages_, [] { return int64_t{7}; }, *this,
        chunks);
    EXPECT_EQ(form.content().is_wide(), size == 1'000'000);
    const bool has_all = stages_.pieces.TryTake(PieceBudget::kMaxBytes);
    EXPECT_EQ(has_all, size == 1'000);
    if (has_all) stages_.pieces.GiveBack(PieceBudget::kMaxBytes);
  }
}

TEST_F(ChunkedFormTest, WithoutRoomOnlyWhatMayShrinkWaits) {
  compression_.when = When::kAuto;
  ASSERT_TRUE(stages_.pieces.TryTake(PieceBudget::kMaxBytes));
  const auto waiting = [&](const std::string& content) {
    const auto made = Store(content);
    EXPECT_FALSE(made->was_wide);
    const std::vector<storage::PackedChunk>& chunks = made->packs.at(0).chunks;
    return std::count_if(chunks.begin(), chunks.end(),
                         [](const storage::PackedChunk& chunk) { return chunk.waits; });
  };
  EXPECT_GT(waiting(Text(3 * kMiB)), 0);
  EXPECT_EQ(waiting(PseudoRandomBytes(3 * kMiB)), 0);
  stages_.pieces.GiveBack(PieceBudget::kMaxBytes);
}

TEST_F(ChunkedFormTest, FailsAsItsContentDoesWhereverThatIs) {
  const std::string content = PseudoRandomBytes(10 * kMiB);
  for (int64_t place = 0; place < std::ssize(content); place += 1'234'567) {
    RandomCutSource chunks(content, 100'000);
    FailingSource failing(chunks, place);
    EXPECT_THAT(Store(failing, ArrivalOf(std::ssize(content))), HasReason(Reason::kStorageIo));
    RandomCutSource whole(content, 100'000);
    EXPECT_THAT(Store(whole, ArrivalOf(place)), HasReason(Reason::kInvalidField));
  }
  Arrival arrival = ArrivalOf(std::ssize(content));
  arrival.original_size = 1;
  RandomCutSource chunks(content, 100'000);
  EXPECT_THAT(Store(chunks, arrival), HasReason(Reason::kContentRejected));
}

}  // namespace
}  // namespace backup::content
