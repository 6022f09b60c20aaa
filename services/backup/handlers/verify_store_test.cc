#include "services/backup/handlers/verify_store.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/byte_stream.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/piece_buffers.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "content/compression.h"
#include "content/dictionary.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/testing/memory_service.h"
#include "storage/sqlite/sqlite_catalog.h"
#include "storage/testing/ids.h"
#include "storage/testing/temp_folder.h"

namespace backup::handlers {
namespace {

using ::testing::HasSubstr;
using testing::KnownClient;
using testing::MemoryService;
using testing::PseudoRandomBytes;
using testing::StatusIs;

struct Verification {
  std::vector<v1::VerifyFinding> findings;
  v1::VerifySummary summary;
  int progress_count = 0;
};

class VerifyStoreTest : public ::testing::Test {
 protected:
  VerifyStoreTest() { service_.uploads.inline_blob_limit = 100; }

  Verification Verify(double sample_ratio = 0) {
    return VerifyIn(service_.stored_places, sample_ratio);
  }
  static Verification VerifyIn(const StoredPlaces& places, double sample_ratio = 0) {
    PieceBudget budget;
    Verification result;
    v1::VerifyStoreRequest request;
    request.set_sample_ratio(sample_ratio);
    EXPECT_OK(VerifyStore(places, budget, request, [&](const v1::VerifyStoreResponse& event) {
      if (event.has_finding()) result.findings.push_back(event.finding());
      if (event.has_summary()) result.summary = event.summary();
      result.progress_count += event.has_progress() ? 1 : 0;
      return absl::OkStatus();
    }));
    return result;
  }

  MemoryService service_;
  const KnownClient client_ = service_.MakeClient("laptop");
};

TEST_F(VerifyStoreTest, FindsNothingInAStoreThatIsWhole) {
  for (const auto form : {storage::StorageForm::kPlain, storage::StorageForm::kSealed}) {
    service_.uploads.form = form;
    for (int i = 0; i < 50; ++i) service_.Store(client_.id, "small", "x");
    service_.Store(client_.id, "large", std::string(1000, 'x'));
  }
  const Verification result = Verify();
  EXPECT_TRUE(result.findings.empty());
  EXPECT_EQ(result.summary.checked_versions(), 102);
  EXPECT_EQ(result.summary.checked_bytes(), 2 * 1001);  // Each content once in each form.
  EXPECT_EQ(result.progress_count, 2);
}

// Nothing is known then, of any of them.
class AwayBlobStore final : public storage::BlobStore {
 public:
  mutable int opens = 0;
  static absl::Status Away() {
    return MakeError(Reason::kBackendDown, "no answer", storage::kBlobsSubject);
  }
  absl::StatusOr<std::unique_ptr<storage::StagedBlob>> Stage(const BlobId&, ByteSource&,
                                                             std::optional<int64_t>) override {
    return Away();
  }
  absl::StatusOr<std::unique_ptr<RandomAccess>> Open(const BlobId&) const override {
    ++opens;
    return Away();
  }
  absl::StatusOr<bool> Delete(const BlobId&) override { return Away(); }
  absl::Status List(const std::function<absl::Status(const storage::BlobInfo&)>&) const override {
    return Away();
  }
};

TEST_F(VerifyStoreTest, EndsWhenTheStoreIsAwayAndCallsNothingDamaged) {
  for (const char* const name : {"one", "two", "three"})
    service_.Store(client_.id, name, PseudoRandomBytes(1000));
  AwayBlobStore away;
  const StoredPlaces& places = service_.stored_places;
  const StoredPlaces elsewhere = {places.catalog,      away,
                                  places.master_key,   places.store_keys,
                                  places.dictionaries, places.chunk_cache};
  PieceBudget budget;
  int findings = 0;
  EXPECT_THAT(VerifyStore(elsewhere, budget, v1::VerifyStoreRequest(),
                          [&](const v1::VerifyStoreResponse& event) {
                            findings += event.has_finding() ? 1 : 0;
                            return absl::OkStatus();
                          }),
              testing::HasReason(Reason::kBackendDown));
  EXPECT_EQ(findings, 0);
  EXPECT_EQ(away.opens, 1);
  EXPECT_EQ(service_.Count().damaged_chunks, 0);
  EXPECT_TRUE(Verify().findings.empty());
}

TEST_F(VerifyStoreTest, ReadsARandomShare) {
  for (int i = 0; i < 200; ++i) service_.Store(client_.id, "file", "x");
  const Verification half = Verify(0.5);
  EXPECT_GT(half.summary.checked_versions(), 50);
  EXPECT_LT(half.summary.checked_versions(), 150);
  EXPECT_EQ(Verify(1).summary.checked_versions(), 200);
  for (const double wrong : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN()}) {
    v1::VerifyStoreRequest request;
    request.set_sample_ratio(wrong);
    EXPECT_THAT(VerifyStore(service_.stored_places, service_.stages.pieces, request,
                            [](const v1::VerifyStoreResponse&) { return absl::OkStatus(); }),
                testing::HasReason(Reason::kInvalidField));
  }
}

// It may be found yet: nothing is marked, put aside or given up for it.
TEST_F(VerifyStoreTest, TakesAMissingGenerationOfKeysForNoDamage) {
  service_.master_key.Add(1, std::string(32, 'g'));
  service_.uploads.form = storage::StorageForm::kSealed;
  service_.Store(client_.id, "large", PseudoRandomBytes(100'000));
  service_.StoreWhole(client_.id, "own", std::string(1000, 'x'), storage::StorageForm::kSealed);
  const crypto::KeyRing without(std::string(32, 'k'));
  const StoredPlaces places{service_.catalog,    service_.blobs,         without,
                            service_.store_keys, *service_.dictionaries, &service_.chunk_cache};
  for (int round = 0; round < 2; ++round) {
    const Verification result = VerifyIn(places);
    ASSERT_EQ(result.findings.size(), 2u);
    for (const v1::VerifyFinding& finding : result.findings) {
      EXPECT_EQ(finding.kind(), v1::VerifyFinding::UNREADABLE);
      EXPECT_EQ(finding.reason(), "KEY_MISSING");
      EXPECT_THAT(finding.detail(), HasSubstr("key generation 1"));
    }
  }
  const storage::Counts counts = service_.Count();
  EXPECT_EQ(counts.damaged_chunks + counts.marked_versions + counts.set_aside_blobs, 0);
  EXPECT_TRUE(Verify().findings.empty());
}

TEST_F(VerifyStoreTest, TellsWhichVersionIsDamagedAndWhichIsMissing) {
  const int64_t damaged =
      service_.StoreWhole(client_.id, "damaged", "content", storage::StorageForm::kPlain);
  const int64_t missing = service_.StoreWhole(client_.id, "missing", std::string(1000, 'x'),
                                              storage::StorageForm::kSealed);
  service_.Store(client_.id, "whole", "content");
  const auto stored = service_.Stored(client_.id, "damaged", damaged);
  std::string changed = std::get<std::string>(stored.content);
  changed[0] = 'C';
  service_.Replace(stored, changed);
  const auto lost = service_.Stored(client_.id, "missing", missing);
  ASSERT_OK(service_.blobs.Delete(std::get<BlobId>(lost.content)));

  const Verification result = Verify();
  ASSERT_EQ(result.findings.size(), 2u);
  EXPECT_EQ(result.findings[0].kind(), v1::VerifyFinding::DAMAGED);
  EXPECT_EQ(result.findings[0].reason(), "BLOB_DAMAGED");
  EXPECT_EQ(result.findings[0].version_id(), damaged);
  EXPECT_EQ(result.findings[0].file_name(), "damaged");
  EXPECT_EQ(result.findings[0].client_id(), client_.id);
  EXPECT_EQ(result.findings[1].kind(), v1::VerifyFinding::MISSING);
  EXPECT_EQ(result.findings[1].reason(), "BLOB_DAMAGED");
  EXPECT_EQ(result.findings[1].version_id(), missing);
  EXPECT_EQ(result.summary.damaged_versions(), 2);
  EXPECT_EQ(result.summary.checked_versions(), 3);
}

TEST_F(VerifyStoreTest, CallsABlobThatWasCutDamagedWhateverIsMissingOfIt) {
  const int64_t cut =
      service_.StoreWhole(client_.id, "cut", "content", storage::StorageForm::kPlain);
  const auto stored = service_.Stored(client_.id, "cut", cut);
  const std::string whole = std::get<std::string>(stored.content);
  for (size_t size = 0; size < whole.size(); size += 7) {
    service_.Replace(stored, whole.substr(0, size));
    const Verification result = Verify();
    ASSERT_EQ(result.findings.size(), 1u);
    EXPECT_EQ(result.findings[0].kind(), v1::VerifyFinding::DAMAGED) << size;
  }
}

// A process that has it in memory is no proof that it is kept.
TEST_F(VerifyStoreTest, NamesADictionaryThatIsMissing) {
  const auto source = [](int number) {
    return absl::StrCat("#include <string>\n\nnamespace backup::handlers {\n\nclass Name", number,
                        " final : public Base {\n public:\n  int value() const override { return ",
                        number * 7919, "; }\n};\n\n}  // namespace backup::handlers\n");
  };
  std::vector<std::string> samples;
  for (int i = 0; i < 400; ++i) samples.push_back(source(i));
  const uint32_t id = content::kFirstDictionaryId;
  const std::string sealed = content::SealDictionary(
      {storage::StorageForm::kPlain, 0, *content::TrainDictionary(samples, id)}, id,
      service_.store_keys);
  content::Dictionaries in_memory(service_.store_keys, [&](uint32_t wanted) {
    return wanted == id ? std::optional(sealed) : std::nullopt;
  });
  ASSERT_OK(in_memory.Refresh(/*level=*/3));
  service_.uploads.inline_blob_limit = 64 << 10;
  const UploadResources& given = service_.upload_resources;
  const UploadResources resources{given.catalog,     given.blobs,       given.ledger,
                                  given.version_ids, given.master_key,  given.store_keys,
                                  in_memory,         given.chunk_cache, given.clock,
                                  given.stages,      given.policy};
  const std::string plain = source(1000);
  StringSource bytes(plain);
  ASSERT_OK(StoreUpload(
      resources, testing::HeaderOf(client_.id, "file", v1::UploadFileHeader::IDENTITY, plain),
      bytes));
  std::vector<v1::VerifyFinding> findings;
  ASSERT_OK(VerifyStore(
      {service_.catalog, service_.blobs, service_.master_key, service_.store_keys, in_memory},
      service_.stages.pieces, v1::VerifyStoreRequest(), [&](const v1::VerifyStoreResponse& event) {
        if (event.has_finding()) findings.push_back(event.finding());
        return absl::OkStatus();
      }));
  ASSERT_EQ(findings.size(), 1);
  EXPECT_EQ(findings[0].kind(), v1::VerifyFinding::DAMAGED);
  EXPECT_EQ(findings[0].file_name(), "file");
  EXPECT_THAT(findings[0].detail(), HasSubstr("dictionary/32768 of the store is missing"));

  ASSERT_OK(service_.catalog.Run([&](storage::Transaction& transaction) {
    return transaction.AddStoreValue(content::DictionaryName(id), sealed);
  }));
  EXPECT_TRUE(Verify().findings.empty());
}

TEST_F(VerifyStoreTest, DoesNotMissTheContentOfAbandonedVersions) {
  const auto header = testing::HeaderOf(client_.id, "file", v1::UploadFileHeader::IDENTITY, "x");
  ASSERT_OK(service_.Upload(header, "x"));
  ASSERT_OK(service_.Report(client_.id, "file", v1::ReportTransferRequest::ABANDONED));
  EXPECT_TRUE(Verify().findings.empty());
}

TEST_F(VerifyStoreTest, TellsOfBlobsThatNoVersionRefersTo) {
  StringSource source("nobody's");
  ASSERT_OK(service_.blobs.Put(storage::IdOf<BlobId>(1), source, std::nullopt));
  const Verification result = Verify();
  ASSERT_EQ(result.findings.size(), 1u);
  EXPECT_EQ(result.findings[0].kind(), v1::VerifyFinding::ORPHAN);
  EXPECT_EQ(result.summary.orphan_blobs(), 1);
  EXPECT_EQ(result.summary.damaged_versions(), 0);
}

TEST_F(VerifyStoreTest, DoesNotMissWhatIsDeletedMeanwhile) {
  const int64_t version =
      service_.StoreWhole(client_.id, "file", std::string(1000, 'x'), storage::StorageForm::kPlain);
  service_.blobs.before_open = [&](const BlobId&) {
    service_.blobs.before_open = [](const BlobId&) {};
    ASSERT_OK(service_.Delete(client_.id, "file", version));
    service_.Sweep();
  };
  const Verification result = Verify();
  EXPECT_TRUE(result.findings.empty());
  EXPECT_EQ(result.summary.damaged_versions(), 0);
}

TEST_F(VerifyStoreTest, TakesNoBlobForAnOrphanThatIsOnItsWayOrAboutToBeDeleted) {
  const int64_t version =
      service_.StoreWhole(client_.id, "file", std::string(1000, 'x'), storage::StorageForm::kPlain);
  ASSERT_OK(service_.Delete(client_.id, "file", version));  // Dropped, but still in the store.
  const auto pending = service_.ledger.Take();
  ASSERT_OK(pending);
  StringSource source("on its way");
  ASSERT_OK(service_.blobs.Put(*pending, source, std::nullopt));
  ASSERT_EQ(service_.BlobCount(), 2);
  EXPECT_TRUE(Verify().findings.empty());
}

TEST_F(VerifyStoreTest, TakesNoBlobForAnOrphanThatIsGoneWhenItIsLookedAtAgain) {
  StringSource source("nobody's");
  ASSERT_OK(service_.blobs.Put(storage::IdOf<BlobId>(1), source, std::nullopt));
  service_.blobs.before_open = [&](const BlobId& id) {
    ASSERT_OK(service_.memory_blobs.Delete(id));
  };
  EXPECT_TRUE(Verify().findings.empty());
}

// Begins with the next transactions only when the last of so many has come, on a disk, where a
// transaction does not read recipes.
class LateCatalog final : public storage::Catalog {
 public:
  ~LateCatalog() override {
    if (watch_.joinable()) watch_.join();
  }

  // If fewer come it gives up, so that nobody waits for ever.
  void HoldUntil(size_t transactions) {
    {
      MutexLock lock(mutex_);
      until_ = transactions;
    }
    watch_ = std::thread([this] { Watch(); });
  }
  bool gave_up() const {
    MutexLock lock(mutex_);
    return gave_up_;
  }

  void Submit(Work work, Done done) override {
    MutexLock lock(mutex_);
    held_.emplace_back(std::move(work), std::move(done));
    if (held_.size() < until_) return;
    until_ = 0;
    all_have_come_.NotifyAll();
    PassOn();
  }

 private:
  absl::Status ReadSnapshot(const std::function<absl::Status(storage::Snapshot&)>& read) override {
    return disk_->Read(read);
  }
  void PassOn() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (auto& [work, done] : std::exchange(held_, {}))
      disk_->Submit(std::move(work), std::move(done));
  }
  void Watch() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    MutexLock lock(mutex_);
    while (until_ > 0 && std::chrono::steady_clock::now() < end)
      all_have_come_.WaitFor(mutex_, absl::Seconds(1));
    if (until_ == 0) return;
    gave_up_ = true;
    until_ = 0;
    PassOn();
  }

  const storage::TempFolder folder_;
  const std::unique_ptr<storage::Catalog> disk_ =
      storage::SqliteCatalog::Open(folder_.path() + "/catalog.db").value();
  mutable Mutex mutex_;
  CondVar all_have_come_;
  std::vector<std::pair<Work, Done>> held_ ABSL_GUARDED_BY(mutex_);
  size_t until_ ABSL_GUARDED_BY(mutex_) = 0;
  bool gave_up_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread watch_;
};

// Nobody waits for the transaction that marks a chunk, which two looks at the version bring; the
// third only waits for these.
TEST(VerifyLateStoreTest, MarksNoVersionWhoseChunkTells) {
  auto owned = std::make_unique<LateCatalog>();
  LateCatalog& late = *owned;
  MemoryService service(std::move(owned));
  storage::NewChunks wrong;
  for (const uint8_t chunk : {1, 2}) {
    wrong.inlined.push_back({{storage::IdOf<ChunkId>(chunk), 5},
                             storage::StorageForm::kPlain,
                             storage::ChunkCoding::kRaw,
                             "bytes"});
    wrong.recipe.push_back(wrong.inlined.back().ref);
  }
  storage::Version version;
  version.client_id = *FromUuid<ClientId>(service.MakeClient("laptop").id);
  version.file_name = "file";
  version.version_id = 1;
  version.size_bytes = 10;
  version.encoded_size = 10;
  version.sha256 = std::string(32, 's');
  version.receive_time = service.clock.Now();
  ASSERT_OK(service.catalog.Run([&](storage::Transaction& transaction) {
    return transaction.AddVersion(version, wrong, {}).status();
  }));
  PieceBudget budget;
  late.HoldUntil(3);
  int findings = 0;
  EXPECT_OK(VerifyStore(service.stored_places, budget, v1::VerifyStoreRequest(),
                        [&](const v1::VerifyStoreResponse& event) {
                          findings += event.has_finding() ? 1 : 0;
                          return absl::OkStatus();
                        }));
  EXPECT_FALSE(late.gave_up());
  EXPECT_EQ(findings, 1);
  EXPECT_EQ(service.Count().damaged_chunks, 1);
  EXPECT_EQ(service.Count().marked_versions, 0);
}

// Packs of a megabyte and more, of which several versions have parts.
class VerifyPacksTest : public VerifyStoreTest {
 protected:
  VerifyPacksTest() {
    service_.uploads.compression.when = content::CompressionPolicy::When::kNever;
    EXPECT_OK(service_.ledger.Renew());
  }

  // A version of content that begins as another's.
  int64_t StoreMore(const std::string& name, size_t size, storage::StorageForm form) {
    service_.uploads.form = form;
    return service_.Store(client_.id, name, PseudoRandomBytes(size));
  }
  std::vector<storage::StoredChunk> ChunksOf(const std::string& name, int64_t version) {
    return service_.ChunksOf(service_.Stored(client_.id, name, version));
  }
  // Changes the byte at `at` of a pack for as long as this lives.
  void Flip(const BlobId& pack, int64_t at) {
    std::string bytes = service_.BlobBytes(pack);
    char& hit = bytes[static_cast<size_t>(at)];
    hit = static_cast<char>(hit ^ 1);
    service_.ReplaceBlob(pack, bytes);
  }
};

TEST_F(VerifyPacksTest, ReadsEachChunkOnce) {
  const size_t size = 6'000'000;
  for (const auto form : {storage::StorageForm::kPlain, storage::StorageForm::kSealed}) {
    for (int i = 0; i < 3; ++i) StoreMore("file", size, form);
  }
  StoreMore("longer", size + 1'000'000, storage::StorageForm::kSealed);
  int opened = 0;
  service_.blobs.before_open = [&](const BlobId&) { ++opened; };
  const Verification result = Verify();
  EXPECT_TRUE(result.findings.empty());
  EXPECT_EQ(result.summary.checked_versions(), 7);
  EXPECT_GE(result.summary.checked_bytes(), std::ssize(PseudoRandomBytes(size + 1'000'000)));
  EXPECT_LT(result.summary.checked_bytes(), 2 * static_cast<int64_t>(size) + 2'000'000);
  EXPECT_LE(opened, 2 * service_.BlobCount());  // Its footer, and its chunks.
}

// Of each client by itself, under a key that nothing in the pack names.
TEST_F(VerifyPacksTest, KnowsChunksThatAreOneClientsOwn) {
  service_.uploads.sharing = Sharing::kClient;
  for (int i = 0; i < 3; ++i) {
    const KnownClient other = service_.MakeClient(absl::StrCat("client ", i));
    service_.Store(other.id, "file", PseudoRandomBytes(2'000'000));
    service_.Store(other.id, "small", "small");
  }
  EXPECT_EQ(service_.BlobCount(), 3);
  EXPECT_TRUE(Verify().findings.empty());
}

// With the client its key goes, by which its chunks could be told.
TEST_F(VerifyPacksTest, CallsNothingOfADeletedClientDamaged) {
  service_.uploads.sharing = Sharing::kClient;
  const KnownClient other = service_.MakeClient("other");
  service_.Store(other.id, "file", PseudoRandomBytes(3'000'000));
  service_.Store(client_.id, "file", PseudoRandomBytes(3'000'000));
  v1::DeleteClientRequest request;
  request.set_client_id(other.id);
  ASSERT_OK(service_.DeleteClient(request));
  EXPECT_EQ(service_.Count().dropped_recipes, 1);
  EXPECT_TRUE(Verify().findings.empty());
  service_.Sweep();
  EXPECT_EQ(service_.Count().dropped_recipes, 0);
  EXPECT_TRUE(Verify().findings.empty());
  EXPECT_EQ(service_.BlobCount(), 2);
}

TEST_F(VerifyPacksTest, NamesEachVersionThatADamagedChunkIsInAndMarksIt) {
  for (const auto form : {storage::StorageForm::kPlain, storage::StorageForm::kSealed}) {
    const std::string one = absl::StrCat("one", static_cast<int>(form));
    const std::string two = absl::StrCat("two", static_cast<int>(form));
    service_.uploads.form = form;
    const std::string plain = PseudoRandomBytes(3'000'000, static_cast<uint32_t>(form));
    const int64_t first = service_.Store(client_.id, one, plain);
    const int64_t second = service_.Store(client_.id, two, plain + "more");
    const storage::StoredChunk hit = ChunksOf(one, first).front();
    Flip(hit.pack_blob, hit.offset + 1000);
    Verification result = Verify();
    ASSERT_EQ(result.findings.size(), 2u);
    EXPECT_EQ(result.findings[0].version_id(), first);
    EXPECT_EQ(result.findings[1].version_id(), second);
    for (const v1::VerifyFinding& finding : result.findings) {
      EXPECT_EQ(finding.kind(), v1::VerifyFinding::DAMAGED);
      EXPECT_EQ(finding.reason(), "BLOB_DAMAGED");
      EXPECT_THAT(finding.detail(), HasSubstr("the chunk at byte 0 "));
    }
    EXPECT_EQ(result.summary.damaged_versions(), 2);
    EXPECT_TRUE(ChunksOf(one, first).front().is_damaged);
    // The same bytes again, and all is well.
    service_.Store(client_.id, "again", plain);
    EXPECT_TRUE(Verify().findings.empty());
    for (const auto& [name, version] : {std::pair(one, first), std::pair(two, second)})
      EXPECT_OK(service_.Download(testing::DownloadOf(client_.id, name, version)));
  }
}

// What was damaged and is not any more, as after a copy was put back, is not reported.
TEST_F(VerifyPacksTest, BelievesWhatItReadsRatherThanAMark) {
  const int64_t version = StoreMore("file", 3'000'000, storage::StorageForm::kPlain);
  const BlobId pack = ChunksOf("file", version).front().pack_blob;
  Flip(pack, 5);
  EXPECT_EQ(Verify().findings.size(), 1u);
  Flip(pack, 5);
  EXPECT_TRUE(ChunksOf("file", version).front().is_damaged);
  EXPECT_TRUE(Verify().findings.empty());
}

TEST_F(VerifyPacksTest, CallsAVersionMissingWhosePackIsGone) {
  const int64_t version = StoreMore("file", 3'000'000, storage::StorageForm::kSealed);
  StoreMore("longer", 3'000'000, storage::StorageForm::kSealed);
  ASSERT_OK(service_.memory_blobs.Delete(ChunksOf("file", version).front().pack_blob));
  const Verification result = Verify();
  ASSERT_EQ(result.findings.size(), 2u);
  EXPECT_EQ(result.findings[0].kind(), v1::VerifyFinding::MISSING);
  EXPECT_EQ(result.findings[0].version_id(), version);
  EXPECT_EQ(result.findings[1].kind(), v1::VerifyFinding::MISSING);
}

TEST_F(VerifyPacksTest, TellsOfAFooterThatIsDamagedThoughAllVersionsCanBeRead) {
  for (const auto form : {storage::StorageForm::kPlain, storage::StorageForm::kSealed}) {
    const int64_t version = StoreMore(absl::StrCat("file", static_cast<int>(form)),
                                      2'000'000 + static_cast<size_t>(form), form);
    const storage::StoredChunk last =
        ChunksOf(absl::StrCat("file", static_cast<int>(form)), version).back();
    Flip(last.pack_blob, last.offset + last.stored_size + 20);
    const Verification result = Verify();
    ASSERT_EQ(result.findings.size(), 1u);
    EXPECT_EQ(result.findings[0].kind(), v1::VerifyFinding::DAMAGED);
    EXPECT_EQ(result.findings[0].version_id(), 0);
    EXPECT_THAT(result.findings[0].detail(), HasSubstr(ToHex(last.pack_blob)));
    Flip(last.pack_blob, last.offset + last.stored_size + 20);
  }
}

// Nobody refers to it any more, but the next upload might.
TEST_F(VerifyPacksTest, MarksADamagedChunkThatNoVersionHas) {
  const std::string plain = PseudoRandomBytes(2'000'000);
  const int64_t version = service_.Store(client_.id, "file", plain);
  const storage::StoredChunk hit = ChunksOf("file", version).front();
  ASSERT_OK(service_.Delete(client_.id, "file", version));
  ASSERT_OK(service_.catalog.Run(
      [](storage::Transaction& transaction) { return transaction.ReleaseRecipes(1000); }));
  Flip(hit.pack_blob, hit.offset);
  EXPECT_TRUE(Verify().findings.empty());
  const int64_t again = service_.Store(client_.id, "file", plain);
  EXPECT_NE(ChunksOf("file", again).front().pack_blob, hit.pack_blob);
  EXPECT_THAT(service_.Download(testing::DownloadOf(client_.id, "file", again)),
              testing::IsOkAndHolds(plain));
}

TEST_F(VerifyStoreTest, EndsWhenNobodyListensAnyMore) {
  service_.Store(client_.id, "file", "x");
  EXPECT_THAT(VerifyStore(service_.stored_places, service_.stages.pieces, v1::VerifyStoreRequest(),
                          [](const v1::VerifyStoreResponse&) {
                            return absl::CancelledError("the caller is gone");
                          }),
              StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace backup::handlers
