#include "services/backup/jobs/train.h"

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/byte_stream.h"
#include "base/status_macros.h"
#include "base/testing/status_matchers.h"
#include "content/chunk_digest.h"
#include "content/chunk_seal.h"
#include "content/compression.h"
#include "content/dictionary.h"
#include "crypto/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/handlers/pending_chunks.h"
#include "services/backup/handlers/upload_file.h"
#include "services/backup/jobs/testing/chunk_world.h"
#include "services/backup/jobs/testing/media.h"
#include "storage/testing/ids.h"

namespace backup::jobs {
namespace {

using content::DictionaryName;
using content::kFirstDictionaryId;
using storage::Snapshot;
using storage::StorageForm;
using storage::Transaction;
using testing::IsOkAndHolds;

constexpr int kLevel = 3;

// A small file of which most lines are also in others of its kind.
std::string Source(int number, absl::string_view kind = "python") {
  std::seed_seq seed(kind.begin(), kind.end());
  std::mt19937 random(seed);
  std::vector<std::string> lines(60);
  for (std::string& line : lines) {
    absl::StrAppend(&line, "    ", kind);
    for (int i = 0; i < 40; ++i) line.push_back(static_cast<char>('a' + random() % 26));
  }
  std::mt19937 own(static_cast<unsigned>(number));
  std::string source;
  for (int i = 0; i < 12; ++i)
    absl::StrAppend(&source, lines[own() % lines.size()], " = ", own() % 100'000, "\n");
  return source;
}

class TrainTest : public ::testing::TestWithParam<Places> {
 protected:
  TrainTest() {
    world_.policy.form = GetParam().form;
    world_.next_version = 1'000'000;  // Others than the catalog gives to uploads.
  }

  // As a client does; in the catalog, since it is small.
  void Upload(const std::string& name, const std::string& plain) {
    v1::UploadFileHeader header;
    header.set_client_id(ToUuid(world_.client));
    header.set_file_name(name);
    header.set_encoding(v1::UploadFileHeader::IDENTITY);
    header.set_encoded_size(static_cast<int64_t>(plain.size()));
    StringSource source(plain);
    ASSERT_OK(handlers::StoreUpload(world_.resources(), header, source));
    world_.expected[name] = plain;
  }
  // The same, all by one transaction and without a dictionary.
  void StoreContents(const std::map<std::string, std::string>& contents) {
    ASSERT_OK(world_.catalog->Run([&](Transaction& transaction) -> absl::Status {
      for (const auto& [name, plain] : contents) {
        storage::Version version;
        version.client_id = world_.client;
        version.file_name = name;
        ASSIGN_OR_RETURN(version.version_id, transaction.ReserveVersionIds(1));
        version.size_bytes = version.encoded_size = std::ssize(plain);
        crypto::Sha256 sha256;
        sha256.Update(plain);
        version.sha256 = sha256.Finish();
        version.form = world_.policy.form;
        RETURN_IF_ERROR(transaction.AddVersion(version, ChunksOf(plain), {}).status());
        world_.expected[name] = plain;
      }
      return absl::OkStatus();
    }));
  }
  storage::NewChunks ChunksOf(const std::string& plain) const {
    storage::InlineChunk chunk;
    chunk.form = world_.policy.form;
    chunk.ref = {content::ChunkIdOf(world_.keys->IdKey(chunk.form), plain), std::ssize(plain)};
    const absl::string_view bytes = plain;
    const std::optional<std::string> frame = content::Compress({&bytes, 1}, kLevel);
    chunk.coding = frame ? storage::ChunkCoding::kZstd : storage::ChunkCoding::kRaw;
    chunk.payload = frame.value_or(plain);
    if (chunk.form == StorageForm::kSealed)
      chunk.payload =
          content::SealInline(world_.keys->InlineKey(chunk.ref.id), chunk.ref.id, chunk.payload);
    storage::NewChunks chunks;
    chunks.recipe = {chunk.ref};
    chunks.inlined = {chunk};
    return chunks;
  }
  void StoreSources(int first, int count, const std::string& kind = "python") {
    std::map<std::string, std::string> contents;
    for (int i = first; i < first + count; ++i)
      contents[absl::StrCat(kind, " ", i)] = Source(i, kind);
    StoreContents(contents);
  }
  // What a new content takes now.
  int64_t StoredSizeOfNew(int number, const std::string& kind = "python") {
    const std::string name = absl::StrCat("new ", kind, " ", number);
    Upload(name, Source(number, kind));
    return world_.ChunksOf(name).at(0).stored_size;
  }
  absl::StatusOr<int64_t> RunTrain(int64_t min_contents = 256) {
    return RunTrainFor(GetParam().form, min_contents);
  }
  absl::StatusOr<int64_t> RunTrainFor(StorageForm form, int64_t min_contents = 256) {
    Train train(*world_.catalog, *world_.keys, world_.dictionaries(), {form, kLevel, min_contents});
    return world_.Run(train);
  }
  std::optional<std::string> Kept(uint32_t id) {
    return *world_.catalog->Read(
        [&](Snapshot& snapshot) { return snapshot.FindStoreValue(DictionaryName(id)); });
  }
  void Keep(uint32_t id, const std::string& value) {
    ASSERT_OK(world_.catalog->Run([&](Transaction& transaction) {
      return transaction.AddStoreValue(DictionaryName(id), value);
    }));
  }

  TestMedia media_;
  ChunkWorld world_{media_.MakeQuickly(GetParam().on)};
};

TEST_P(TrainTest, KeepsADictionaryWithWhichNewContentsAreSmaller) {
  StoreSources(0, 600);
  const int64_t before = StoredSizeOfNew(1000);
  EXPECT_THAT(RunTrain(), IsOkAndHolds(1));
  ASSERT_TRUE(Kept(kFirstDictionaryId));
  EXPECT_LT(StoredSizeOfNew(1001), before * 3 / 4);
  world_.ExpectAllIsThere();
  // Another process knows it as well, and uses it once it has looked.
  world_.Restart();
  world_.ExpectAllIsThere();
  EXPECT_THAT(RunTrain(), IsOkAndHolds(0));
  EXPECT_LT(StoredSizeOfNew(1002), before * 3 / 4);
}

TEST_P(TrainTest, SealsWhatItKeeps) {
  StoreSources(0, 600);
  ASSERT_THAT(RunTrain(), IsOkAndHolds(1));
  EXPECT_EQ(Kept(kFirstDictionaryId)->find("python"), std::string::npos);
  const auto opened =
      content::UnsealDictionary(*Kept(kFirstDictionaryId), kFirstDictionaryId, *world_.keys);
  ASSERT_OK(opened);
  EXPECT_NE(opened->bytes.find("python"), std::string::npos);
  EXPECT_EQ(opened->form, GetParam().form);
}

TEST_P(TrainTest, DoesNotBeginWithFewContents) {
  StoreSources(0, 255);
  EXPECT_THAT(RunTrain(), IsOkAndHolds(0));
  EXPECT_FALSE(Kept(kFirstDictionaryId));
}

TEST_P(TrainTest, DoesNotKeepWhatTakesMoreThanItSpares) {
  StoreSources(0, 30);
  EXPECT_THAT(RunTrain(/*min_contents=*/30), IsOkAndHolds(0));
  EXPECT_FALSE(Kept(kFirstDictionaryId));
}

TEST_P(TrainTest, DoesNotKeepWhatBringsNothing) {
  std::map<std::string, std::string> contents;
  for (int i = 0; i < 600; ++i) contents[absl::StrCat("file ", i)] = RandomBytes(i, 500);
  StoreContents(contents);
  EXPECT_THAT(RunTrain(), IsOkAndHolds(0));
  EXPECT_FALSE(Kept(kFirstDictionaryId));
}

TEST_P(TrainTest, TrainsTheNextOneWhenThereAreTwiceAsMany) {
  StoreSources(0, 600);
  ASSERT_THAT(RunTrain(), IsOkAndHolds(1));
  StoreSources(0, 500, "kotlin");
  EXPECT_THAT(RunTrain(), IsOkAndHolds(0));
  StoreSources(500, 200, "kotlin");
  const int64_t before = StoredSizeOfNew(1000, "kotlin");
  EXPECT_THAT(RunTrain(), IsOkAndHolds(1));
  EXPECT_TRUE(Kept(kFirstDictionaryId + 1));
  EXPECT_LT(StoredSizeOfNew(1001, "kotlin"), before * 3 / 4);
  world_.Restart();
  world_.ExpectAllIsThere();
}

TEST_P(TrainTest, DoesNotReplaceOneThatIsAsGood) {
  StoreSources(0, 600);
  ASSERT_THAT(RunTrain(), IsOkAndHolds(1));
  StoreSources(600, 700);
  EXPECT_THAT(RunTrain(), IsOkAndHolds(0));
  EXPECT_FALSE(Kept(kFirstDictionaryId + 1));
}

TEST_P(TrainTest, TrainsNoMoreThanAStoreMayHave) {
  Keep(content::kLastDictionaryId, "one that cannot be read");
  StoreSources(0, 600);
  EXPECT_THAT(RunTrain(), IsOkAndHolds(0));
  EXPECT_FALSE(Kept(kFirstDictionaryId));
}

TEST_P(TrainTest, LooksOnlyAtContentsOfOneForm) {
  const StorageForm other =
      GetParam().form == StorageForm::kPlain ? StorageForm::kSealed : StorageForm::kPlain;
  StoreSources(0, 600);
  EXPECT_THAT(RunTrainFor(other), IsOkAndHolds(0));
  ASSERT_THAT(RunTrain(), IsOkAndHolds(1));
  world_.policy.form = other;
  StoreSources(0, 700, "kotlin");
  EXPECT_THAT(RunTrainFor(other), IsOkAndHolds(1));
  const auto opened = content::UnsealDictionary(*Kept(kFirstDictionaryId + 1),
                                                kFirstDictionaryId + 1, *world_.keys);
  ASSERT_OK(opened);
  EXPECT_EQ(opened->form, other);
  EXPECT_EQ(opened->bytes.find("python"), std::string::npos);
}

TEST_P(TrainTest, UploadsUseNoneOfAnotherFormNorOneOfOtherClients) {
  StoreSources(0, 600);
  ASSERT_THAT(RunTrain(), IsOkAndHolds(1));
  const auto chunking_of = [&](StorageForm form) {
    return handlers::ChunkingOf(world_.resources(), world_.client, form);
  };
  const StorageForm other =
      GetParam().form == StorageForm::kPlain ? StorageForm::kSealed : StorageForm::kPlain;
  EXPECT_NE(chunking_of(GetParam().form).dictionary, nullptr);
  EXPECT_EQ(chunking_of(other).dictionary, nullptr);
  world_.policy.sharing = handlers::Sharing::kClient;
  EXPECT_EQ(chunking_of(GetParam().form).dictionary, nullptr);
}

TEST_P(TrainTest, FindsContentsAmongManyChunksOfLargeFiles) {
  StoreSources(0, 300);
  std::vector<std::string> chunks;
  for (int i = 0; i < 4000; ++i) chunks.push_back(absl::StrCat("chunk ", i));
  world_.Store("large", chunks, {.form = GetParam().form});
  StoreSources(300, 300);
  EXPECT_THAT(RunTrain(/*min_contents=*/600), IsOkAndHolds(1));
}

TEST_P(TrainTest, LeavesOutWhatCannotBeRead) {
  StoreSources(0, 600);
  storage::NewChunks damaged;
  damaged.recipe = {{storage::IdOf<ChunkId>(1), 100}};
  damaged.inlined = {{damaged.recipe[0], GetParam().form, storage::ChunkCoding::kZstd, "none"}};
  ASSERT_OK(
      world_.Finish({world_.NewVersion("damaged", "", storage::StorageForm::kPlain), "", damaged}));
  EXPECT_THAT(RunTrain(/*min_contents=*/600), IsOkAndHolds(1));
  StoreSources(600, 700, "kotlin");
  EXPECT_THAT(RunTrain(/*min_contents=*/1301), IsOkAndHolds(0));
}

TEST_P(TrainTest, KeepsNothingOnceItIsToStop) {
  StoreSources(0, 600);
  Train train(*world_.catalog, *world_.keys, world_.dictionaries(), {GetParam().form, kLevel});
  std::stop_source stop;
  stop.request_stop();
  const auto progress = train.Step("", 1, stop.get_token());
  ASSERT_OK(progress);
  EXPECT_EQ(progress->count, 0);
  EXPECT_FALSE(Kept(kFirstDictionaryId));
}

TEST_P(TrainTest, FailsIfTheCatalogDoesAndTriesAgain) {
  StoreSources(0, 600);
  Train train(*world_.catalog, *world_.keys, world_.dictionaries(), {GetParam().form, kLevel});
  world_.death.After(1, Death::When::kBefore);
  EXPECT_FALSE(world_.Run(train).ok());
  world_.death.After(Death::kNever, Death::When::kBefore);
  EXPECT_THAT(world_.Run(train), IsOkAndHolds(1));
}

INSTANTIATE_TEST_SUITE_P(Everywhere, TrainTest, AllPlaces());

}  // namespace
}  // namespace backup::jobs
