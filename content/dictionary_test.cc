#include "content/dictionary.h"

#include <atomic>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "content/chunk_digest.h"
#include "content/chunk_seal.h"
#include "content/compression.h"
#include "content/testing/decode_chunk.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::content {
namespace {

using storage::StorageForm;
using testing::HasReason;
using testing::IsOkAndHolds;
using testing::PseudoRandomBytes;

constexpr int kLevel = 3;
constexpr uint32_t kId = kFirstDictionaryId + 2;

// A small source file that has much in common with others of its kind.
std::string Source(int number) {
  std::string source = "import collections\nimport os\nfrom typing import Optional\n\n";
  for (int i = number; i < number + 12; ++i) {
    absl::StrAppend(&source, "\nclass Handler", i * 7919 % 1000,
                    "(Base):\n    def __init__(self, value: Optional[int] = ", i * 31 % 97,
                    ") -> None:\n        super().__init__()\n        self.value = value\n");
  }
  return source;
}

const std::string& Trained() {
  static const auto* const dictionary = new std::string([] {
    std::vector<std::string> samples;
    for (int i = 0; i < 400; ++i) samples.push_back(Source(i * 100));
    return TrainDictionary(samples, kId).value();
  }());
  return *dictionary;
}

// As it is kept.
std::string Sealed(uint32_t id, const StoreKeys& keys, StorageForm form = StorageForm::kPlain) {
  std::string bytes = Trained();
  bytes[4] = static_cast<char>(id);  // Where RFC 8878 has the number, little-endian.
  return SealDictionary({form, 1000 + id, bytes}, id, keys);
}

std::string Frame(absl::string_view bytes, const Dictionary* dictionary) {
  return Compress({&bytes, 1}, kLevel, dictionary).value();
}

class DictionariesTest : public ::testing::Test {
 protected:
  Dictionaries::Load Loader() {
    return [this](uint32_t id) -> absl::StatusOr<std::optional<std::string>> {
      ++loads_;
      const auto found = kept_.find(DictionaryName(id));
      if (found == kept_.end()) return std::nullopt;
      return found->second;
    };
  }

  const crypto::KeyRing master_{PseudoRandomBytes(32)};
  const std::unique_ptr<StoreKeys> keys_ =
      StoreKeys::Open(StoreKeys::NewSealedSecret(master_), master_).value();
  const std::shared_ptr<const Dictionary> dictionary_ = Dictionary::Open(Trained(), kLevel).value();
  std::map<std::string, std::string> kept_ = {{DictionaryName(kId), Sealed(kId, *keys_)}};
  std::atomic<int> loads_ = 0;  // By several threads.
  Dictionaries dictionaries_{*keys_, Loader()};
};

TEST(TrainDictionary, NeedsEnoughToLookAt) {
  EXPECT_FALSE(TrainDictionary({}, kId));
  const std::vector<std::string> few = {"a", "b"};
  EXPECT_FALSE(TrainDictionary(few, kId));
  EXPECT_LE(Trained().size(), kMaxDictionarySize);
}

TEST(Dictionary, IsOnlyWhatWasTrained) {
  EXPECT_THAT(Dictionary::Open("", kLevel), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Dictionary::Open("anything", kLevel), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Dictionary::Open(PseudoRandomBytes(1000), kLevel), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Dictionary::Open(Trained().substr(0, 50), kLevel), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Dictionary::Open(Trained() + std::string(kMaxDictionarySize, 'x'), kLevel),
              HasReason(Reason::kBlobDamaged));
}

TEST_F(DictionariesTest, CompressOnlyWithALevel) {
  EXPECT_EQ((*dictionaries_.Find(kId))->compressing(), nullptr);
}

TEST_F(DictionariesTest, MakeSmallContentsSmallerAndGiveThemBack) {
  const std::string source = Source(77777);
  const std::string with = Frame(source, dictionary_.get());
  EXPECT_LT(with.size(), Frame(source, nullptr).size() * 3 / 4);
  const auto size = static_cast<int64_t>(source.size());
  EXPECT_THAT(Decompress(with, size, &dictionaries_), IsOkAndHolds(source));
  EXPECT_THAT(Decompress(Frame(source, nullptr), size, &dictionaries_), IsOkAndHolds(source));
  EXPECT_THAT(Decompress(with, size).status().message(), ::testing::HasSubstr(DictionaryName(kId)));
  EXPECT_THAT(Decompress(with, size + 1, &dictionaries_), HasReason(Reason::kBlobDamaged));
}

TEST_F(DictionariesTest, AreLoadedOnceEach) {
  for (int i = 0; i < 3; ++i) {
    const auto found = dictionaries_.Find(kId);
    ASSERT_OK(found);
    EXPECT_EQ((*found)->id(), kId);
  }
  EXPECT_EQ(loads_, 1);
}

TEST_F(DictionariesTest, SayWhatIsMissing) {
  const auto missing = dictionaries_.Find(kId + 1);
  EXPECT_THAT(missing, HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(missing.status().message(), ::testing::HasSubstr(DictionaryName(kId + 1)));
  // It is looked for again: another process may have made it meanwhile.
  EXPECT_THAT(dictionaries_.Find(kId + 1), HasReason(Reason::kBlobDamaged));
  EXPECT_EQ(loads_, 2);
}

TEST_F(DictionariesTest, PassOnTheErrorOfTheCatalog) {
  Dictionaries failing(*keys_, [](uint32_t) -> absl::StatusOr<std::optional<std::string>> {
    return MakeError(Reason::kStorageIo, "no disk");
  });
  EXPECT_THAT(failing.Find(kId), HasReason(Reason::kStorageIo));
}

TEST_F(DictionariesTest, RefuseWhatWasChangedOrIsAnother) {
  std::string& sealed = kept_.begin()->second;
  for (const size_t at : {size_t{0}, size_t{12}, sealed.size() / 2, sealed.size() - 1}) {
    sealed[at] = static_cast<char>(sealed[at] ^ 1);
    EXPECT_THAT(dictionaries_.Find(kId), HasReason(Reason::kBlobDamaged)) << at;
    sealed[at] = static_cast<char>(sealed[at] ^ 1);
  }
  const uint32_t other = kId + 1;
  kept_[DictionaryName(other)] = sealed;
  EXPECT_THAT(dictionaries_.Find(other), HasReason(Reason::kBlobDamaged)) << "of another name";
  kept_[DictionaryName(other)] = SealDictionary({{}, 0, Trained()}, other, *keys_);
  EXPECT_THAT(dictionaries_.Find(other), HasReason(Reason::kBlobDamaged)) << "has another id";
  kept_[DictionaryName(other)] = SealDictionary({{}, 0, "none"}, other, *keys_);
  EXPECT_THAT(dictionaries_.Find(other), HasReason(Reason::kBlobDamaged));
  EXPECT_OK(dictionaries_.Find(kId));
}

TEST_F(DictionariesTest, AreNeverOtherThanAStoreMayHave) {
  for (const uint32_t id : {uint32_t{1}, kFirstDictionaryId - 1, kLastDictionaryId + 1}) {
    EXPECT_THAT(dictionaries_.Find(id), HasReason(Reason::kBlobDamaged)) << id;
  }
  EXPECT_EQ(loads_, 0);
}

TEST_F(DictionariesTest, AreUsedForNewContentOnceTheyAreLookedFor) {
  EXPECT_EQ(dictionaries_.NewestOf(StorageForm::kPlain).dictionary, nullptr);
  EXPECT_THAT(dictionaries_.Refresh(kLevel), IsOkAndHolds(kId + 1));
  const Dictionaries::Newest newest = dictionaries_.NewestOf(StorageForm::kPlain);
  ASSERT_NE(newest.dictionary, nullptr);
  EXPECT_EQ(newest.dictionary->id(), kId);
  EXPECT_NE(newest.dictionary->compressing(), nullptr);
  EXPECT_EQ(newest.last_chunk, 1000 + kId);
  EXPECT_EQ(dictionaries_.NewestOf(StorageForm::kSealed).dictionary, nullptr);
}

TEST_F(DictionariesTest, AreForTheFormThatTheyWereTrainedWith) {
  kept_[DictionaryName(kId + 1)] = Sealed(kId + 1, *keys_, StorageForm::kSealed);
  kept_[DictionaryName(kId + 2)] = Sealed(kId + 2, *keys_, StorageForm::kSealed);
  EXPECT_THAT(dictionaries_.Refresh(kLevel), IsOkAndHolds(kId + 3));
  EXPECT_EQ(dictionaries_.NewestOf(StorageForm::kPlain).dictionary->id(), kId);
  EXPECT_EQ(dictionaries_.NewestOf(StorageForm::kSealed).dictionary->id(), kId + 2);
}

TEST_F(DictionariesTest, ThatAreDamagedAreNotUsedAndTheirIdIsTaken) {
  kept_[DictionaryName(kId + 1)] = "damaged";
  EXPECT_THAT(dictionaries_.Refresh(kLevel), IsOkAndHolds(kId + 2));
  EXPECT_EQ(dictionaries_.NewestOf(StorageForm::kPlain).dictionary->id(), kId);
}

TEST_F(DictionariesTest, AreNoMoreThanAStoreMayHave) {
  kept_[DictionaryName(kLastDictionaryId)] = Sealed(kLastDictionaryId, *keys_);
  EXPECT_THAT(dictionaries_.Refresh(kLevel), IsOkAndHolds(std::nullopt));
  EXPECT_EQ(dictionaries_.NewestOf(StorageForm::kPlain).dictionary->id(), kLastDictionaryId);
}

TEST_F(DictionariesTest, DecodeASealedChunkOfTheCatalog) {
  const std::string source = Source(12345);
  const std::vector<ChunkIdKey> id_keys = {keys_->IdKey(StorageForm::kPlain)};
  storage::StoredChunk chunk;
  chunk.ref = {ChunkIdOf(id_keys[0], source), static_cast<int64_t>(source.size())};
  chunk.form = StorageForm::kSealed;
  chunk.coding = storage::ChunkCoding::kZstd;
  const std::string stored =
      SealInline(keys_->InlineKey(chunk.ref.id), chunk.ref.id, Frame(source, dictionary_.get()));
  std::string scratch;
  EXPECT_THAT(DecodeChunk(chunk, stored, "", *keys_, id_keys, scratch, &dictionaries_),
              IsOkAndHolds(source));
  EXPECT_THAT(DecodeChunk(chunk, stored, "", *keys_, id_keys, scratch),
              HasReason(Reason::kBlobDamaged));
}

TEST_F(DictionariesTest, AreSharedByThreads) {
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const std::string source = Source(t * 1000 + i);
        const auto bytes = Decompress(Frame(source, dictionary_.get()),
                                      static_cast<int64_t>(source.size()), &dictionaries_);
        if (bytes.ok() && *bytes == source) ++right;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 200);
}

}  // namespace
}  // namespace backup::content
