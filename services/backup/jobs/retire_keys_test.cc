#include "services/backup/jobs/retire_keys.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "base/piece_buffers.h"
#include "base/status_macros.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "content/blob_footer.h"
#include "content/pack_footer.h"
#include "content/store_keys.h"
#include "crypto/aead.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/handlers/keys.h"
#include "services/backup/handlers/session_keys.h"
#include "services/backup/jobs/repack.h"
#include "services/backup/jobs/testing/chunk_world.h"
#include "services/backup/testing/legacy_peer.h"
#include "services/backup/testing/memory_service.h"
#include "storage/testing/ids.h"
#include "storage/testing/memory_folder.h"

namespace backup::jobs {
namespace {

using handlers::KeyKeeper;
using handlers::KeyRetirement;
using storage::StorageForm;
using ::testing::ElementsAre;
using testing::HasReason;
using ::testing::HasSubstr;
using testing::KnownClient;
using testing::MemoryService;
using testing::PseudoRandomBytes;

constexpr int kMaxSteps = 200;

crypto::MasterKeys MasterKeyOfStore() {
  crypto::MasterKeys keys;
  keys.current = std::make_unique<crypto::MasterKey>(std::string(32, 'k'));
  return keys;
}

// What generation 0 has sealed, with a nonce that looks as if it said that it was generation 9.
std::string SealAsIfBy9(absl::string_view secret, absl::string_view context) {
  const std::string nonce("BKG1\x09\0\0\0rand", crypto::Aead::kNonceSize);
  crypto::Aead::Nonce bytes;
  std::copy(nonce.begin(), nonce.end(), bytes.begin());
  std::string sealed = nonce;
  crypto::Aead(std::string(32, 'k')).Seal(bytes, context, secret, sealed);
  return sealed;
}

// Whose readers meet what others do.
class BusyCatalog final : public storage::Catalog {
 public:
  explicit BusyCatalog(storage::Catalog& catalog) : catalog_(catalog) {}
  void Submit(Work work, Done done) override { catalog_.Submit(std::move(work), std::move(done)); }

  std::function<void()> before_read = [] {};

 private:
  absl::Status ReadSnapshot(const std::function<absl::Status(storage::Snapshot&)>& read) override {
    before_read();
    return catalog_.Read(read);
  }

  storage::Catalog& catalog_;
};

// One process on a store, which may die.
struct Process {
  Process(MemoryService& any_service, const std::string& generations_file, uint8_t number)
      : service(any_service),
        busy(service.catalog),
        catalog(busy, death),
        blobs(service.blobs, death),
        ledger(catalog, service.clock, storage::IdOf<OwnerId>(number)) {
    // What those before had in flight.
    EXPECT_OK(catalog.Run([&](storage::Transaction& transaction) {
      return transaction.DropPendingBlobsOfOthers(storage::IdOf<OwnerId>(number),
                                                  absl::InfiniteFuture(), 1000);
    }));
    keeper =
        KeyKeeper::Open(catalog, MasterKeyOfStore(), generations_file, service.clock.Now()).value();
    store_keys = handlers::OpenStoreKeys(catalog, keeper->ring()).value();
    dictionaries = handlers::MakeDictionaries(catalog, *store_keys);
    resources.emplace(handlers::UploadResources{
        catalog, blobs, ledger, service.version_ids, keeper->ring(), *store_keys, *dictionaries,
        service.chunk_cache, service.clock, service.stages, service.uploads});
    Repack::Options repack;
    repack.patience = absl::ZeroDuration();
    repack.required = &required;
    repack_job.emplace(*resources, repack, Counter());
    RetireKeys::Options options;
    options.patience = absl::ZeroDuration();
    options.back_up_state = [this](const std::stop_token&) {
      ++snapshots;
      return snapshot_end;
    };
    job.emplace(*resources, *keeper, *store_keys, required, options);
  }

  // What is to be read with the keys that there are.
  handlers::StoredPlaces places() {
    return {catalog, blobs, keeper->ring(), *store_keys, *dictionaries};
  }
  absl::StatusOr<Job::Progress> Step() { return job->Step("", 1000, {}); }
  KeyRetirement State() {
    return service.catalog
        .Read([](storage::Snapshot& snapshot) { return handlers::FindRetirement(snapshot); })
        .value();
  }
  // Steps until this phase is to begin.
  void StepTo(KeyRetirement::Phase phase) {
    for (int step = 0; step < kMaxSteps && State().phase != phase; ++step) {
      const auto progress = Step();
      ASSERT_OK(progress);
      if (progress->is_idle || progress->is_done) RepackAll();
    }
    ASSERT_EQ(State().phase, phase);
  }
  // Runs both jobs until nothing is to be retired, or something fails, which is returned.
  absl::Status Run() {
    for (int step = 0; step < kMaxSteps; ++step) {
      const auto progress = Step();
      if (!progress.ok()) return progress.status();
      if (death.has_come()) return absl::CancelledError("killed");
      if (State().generations.empty()) return absl::OkStatus();
      if (progress->is_idle || progress->is_done) RepackAll();
    }
    return absl::ResourceExhaustedError("it does not end");
  }
  void RepackAll() {
    for (int step = 0; step < kMaxSteps; ++step) {
      const auto progress = repack_job->Step("", 1000, {});
      if (!progress.ok() || progress->is_done) return;
    }
    ADD_FAILURE() << "repack does not end";
  }

  Death death;
  MemoryService& service;
  BusyCatalog busy;
  MortalCatalog catalog;
  MortalBlobStore blobs;
  std::unique_ptr<KeyKeeper> keeper;
  std::unique_ptr<content::StoreKeys> store_keys;
  std::optional<RetireKeys> job;
  int snapshots = 0;
  absl::Status snapshot_end;  // What taking one ends with.

  storage::BlobLedger ledger;
  std::unique_ptr<content::Dictionaries> dictionaries;
  std::optional<handlers::UploadResources> resources;
  RequiredPacks required;
  std::optional<Repack> repack_job;
};

// What was sealed, by the generation that has sealed it.
using Sealed = std::map<uint32_t, int>;

// A store of which everything is sealed by generation 0, which is to be retired.
class OldStore {
 protected:
  OldStore() {
    service_.uploads.form = StorageForm::kSealed;
    service_.uploads.inline_blob_limit = 1000;
    client_ = service_.MakeClient("laptop");
    gone_ = service_.MakeClient("gone");
    service_.trash.retention = absl::Hours(1);
    v1::DeleteClientRequest request;
    request.set_client_id(gone_.id);
    EXPECT_OK(service_.DeleteClient(request));
    Keep("large", PseudoRandomBytes(200'000, 1));
    Keep("small", "inline");
    contents_["whole"] = PseudoRandomBytes(5000, 2);
    service_.StoreWhole(client_.id, "whole", contents_["whole"], StorageForm::kSealed);
    contents_["row"] = "whole, in a row";
    service_.StoreWhole(client_.id, "row", contents_["row"], StorageForm::kSealed);
    KeepCiphertext("ciphertext", PseudoRandomBytes(4000, 3));
    service_.uploads.form = StorageForm::kPlain;
    Keep("plain", PseudoRandomBytes(100'000, 4));
    service_.uploads.form = StorageForm::kSealed;
  }

  void Keep(const std::string& name, const std::string& plain) {
    contents_[name] = plain;
    service_.Store(client_.id, name, plain);
  }
  void KeepCiphertext(const std::string& name, const std::string& plain) {
    contents_[name] = plain;
    service_.uploads.form = StorageForm::kClientCiphertext;
    const std::string sent = testing::EncryptAsClient(client_.session_key, plain);
    ASSERT_OK(service_.Upload(
        testing::HeaderOf(client_.id, name, v1::UploadFileHeader::AES_CBC_ZERO_IV, sent), sent));
    ASSERT_OK(service_.Report(client_.id, name, v1::ReportTransferRequest::VERIFIED));
    service_.uploads.form = StorageForm::kSealed;
  }
  std::unique_ptr<Process> Start() {
    return std::make_unique<Process>(service_, folder_.path() + "/key.generations", ++processes_);
  }
  // With a newer generation, so that 0 can be retired, and that it is to be.
  std::unique_ptr<Process> StartToRetire() {
    auto process = Start();
    EXPECT_OK(process->keeper->Rotate(service_.clock.Now()));
    EXPECT_OK(Retire(*process, 0));
    return process;
  }
  absl::Status Retire(Process& process, uint32_t generation, bool cancel = false) {
    v1::RetireKeyRequest request;
    request.set_generation(generation);
    request.set_cancel(cancel);
    return handlers::RetireKey(process.catalog, *process.keeper, service_.clock, request).status();
  }
  storage::StoredVersion Find(Process& process, const std::string& name) {
    return process.catalog
        .Read([&](storage::Snapshot& snapshot) {
          return snapshot.FindVersion(*FromUuid<ClientId>(client_.id), name, 0, true);
        })
        .value();
  }
  BlobId BlobOf(Process& process, const std::string& name) {
    return std::get<BlobId>(Find(process, name).content);
  }
  absl::Status Read(Process& process, const std::string& name) {
    ASSIGN_OR_RETURN(const auto content,
                     handlers::OpenContent(process.places(), Find(process, name)));
    PieceBudget budget;
    ASSIGN_OR_RETURN(const auto bytes, content->ReadWhole(budget));
    ASSIGN_OR_RETURN(const std::string plain, ReadAll(*bytes, 1 << 20));
    return plain == contents_[name] ? absl::OkStatus() : absl::DataLossError("it is another");
  }
  // With the keys that are left.
  void ExpectThatAllIsThere(Process& process) {
    for (const auto& [name, plain] : contents_) EXPECT_OK(Read(process, name)) << name;
    const auto key = handlers::OpenSessionKey(process.keeper->ring(), service_.Client(client_.id));
    EXPECT_THAT(key, testing::IsOkAndHolds(client_.session_key));
    const auto trashed = service_.catalog.Read([&](storage::Snapshot& snapshot) {
      return snapshot.FindTrashedClient(*FromUuid<ClientId>(gone_.id));
    });
    if (trashed.ok()) {
      EXPECT_THAT(handlers::OpenSessionKey(process.keeper->ring(), *trashed),
                  testing::IsOkAndHolds(gone_.session_key));
    }
  }
  v1::ListKeysResponse List(Process& process) {
    return handlers::ListKeys(process.catalog, *process.keeper).value();
  }
  std::vector<uint32_t> Numbers(Process& process) {
    std::vector<uint32_t> numbers;
    const v1::ListKeysResponse listed = List(process);
    for (const v1::KeyGeneration& each : listed.generations()) numbers.push_back(each.number());
    return numbers;
  }
  Sealed SealedVersions(Process& process) {
    Sealed sealed;
    const auto versions = service_.catalog.Read(
        [](storage::Snapshot& snapshot) { return snapshot.ScanVersions(0, 1000); });
    for (const storage::StoredVersion& each : versions.value()) {
      const bool is_whole = std::holds_alternative<std::string>(each.content) ||
                            std::holds_alternative<BlobId>(each.content);
      if (!is_whole || each.version.form == StorageForm::kPlain) continue;
      const content::BlobFooter footer = handlers::FooterOf(service_.memory_blobs, each).value();
      ++sealed[process.keeper->ring().GenerationOf(footer.wrapped_key,
                                                   content::EncodeFooterFields(footer))];
    }
    return sealed;
  }
  // In the footers of packs.
  Sealed SealedSecrets(Process& process) {
    Sealed sealed;
    const auto packs = service_.catalog.Read(
        [](storage::Snapshot& snapshot) { return snapshot.ListPacks(0, 1000); });
    for (const storage::PackInfo& pack : packs.value()) {
      const auto blob = service_.memory_blobs.Open(pack.blob_id).value();
      ++sealed[content::StoreKeys::GenerationOf(content::ReadPackFooter(*blob)->sealed_secret,
                                                process.keeper->ring())];
    }
    return sealed;
  }
  // A new process has only what is kept.
  void ExpectThatOnly1IsLeft() {
    const auto process = Start();
    EXPECT_THAT(Numbers(*process), ElementsAre(1));
    EXPECT_EQ(SealedVersions(*process), (Sealed{{1, SealedVersions(*process)[1]}}));
    EXPECT_EQ(SealedSecrets(*process), (Sealed{{1, SealedSecrets(*process)[1]}}));
    ExpectThatAllIsThere(*process);
  }
  // A round ends with that, and generation 0 stays.
  void ExpectThatThisIsLeft(Process& process, absl::string_view what, int count = 1) {
    const absl::Status left = process.Run();
    EXPECT_THAT(left, testing::StatusIs(absl::StatusCode::kFailedPrecondition));
    EXPECT_THAT(std::string(left.message()), HasSubstr(std::string(what)));
    EXPECT_EQ(process.State().left, count);
    EXPECT_THAT(Numbers(process), ElementsAre(0, 1));
  }
  void NextRound() { service_.clock.Advance(RetireKeys::kMaxRoundInterval); }

  const storage::MemoryFolder folder_;
  MemoryService service_;
  KnownClient client_;
  KnownClient gone_;  // In the trash.
  std::map<std::string, std::string> contents_;
  uint8_t processes_ = 10;
};

class RetireKeysTest : public OldStore, public ::testing::Test {};

TEST_F(RetireKeysTest, SealsAllAnewAndThenTheGenerationIsGone) {
  const auto process = StartToRetire();
  v1::ListKeysResponse listed = List(*process);
  EXPECT_EQ(listed.generations(0).session_key_count(), 2) << "one is in the trash";
  EXPECT_EQ(listed.generations(0).pack_count(), 1);
  EXPECT_TRUE(listed.generations(0).is_retiring());
  EXPECT_EQ(listed.retirement().phase(), v1::KeyRetirement::SECRET);
  EXPECT_EQ(SealedVersions(*process), (Sealed{{0, 3}}));
  process->StepTo(KeyRetirement::Phase::kUnknownBlobs);
  // The secret, two session keys, three versions and two packs.
  EXPECT_EQ(List(*process).retirement().resealed_count(), 8);
  ASSERT_OK(process->Run());
  EXPECT_EQ(process->snapshots, 1);
  listed = List(*process);
  EXPECT_THAT(Numbers(*process), ElementsAre(1));
  EXPECT_EQ(listed.generations(0).session_key_count(), 2);
  EXPECT_EQ(listed.generations(0).pack_count(), 1);
  EXPECT_FALSE(listed.has_retirement());
  EXPECT_EQ(SealedVersions(*process), (Sealed{{1, 3}}));
  EXPECT_EQ(SealedSecrets(*process), (Sealed{{1, 2}}));
  ExpectThatAllIsThere(*process);
  ExpectThatOnly1IsLeft();
  EXPECT_TRUE(Start()->Step()->is_idle);
}

TEST_F(RetireKeysTest, SaysThatNoSnapshotIsWithoutAGenerationThatIsGone) {
  const auto process = StartToRetire();
  process->snapshot_end = MakeError(Reason::kStorageFull, "no room");
  const absl::Status ended = process->Run();
  EXPECT_THAT(ended, HasReason(Reason::kStorageFull));
  EXPECT_THAT(std::string(ended.message()), HasSubstr("0 are gone"));
  ExpectThatOnly1IsLeft();
}

// A store for each point at which something changes.
class DyingStore : public OldStore {
 public:
  // Whether there were so many changes.
  bool DieAt(int changes, Death::When when) {
    {
      const auto process = StartToRetire();
      process->death.After(changes, when);
      if (process->Run().ok()) return false;
    }
    ExpectThatAllIsThere(*Start());
    EXPECT_OK(Start()->Run());
    ExpectThatOnly1IsLeft();
    return true;
  }
};

TEST(RetireKeys, LosesNothingWhereverItDies) {
  for (const Death::When when : {Death::When::kBefore, Death::When::kAfter}) {
    int changes = 0;
    while (DyingStore().DieAt(++changes, when)) {
      SCOPED_TRACE(changes);
      if (::testing::Test::HasFailure()) return;
      ASSERT_LT(changes, kMaxSteps);
    }
    // Phases, rows and blobs: that none loses its points.
    EXPECT_GE(changes, 20);
  }
}

TEST_F(RetireKeysTest, WaitsForThoseWhoMayHaveSomethingOfTheGeneration) {
  const auto process = StartToRetire();
  {
    // Such as an upload that goes on and on.
    const crypto::KeyRing::Use use(process->keeper->ring());
    // It is told, but not again and again.
    const absl::Status told = process->Run();
    EXPECT_THAT(told, testing::StatusIs(absl::StatusCode::kDeadlineExceeded));
    EXPECT_THAT(std::string(told.message()), HasSubstr("began"));
    EXPECT_TRUE(process->Step()->is_idle) << "which leaves the error as it is";
    EXPECT_THAT(process->Run(), testing::StatusIs(absl::StatusCode::kResourceExhausted));
    EXPECT_EQ(process->State().phase, KeyRetirement::Phase::kUses);
  }
  process->StepTo(KeyRetirement::Phase::kLastUses);
  {
    const crypto::KeyRing::Use use(process->keeper->ring());
    EXPECT_THAT(process->Run(), testing::StatusIs(absl::StatusCode::kResourceExhausted));
    EXPECT_THAT(Numbers(*process), ElementsAre(0, 1));
  }
  ASSERT_OK(process->Run());
  EXPECT_THAT(Numbers(*process), ElementsAre(1));
}

TEST_F(RetireKeysTest, KeepsTheGenerationOfWhatIsMissing) {
  const auto process = StartToRetire();
  const storage::StoredVersion whole = Find(*process, "whole");
  ASSERT_OK(service_.memory_blobs.Delete(std::get<BlobId>(whole.content)));
  ExpectThatThisIsLeft(*process, "version 3 of whole");
  const v1::ListKeysResponse listed = List(*process);
  EXPECT_TRUE(listed.generations(0).is_retiring());
  EXPECT_EQ(listed.retirement().left_count(), 1);
  EXPECT_THAT(listed.retirement().first_left(), HasSubstr("version 3 of whole"));
  EXPECT_EQ(listed.generations(0).pack_count(), 0) << "all else is sealed anew";
  contents_.erase("whole");
  ExpectThatAllIsThere(*process);
  // Once it is gone, so is what held the generation back.
  ASSERT_OK(service_.Delete(client_.id, "whole", whole.version.version_id));
  ASSERT_OK(service_.catalog.Run([&](storage::Transaction& transaction) {
    return transaction.PurgeVersions({whole.version.version_id}, absl::InfiniteFuture());
  }));
  NextRound();
  ASSERT_OK(Start()->Run());
  ExpectThatOnly1IsLeft();
}

TEST_F(RetireKeysTest, PutsNoCopyOfDamagedBytesInThePlaceOfAVersion) {
  const auto process = StartToRetire();
  std::map<std::string, BlobId> blobs;
  for (const char* const name : {"whole", "ciphertext"}) {
    blobs[name] = BlobOf(*process, name);
    std::string bytes = service_.BlobBytes(blobs[name]);
    bytes[5] ^= 1;
    service_.ReplaceBlob(blobs[name], bytes);
  }
  ExpectThatThisIsLeft(*process, "version 3 of whole", 2);
  for (const auto& [name, blob] : blobs) EXPECT_EQ(BlobOf(*process, name), blob);
  EXPECT_EQ(SealedVersions(*process), (Sealed{{0, 2}, {1, 1}}));
}

TEST_F(RetireKeysTest, TakesTheMarkOffNothingThatIsFoundDamagedMeanwhile) {
  const auto process = StartToRetire();
  const storage::StoredVersion whole = Find(*process, "whole");
  process->StepTo(KeyRetirement::Phase::kVersions);
  // When the copy is there.
  bool is_first = true;
  process->blobs.after_commit = [&] {
    if (!std::exchange(is_first, false)) return;
    EXPECT_THAT(service_.catalog.Run([&](storage::Transaction& transaction) {
      return transaction.MarkVersionDamaged(whole.version.version_id, whole.content);
    }),
                testing::IsOkAndHolds(true));
  };
  ExpectThatThisIsLeft(*process, "version 3 of whole");
  EXPECT_EQ(Find(*process, "whole").content, whole.content);
  EXPECT_TRUE(Find(*process, "whole").version.is_damaged);
  // Nor later.
  NextRound();
  ExpectThatThisIsLeft(*process, "marked as damaged");
  EXPECT_TRUE(Find(*process, "whole").version.is_damaged);
}

TEST_F(RetireKeysTest, IsNotHeldUpByWhatWasSetAsideOnceItsVersionHasHealed) {
  const auto process = StartToRetire();
  const storage::StoredVersion whole = Find(*process, "whole");
  ASSERT_OK(service_.catalog.Run([&](storage::Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(
        transaction.MarkVersionDamaged(whole.version.version_id, whole.content).status());
    return transaction
        .HealVersion(whole.version.version_id, whole.content, StorageForm::kPlain,
                     storage::NewChunks())
        .status();
  }));
  contents_.erase("whole");
  ASSERT_OK(process->Run());
  EXPECT_EQ(service_.Count().set_aside_blobs, 1);
  ExpectThatOnly1IsLeft();
}

TEST_F(RetireKeysTest, GoesOnBehindWhatTheMediumDoesNotGiveNow) {
  const auto process = StartToRetire();
  const BlobId whole = BlobOf(*process, "whole");
  process->blobs.unreadable = whole;
  ExpectThatThisIsLeft(*process, "version 3 of whole");
  EXPECT_THAT(List(*process).retirement().first_left(), HasSubstr("the medium is broken"));
  EXPECT_EQ(SealedVersions(*process), (Sealed{{0, 1}, {1, 2}}));
  // A pack, too: whatever its row says, its footer may have more.
  process->blobs.unreadable = service_.ChunksOf(Find(*process, "plain")).at(0).pack_blob;
  NextRound();
  ExpectThatThisIsLeft(*process, "pack ");
  process->blobs.unreadable = std::nullopt;
  NextRound();
  ASSERT_OK(process->Run());
  ExpectThatOnly1IsLeft();
}

TEST_F(RetireKeysTest, LeavesNothingBecauseTheStoreOfBlobsIsAway) {
  const auto process = StartToRetire();
  const BlobId unknown = storage::IdOf<BlobId>(201);
  StringSource source("whatever");
  ASSERT_OK(service_.memory_blobs.Put(unknown, source, std::nullopt));
  process->blobs.open_error = MakeError(Reason::kBackendDown, "it is away", "blobs");
  using Phase = KeyRetirement::Phase;
  const BlobId pack = service_.ChunksOf(Find(*process, "plain")).at(0).pack_blob;
  for (const auto& [phase, blob] :
       {std::pair(Phase::kVersions, BlobOf(*process, "whole")), std::pair(Phase::kPacks, pack),
        std::pair(Phase::kUnknownBlobs, unknown)}) {
    SCOPED_TRACE(static_cast<int>(phase));
    process->StepTo(phase);
    process->blobs.unreadable = blob;
    for (int i = 0; i < 2; ++i) EXPECT_THAT(process->Run(), HasReason(Reason::kBackendDown));
    EXPECT_EQ(process->State().left, 0);
    EXPECT_EQ(process->State().phase, phase);
    process->blobs.unreadable = std::nullopt;
  }
  ASSERT_OK(process->Run());
  ExpectThatOnly1IsLeft();
}

TEST_F(RetireKeysTest, KeepsTheGenerationOfAPackWithADamagedChunk) {
  const auto process = StartToRetire();
  const storage::StoredChunk chunk = service_.ChunksOf(Find(*process, "large")).at(0);
  std::string bytes = service_.BlobBytes(chunk.pack_blob);
  bytes[static_cast<size_t>(chunk.offset) + 3] ^= 1;
  service_.ReplaceBlob(chunk.pack_blob, bytes);
  ExpectThatThisIsLeft(*process, "a chunk of it is damaged");
}

TEST_F(RetireKeysTest, WaitsForRoomAndCallsNothingDamagedForWantOfIt) {
  const auto process = StartToRetire();
  process->StepTo(KeyRetirement::Phase::kPacks);
  process->blobs.put_error = MakeError(Reason::kStorageFull, "no room");
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(process->Run(), HasReason(Reason::kStorageFull));
    EXPECT_EQ(process->State().left, 0);
    EXPECT_EQ(process->State().phase, KeyRetirement::Phase::kPacks);
  }
  process->blobs.put_error = absl::OkStatus();
  ASSERT_OK(process->Run());
  ExpectThatOnly1IsLeft();
}

TEST_F(RetireKeysTest, CountsNothingTwiceThatIsLeftInAPageOfWhichSomethingFails) {
  const auto process = StartToRetire();
  ASSERT_OK(service_.memory_blobs.Delete(BlobOf(*process, "whole")));
  process->StepTo(KeyRetirement::Phase::kVersions);
  process->blobs.put_error = MakeError(Reason::kStorageFull, "no room");
  for (int i = 0; i < 2; ++i) EXPECT_THAT(process->Run(), HasReason(Reason::kStorageFull));
  process->blobs.put_error = absl::OkStatus();
  ExpectThatThisIsLeft(*process, "version 3 of whole");
}

TEST_F(RetireKeysTest, KeepsTheGenerationOfABlobThatTheCatalogDoesNotKnow) {
  const auto process = StartToRetire();
  // As after an older catalog took the place of one that knew them: a whole one and a pack.
  const BlobId whole = storage::IdOf<BlobId>(201);
  const BlobId pack = storage::IdOf<BlobId>(202);
  for (const auto& [id, bytes] :
       {std::pair(whole, service_.BlobBytes(BlobOf(*process, "whole"))),
        std::pair(pack,
                  service_.BlobBytes(service_.ChunksOf(Find(*process, "plain")).at(0).pack_blob)),
        std::pair(storage::IdOf<BlobId>(203), std::string("that tells nothing"))}) {
    StringSource source(bytes);
    ASSERT_OK(service_.memory_blobs.Put(id, source, std::nullopt));
  }
  ExpectThatThisIsLeft(*process, "state rebuild", 2);
  EXPECT_THAT(List(*process).retirement().first_left(), HasSubstr("blob c"));
  ASSERT_OK(service_.memory_blobs.Delete(whole));
  ASSERT_OK(service_.memory_blobs.Delete(pack));
  NextRound();
  ASSERT_OK(process->Run());
}

TEST_F(RetireKeysTest, FindsAClientThatMovesPastThePlaceWhereItIsLookedFor) {
  const auto process = StartToRetire();
  process->StepTo(KeyRetirement::Phase::kTrashedClients);
  v1::UndeleteClientRequest request;
  request.set_client_id(gone_.id);
  ASSERT_OK(service_.UndeleteClient(request));
  ASSERT_OK(process->Run());
  ExpectThatOnly1IsLeft();
  EXPECT_THAT(handlers::OpenSessionKey(process->keeper->ring(), service_.Client(gone_.id)),
              testing::IsOkAndHolds(gone_.session_key));
}

TEST_F(RetireKeysTest, TellsOfAClientThatIsSealedByTheGenerationEachTime) {
  const auto process = StartToRetire();
  const auto seal_by_0_again = [&] {
    process->StepTo(KeyRetirement::Phase::kRemoval);
    const storage::Client client = service_.Client(client_.id);
    const std::string sealed = handlers::SealSessionKey(crypto::KeyRing(std::string(32, 'k')),
                                                        client.id, client_.session_key);
    ASSERT_OK(service_.catalog.Run([&](storage::Transaction& transaction) {
      return transaction.ResealSessionKey(client.id, client.sealed_session_key, sealed).status();
    }));
  };
  seal_by_0_again();
  EXPECT_TRUE(process->Step()->is_done);
  EXPECT_EQ(process->State().rounds, 0);
  seal_by_0_again();
  ExpectThatThisIsLeft(*process, "the session key of the client " + client_.id);
  EXPECT_EQ(process->State().rounds, 1);
  EXPECT_TRUE(process->Step()->is_idle);
  NextRound();
  ASSERT_OK(process->Run());
  ExpectThatOnly1IsLeft();
}

TEST_F(RetireKeysTest, SealsAnewWhatLooksAsIfAnotherGenerationHadSealedIt) {
  const auto process = StartToRetire();
  const storage::Client client = service_.Client(client_.id);
  const storage::StoredVersion row = Find(*process, "row");
  content::BlobFooter footer = handlers::FooterOf(service_.memory_blobs, row).value();
  const std::string context = content::EncodeFooterFields(footer);
  footer.wrapped_key =
      SealAsIfBy9(process->keeper->ring().Open(footer.wrapped_key, context).value(), context);
  const std::string looks_new =
      std::get<std::string>(row.content).substr(0, static_cast<size_t>(footer.payload_size)) +
      content::EncodeFooter(footer);
  ASSERT_OK(service_.catalog.Run([&](storage::Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(
        transaction
            .ResealSessionKey(
                client.id, client.sealed_session_key,
                SealAsIfBy9(client_.session_key, "session-key:" + std::string(client.id.bytes())))
            .status());
    return transaction.ReplaceContent(row.version.version_id, row.content, looks_new).status();
  }));
  ExpectThatAllIsThere(*process);
  EXPECT_EQ(List(*process).generations(0).session_key_count(), 2);
  ASSERT_OK(process->Run());
  ExpectThatOnly1IsLeft();
}

TEST_F(RetireKeysTest, HasTheSecretThatTheCatalogHasWhateverItsTransactionEndedWith) {
  const auto process = StartToRetire();
  process->death.After(1, Death::When::kAfter);
  EXPECT_THAT(process->Step(), testing::StatusIs(absl::StatusCode::kInternal));
  process->death.After(Death::kNever, Death::When::kBefore);
  EXPECT_EQ(process->State().phase, KeyRetirement::Phase::kUses);
  // Before it is asked who may have had the one before.
  const crypto::KeyRing::Use use(process->keeper->ring());
  EXPECT_FALSE(process->Step().ok());
  EXPECT_EQ(content::StoreKeys::GenerationOf(process->store_keys->sealed_secret(),
                                             process->keeper->ring()),
            1u);
}

TEST_F(RetireKeysTest, TriesWhatIsLeftAgainEverLater) {
  const auto process = StartToRetire();
  ASSERT_OK(service_.memory_blobs.Delete(BlobOf(*process, "whole")));
  absl::Duration interval = RetireKeys::kFirstRoundInterval;
  for (int round = 0; round < 7; ++round) {
    ExpectThatThisIsLeft(*process, absl::FormatDuration(interval));
    const KeyRetirement waiting = process->State();
    EXPECT_EQ(waiting.next_round_time, service_.clock.Now() + interval);
    service_.clock.Advance(interval - absl::Seconds(1));
    EXPECT_TRUE(process->Step()->is_idle);
    EXPECT_TRUE(Start()->Step()->is_idle) << "nor does a restart make it begin";
    EXPECT_EQ(process->State(), waiting);
    service_.clock.Advance(absl::Seconds(1));
    interval = std::min(2 * interval, RetireKeys::kMaxRoundInterval);
  }
  EXPECT_EQ(interval, RetireKeys::kMaxRoundInterval);
}

TEST_F(RetireKeysTest, CallsItNoProgressToGoThroughTheSameAgain) {
  const auto process = StartToRetire();
  ASSERT_OK(service_.memory_blobs.Delete(BlobOf(*process, "whole")));
  ExpectThatThisIsLeft(*process, "");
  const absl::Time first = process->State().progress_time;
  EXPECT_EQ(first, service_.clock.Now());
  NextRound();
  ExpectThatThisIsLeft(*process, "");
  EXPECT_EQ(process->State().progress_time, first);
}

TEST_F(RetireKeysTest, IsToldToTryAgainAtOnceOrNotAtAll) {
  const auto process = StartToRetire();
  const storage::StoredVersion whole = Find(*process, "whole");
  const std::string bytes = service_.BlobBytes(std::get<BlobId>(whole.content));
  ASSERT_OK(service_.memory_blobs.Delete(std::get<BlobId>(whole.content)));
  ExpectThatThisIsLeft(*process, "");
  EXPECT_TRUE(process->Step()->is_idle);
  ASSERT_OK(Retire(*process, 0));
  ExpectThatThisIsLeft(*process, "");
  // Within a round that changes nothing.
  ASSERT_OK(Retire(*process, 0));
  process->StepTo(KeyRetirement::Phase::kVersions);
  const KeyRetirement before = process->State();
  ASSERT_OK(Retire(*process, 0));
  EXPECT_EQ(process->State(), before);
  ASSERT_OK(Retire(*process, 0, /*cancel=*/true));
  EXPECT_EQ(process->State(), KeyRetirement());
  // Nor is what was left an error any more.
  EXPECT_FALSE(process->Step()->is_idle);
  EXPECT_TRUE(process->Step()->is_idle);
  EXPECT_FALSE(List(*process).has_retirement());
  EXPECT_THAT(Numbers(*process), ElementsAre(0, 1));
  // And once more, as if nothing had been.
  StringSource source(bytes);
  ASSERT_OK(service_.memory_blobs.Put(std::get<BlobId>(whole.content), source, std::nullopt));
  ASSERT_OK(Retire(*process, 0));
  ASSERT_OK(process->Run());
  ExpectThatOnly1IsLeft();
}

TEST_F(RetireKeysTest, RemovesNothingThatIsToStayByThen) {
  const auto process = StartToRetire();
  process->StepTo(KeyRetirement::Phase::kRemoval);
  // Of a step the second is the last look at what is sealed.
  int reads = 0;
  process->busy.before_read = [&] {
    if (++reads != 2) return;
    EXPECT_OK(Retire(*process, 0, /*cancel=*/true));
  };
  EXPECT_OK(process->Step());
  EXPECT_GE(reads, 2);
  process->busy.before_read = [] {};
  EXPECT_THAT(Numbers(*process), ElementsAre(0, 1));
  EXPECT_TRUE(process->keeper->IsInFile());
  EXPECT_TRUE(process->Step()->is_idle);
  EXPECT_THAT(Numbers(*Start()), ElementsAre(0, 1));
}

TEST_F(RetireKeysTest, BeginsAnewWithPacksOnceItIsToldAgain) {
  const auto process = StartToRetire();
  process->StepTo(KeyRetirement::Phase::kPacks);
  EXPECT_TRUE(process->Step()->is_done) << "repack has them";
  ASSERT_OK(Retire(*process, 0, /*cancel=*/true));
  ASSERT_OK(Retire(*process, 0));
  // What was handed over is no place behind which nothing is left.
  ASSERT_OK(process->Run());
  ExpectThatOnly1IsLeft();
}

TEST_F(RetireKeysTest, LetsTwoGenerationsGo) {
  const auto process = StartToRetire();
  process->StepTo(KeyRetirement::Phase::kPacks);
  // What was sealed anew is of 1.
  ASSERT_OK(process->keeper->Rotate(service_.clock.Now()));
  ASSERT_OK(Retire(*process, 1));
  EXPECT_EQ(process->State().phase, KeyRetirement::Phase::kSecret);
  ASSERT_OK(process->Run());
  EXPECT_THAT(Numbers(*process), ElementsAre(2));
  ExpectThatAllIsThere(*Start());
}

TEST_F(RetireKeysTest, IsRefusedForWhatSealsAndForWhatIsNotThere) {
  const auto process = Start();
  const auto retire = [&](std::optional<uint32_t> generation) {
    v1::RetireKeyRequest request;
    if (generation) request.set_generation(*generation);
    return handlers::RetireKey(service_.catalog, *process->keeper, service_.clock, request);
  };
  for (const std::optional<uint32_t> wrong :
       {std::optional<uint32_t>(), std::optional<uint32_t>(0), std::optional<uint32_t>(7)}) {
    const auto refused = retire(wrong);
    EXPECT_THAT(refused, HasReason(Reason::kInvalidField));
    EXPECT_EQ(SubjectOf(refused.status()), "generation");
  }
  EXPECT_TRUE(process->Step()->is_idle);
}

TEST(KeyRetirement, IsKeptAsText) {
  KeyRetirement retirement;
  EXPECT_EQ(handlers::DecodeRetirement(handlers::EncodeRetirement(retirement)), retirement);
  retirement.generations = {0, 7};
  retirement.phase = KeyRetirement::Phase::kPacks;
  retirement.position = "17/ab";
  retirement.resealed = std::numeric_limits<int64_t>::max();
  retirement.left = 3;
  retirement.first_left = "version 7 of a=b c: why";
  retirement.rounds = 2;
  retirement.next_round_time = absl::FromUnixMicros(1'800'000'000'000'001);
  retirement.progress_time = absl::FromUnixMicros(1'700'000'000'000'001);
  const std::string text = handlers::EncodeRetirement(retirement);
  EXPECT_EQ(handlers::DecodeRetirement(text), retirement);
  retirement.first_left = "version 7 of a=b\nc: why";
  EXPECT_EQ(handlers::EncodeRetirement(retirement), text);
  for (const char* const wrong : {"", "generations=1"})
    EXPECT_EQ(handlers::DecodeRetirement(wrong), std::nullopt) << wrong;
  for (const auto& [right, wrong] :
       {std::pair("generations=0,7", "generations=x"), std::pair("phase=6", "phase=0"),
        std::pair("phase=6", "phase=10"), std::pair("left=3", "left=x"),
        std::pair("rounds=2", "rounds=")})
    EXPECT_EQ(handlers::DecodeRetirement(absl::StrReplaceAll(text, {{right, wrong}})), std::nullopt)
        << wrong;
}

}  // namespace
}  // namespace backup::jobs
