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

using testing::HasReason;
using testing::IsOkAndHolds;
using testing::PseudoRandomBytes;

constexpr int kLevel = 3;

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
    return TrainDictionary(samples).value();
  }());
  return *dictionary;
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

  const crypto::MasterKey master_{PseudoRandomBytes(32)};
  const std::unique_ptr<StoreKeys> keys_ =
      StoreKeys::Open(StoreKeys::NewSealedSecret(master_), master_).value();
  const std::shared_ptr<const Dictionary> dictionary_ = Dictionary::Open(Trained(), kLevel).value();
  std::map<std::string, std::string> kept_ = {
      {DictionaryName(dictionary_->id()), SealDictionary(Trained(), dictionary_->id(), *keys_)}};
  int loads_ = 0;
  Dictionaries dictionaries_{*keys_, Loader()};
};

TEST(TrainDictionary, NeedsEnoughToLookAt) {
  EXPECT_FALSE(TrainDictionary({}));
  const std::vector<std::string> few = {"a", "b"};
  EXPECT_FALSE(TrainDictionary(few));
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
  EXPECT_EQ((*dictionaries_.Find(dictionary_->id()))->compressing(), nullptr);
}

TEST_F(DictionariesTest, MakeSmallContentsSmallerAndGiveThemBack) {
  const std::string source = Source(77777);
  const std::string with = Frame(source, dictionary_.get());
  EXPECT_LT(with.size(), Frame(source, nullptr).size() * 3 / 4);
  const auto size = static_cast<int64_t>(source.size());
  EXPECT_THAT(Decompress(with, size, &dictionaries_), IsOkAndHolds(source));
  EXPECT_THAT(Decompress(Frame(source, nullptr), size, &dictionaries_), IsOkAndHolds(source));
  EXPECT_THAT(Decompress(with, size), HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(Decompress(with, size + 1, &dictionaries_), HasReason(Reason::kBlobDamaged));
}

TEST_F(DictionariesTest, AreLoadedOnceEach) {
  for (int i = 0; i < 3; ++i) {
    const auto found = dictionaries_.Find(dictionary_->id());
    ASSERT_OK(found);
    EXPECT_EQ((*found)->id(), dictionary_->id());
  }
  EXPECT_EQ(loads_, 1);
}

TEST_F(DictionariesTest, SayWhatIsMissing) {
  const auto missing = dictionaries_.Find(dictionary_->id() + 1);
  EXPECT_THAT(missing, HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(missing.status().message(),
              ::testing::HasSubstr(DictionaryName(dictionary_->id() + 1)));
  // It is looked for again: another process may have made it meanwhile.
  EXPECT_THAT(dictionaries_.Find(dictionary_->id() + 1), HasReason(Reason::kBlobDamaged));
  EXPECT_EQ(loads_, 2);
}

TEST_F(DictionariesTest, PassOnTheErrorOfTheCatalog) {
  Dictionaries failing(*keys_, [](uint32_t) -> absl::StatusOr<std::optional<std::string>> {
    return MakeError(Reason::kStorageIo, "no disk");
  });
  EXPECT_THAT(failing.Find(dictionary_->id()), HasReason(Reason::kStorageIo));
}

TEST_F(DictionariesTest, RefuseWhatWasChangedOrIsAnother) {
  std::string& sealed = kept_.begin()->second;
  for (const size_t at : {size_t{0}, size_t{12}, sealed.size() / 2, sealed.size() - 1}) {
    sealed[at] = static_cast<char>(sealed[at] ^ 1);
    EXPECT_THAT(dictionaries_.Find(dictionary_->id()), HasReason(Reason::kBlobDamaged)) << at;
    sealed[at] = static_cast<char>(sealed[at] ^ 1);
  }
  kept_[DictionaryName(5)] = sealed;
  EXPECT_THAT(dictionaries_.Find(5), HasReason(Reason::kBlobDamaged)) << "sealed for another name";
  kept_[DictionaryName(5)] = SealDictionary(Trained(), 5, *keys_);
  EXPECT_THAT(dictionaries_.Find(5), HasReason(Reason::kBlobDamaged)) << "has another id";
  EXPECT_OK(dictionaries_.Find(dictionary_->id()));
}

TEST_F(DictionariesTest, DecodeASealedChunkOfTheCatalog) {
  const std::string source = Source(12345);
  const std::vector<ChunkIdKey> id_keys = {keys_->IdKey(storage::StorageForm::kPlain)};
  storage::StoredChunk chunk;
  chunk.ref = {ChunkIdOf(id_keys[0], source), static_cast<int64_t>(source.size())};
  chunk.form = storage::StorageForm::kSealed;
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
