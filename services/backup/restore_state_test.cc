#include "services/backup/restore_state.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/byte_stream.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/testing/status_matchers.h"
#include "content/blob_footer.h"
#include "content/pack_builder.h"
#include "content/store_keys.h"
#include "crypto/key_generations.h"
#include "crypto/key_ring.h"
#include "crypto/sealed_file.h"
#include "crypto/sha256.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/audit/actions.h"
#include "services/backup/catalog_mark.h"
#include "services/backup/handlers/key_keeper.h"
#include "services/backup/handlers/key_retirement.h"
#include "services/backup/handlers/store_keys.h"
#include "services/backup/jobs/snapshot_state.h"
#include "services/backup/open_storage.h"
#include "services/backup/rebuild_state.h"
#include "storage/testing/ids.h"
#include "storage/testing/memory_folder.h"

namespace backup {
namespace {

using storage::IdOf;
using testing::HasReason;
using testing::StatusIs;

constexpr auto kSilent = [](absl::string_view) {};

std::string Sha256Of(absl::string_view bytes) {
  crypto::Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

class RestoreStateTest : public ::testing::Test {
 protected:
  // Versions 1 to `versions` and a snapshot of each hundredth.
  void Live(int64_t versions) {
    const Storage storage = OpenStorage(data_, {}).value();
    const auto run = [&](const storage::Catalog::Work& work) { return storage.catalog->Run(work); };
    EXPECT_OK(run([](storage::Transaction& transaction) {
      return transaction
          .RegisterClient("laptop", IdOf<ClientId>(1), storage::DuplicateNames::kReject,
                          absl::UnixEpoch())
          .status();
    }));
    jobs::StateSnapshots::Options options;
    options.folders = SnapshotFolders(data_, elsewhere_);
    options.part_of_time = 1;
    jobs::StateSnapshots snapshots(*storage.catalog, *storage.master_keys.current, clock_, options);
    for (int64_t id = 1; id <= versions; ++id) {
      EXPECT_OK(run([&](storage::Transaction& transaction) {
        storage::Version version;
        version.client_id = IdOf<ClientId>(1);
        version.file_name = absl::StrCat("file ", id);
        version.version_id = transaction.ReserveVersionIds(1).value();
        version.sha256 = std::string(32, 's');
        return transaction.AddVersion(version, std::string(3000, 'x'), {}).status();
      }));
      if (id % 100 != 0) continue;
      EXPECT_OK(snapshots.Take({}));
    }
    EXPECT_OK(run([](storage::Transaction& transaction) {
      return transaction.AddPendingBlobs({IdOf<BlobId>(7)},
                                         {IdOf<OwnerId>(1), absl::InfiniteFuture()});
    }));
    EXPECT_OK(snapshots.Take({}));
    EXPECT_OK(WriteCatalogMark(data_, *storage.catalog));
  }
  // Another service of the same folder, which came further, and took its snapshot later.
  void LiveBeside(const std::string& data, const KeySources& keys,
                  const std::string& blobs_location = "") {
    const Storage storage = OpenStorage(data, keys).value();
    EXPECT_OK(storage.catalog->Run([&](storage::Transaction& transaction) -> absl::Status {
      if (!blobs_location.empty())
        RETURN_IF_ERROR(transaction.SetStoreValue("blobs.location", blobs_location));
      return transaction.ReserveVersionIds(100'000).status();
    }));
    jobs::StateSnapshots::Options options;
    options.folders = SnapshotFolders(data, elsewhere_);
    options.part_of_time = 1;
    jobs::StateSnapshots snapshots(*storage.catalog, *storage.master_keys.current, clock_, options);
    for (int i = 0; i < 3; ++i) EXPECT_OK(snapshots.Take({}));
  }
  KeySources SharedKey() {
    KeySources keys;
    keys.master_key_file = data_ + "/master.key";
    return keys;
  }
  absl::StatusOr<NewCatalog> Restore(const std::string& chosen = "",
                                     const StateListener& listener = kSilent) {
    ASSIGN_OR_RETURN(const HeldDataDir held, HoldDataDir(data_, keys_));
    ASSIGN_OR_RETURN(NewCatalog catalog,
                     OpenSnapshot(held, {SnapshotFolders(data_, elsewhere_), chosen}, listener));
    catalog.catalog.reset();
    ASSIGN_OR_RETURN(aside_,
                     PutInPlace(held, clock_.Now(), audit::kStateRestored, "snapshot", listener));
    return catalog;
  }
  absl::StatusOr<RebuildReport> Rebuild(const StateListener& listener = kSilent,
                                        const std::string& chosen = "",
                                        MissingKeys missing_keys = MissingKeys::kRefuse) {
    ASSIGN_OR_RETURN(const HeldDataDir held, HoldDataDir(data_, keys_));
    return RebuildState(held, {SnapshotFolders(data_, elsewhere_), chosen}, missing_keys,
                        clock_.Now(), listener);
  }
  storage::Counts Counts() {
    return OpenStorage(data_, {})
        ->catalog->Read([](storage::Snapshot& snapshot) { return snapshot.Count(); })
        .value();
  }
  int64_t Versions() {
    const auto storage = OpenStorage(data_, {});
    if (!storage.ok()) return -1;
    EXPECT_OK(storage->catalog->Check([] {}, {}));
    EXPECT_OK(CheckCatalogMark(data_, *storage->catalog));
    return storage->catalog->Read([](storage::Snapshot& snapshot) { return snapshot.Count(); })
        ->versions;
  }
  // Each step that the listener hears is one after which the process is killed. All that opens the
  // store does so in a process of its own: threads that it starts would not outlive a fork.
  void KillAtEachStep(const std::function<absl::Status(const StateListener&)>& run) {
    constexpr int kKilled = 99;
    ASSERT_EQ(ExitOf([this] { Live(100); }), 0);
    std::vector<int> kills;
    for (int exit_code = kKilled; exit_code == kKilled;) {
      exit_code = ExitOf([&, kill_at = kills.size()] {
        size_t heard = 0;
        EXPECT_OK(run([&](absl::string_view step) {
          if (heard++ != kill_at) return;
          std::cerr << "killed at: " << step << std::endl;
          ::_exit(kKilled);
        }));
      });
      kills.push_back(exit_code);
      EXPECT_EQ(ExitOf([&] {
                  // Either all is as before, or as it is to be, or a service does not start;
                  // nothing is lost.
                  const absl::Status opened = OpenStorage(data_, {}).status();
                  EXPECT_TRUE(opened.ok() || ReasonOf(opened) == Reason::kStateCorrupt) << opened;
                  EXPECT_OK(run(kSilent));
                  EXPECT_EQ(Versions(), 100);
                }),
                0);
    }
    EXPECT_EQ(kills.back(), 0) << "not killed, and it succeeded";
    EXPECT_GE(kills.size(), 7u);
  }
  // What a process that does just this ends with: 1 if an expectation was not met.
  static int ExitOf(const std::function<void()>& work) {
    const pid_t child = ::fork();
    PCHECK(child >= 0);
    if (child == 0) {
      work();
      ::_exit(HasFailure() ? 1 : 0);
    }
    int status = 0;
    PCHECK(::waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  int64_t NextVersionId() {
    return OpenStorage(data_, {})
        ->catalog->Read([](storage::Snapshot& snapshot) { return snapshot.NextVersionId(); })
        .value();
  }
  // From now on there is another one; the old one is elsewhere.
  void ReplaceMasterKey() {
    std::filesystem::rename(data_ + "/master.key", old_key_file_);
    ASSERT_OK(crypto::MasterKey::LoadOrCreate(data_ + "/master.key"));
  }
  // Of a version that came after all that the catalog knows.
  void PutSealedBlob(const crypto::KeyRing& ring, uint8_t id = 9) {
    const std::string key(crypto::kFileKeySize, 'f');
    StringSource plaintext("plaintext");
    crypto::SealSource sealed(plaintext, key);
    const std::string payload = ReadAll(sealed, /*max_size=*/1000).value();
    content::BlobFooter footer;
    footer.client_id = IdOf<ClientId>(1);
    footer.file_name = "late";
    footer.version_id = 1000;
    footer.size_bytes = 9;
    footer.payload_size = std::ssize(payload);
    footer.sha256 = Sha256Of("plaintext");
    footer.form = storage::StorageForm::kSealed;
    footer.wrapped_key = ring.Seal(key, content::EncodeFooterFields(footer));
    StringSource blob(payload + content::EncodeFooter(footer));
    ASSERT_OK(OpenBlobs(data_).value()->Put(IdOf<BlobId>(id), blob, std::nullopt));
  }
  // As the file of generations has it.
  void WriteGeneration3() {
    const auto key = crypto::MasterKey::Load(data_ + "/master.key");
    ASSERT_OK(key);
    ASSERT_OK(crypto::WriteGenerationsFile(
        data_ + "/key.generations", crypto::EncodeGenerations({crypto::WrapGeneration(
                                        3, absl::UnixEpoch(), std::string(32, 'g'), **key)})));
  }
  crypto::KeyGeneration Rotate() {
    const Storage storage = OpenStorage(data_, {}).value();
    return handlers::KeyKeeper::Open(*storage.catalog, storage.master_keys.Copy(),
                                     storage.generations_file, clock_.Now())
        .value()
        ->Rotate(clock_.Now())
        .value();
  }
  // The newest, of which a blob was sealed, goes with the catalog, which is got back without it;
  // then it is found again.
  void LoseAGeneration(const std::function<absl::Status()>& get_back) {
    const crypto::KeyGeneration lost = Rotate();
    const auto key = crypto::MasterKey::Load(data_ + "/master.key");
    ASSERT_OK(key);
    crypto::KeyRing ring;
    ring.Add(lost.number, crypto::UnwrapGeneration(lost, **key).value());
    PutSealedBlob(ring);
    const std::string generations = data_ + "/key.generations";
    std::filesystem::rename(generations, generations + ".copy");
    std::filesystem::remove(CatalogPath());
    ASSERT_OK(get_back());
    EXPECT_GT(Rotate().number, lost.number);
    std::filesystem::rename(generations + ".copy", generations);
    const auto rebuilt = Rebuild();
    ASSERT_OK(rebuilt);
    EXPECT_EQ(rebuilt->versions, 1);
  }
  // Of nobody, but that it has its store's secret.
  void PutPack(const std::string& sealed_secret) {
    const BlobId id = IdOf<BlobId>(8);
    const crypto::KeyRing ring;
    content::PackBuilder builder(id, storage::StorageForm::kPlain, sealed_secret, ring);
    const std::string bytes(1000, 'x');
    builder.AddOwned({IdOf<ChunkId>(1), std::ssize(bytes)}, storage::ChunkCoding::kRaw, bytes);
    builder.Finish({});
    std::string pack;
    while (const auto piece = builder.Next()) absl::StrAppend(&pack, piece->bytes);
    StringSource source(pack);
    ASSERT_OK(OpenBlobs(data_).value()->Put(id, source, std::nullopt));
  }
  // One client with one small file that is verified, whose bytes are in the catalog alone, and a
  // snapshot of it; opens the store's secret before.
  void LiveWith(const std::string& content) {
    const Storage storage = OpenStorage(data_, {}).value();
    const auto keeper = handlers::KeyKeeper::Open(*storage.catalog, storage.master_keys.Copy(),
                                                  storage.generations_file, clock_.Now());
    ASSERT_OK(keeper);
    ASSERT_OK(handlers::OpenStoreKeys(*storage.catalog, (*keeper)->ring()));
    ASSERT_OK(storage.catalog->Run([&](storage::Transaction& transaction) -> absl::Status {
      RETURN_IF_ERROR(transaction
                          .RegisterClient("laptop", IdOf<ClientId>(1),
                                          storage::DuplicateNames::kReject, absl::UnixEpoch())
                          .status());
      storage::Version version;
      version.client_id = IdOf<ClientId>(1);
      version.file_name = "small";
      ASSIGN_OR_RETURN(version.version_id, transaction.ReserveVersionIds(1));
      version.size_bytes = std::ssize(content);
      version.sha256 = Sha256Of(content);
      content::BlobFooter footer;
      footer.client_id = version.client_id;
      footer.file_name = version.file_name;
      footer.version_id = version.version_id;
      footer.size_bytes = footer.payload_size = version.size_bytes;
      footer.sha256 = version.sha256;
      footer.form = version.form;
      return transaction.AddVersion(version, content + content::EncodeFooter(footer), {}).status();
    }));
    jobs::StateSnapshots::Options options;
    options.folders = SnapshotFolders(data_, elsewhere_);
    options.part_of_time = 1;
    ASSERT_OK(jobs::StateSnapshots(*storage.catalog, *storage.master_keys.current, clock_, options)
                  .Take({}));
  }
  std::string CatalogPath() const { return data_ + "/catalog.db"; }
  std::vector<FoundSnapshot> Found() {
    return FindSnapshots(SnapshotFolders(data_, elsewhere_), nullptr);
  }
  static void Flip(const std::string& path, int64_t offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    if (offset < 0) offset += static_cast<int64_t>(std::filesystem::file_size(path));
    file.seekg(offset);
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(offset).put(byte);
  }

  const storage::MemoryFolder folder_;
  const std::string data_ = folder_.path() + "/data";
  const std::string elsewhere_ = folder_.path() + "/elsewhere";
  const std::string old_key_file_ = folder_.path() + "/old.key";
  KeySources keys_;
  SystemClock clock_;
  std::string aside_;
};
// Forks: so named, GoogleTest runs it first, while the process has no threads.
using RestoreStateDeathTest = RestoreStateTest;

TEST_F(RestoreStateTest, PutsTheNewestSnapshotInPlaceAndTheOldFilesAside) {
  Live(250);
  const int64_t next = NextVersionId();
  { std::ofstream(CatalogPath(), std::ios::trunc | std::ios::binary) << "nonsense"; }
  EXPECT_THAT(OpenStorage(data_, {}).status(), HasReason(Reason::kStateCorrupt));
  ASSERT_OK(Restore());
  EXPECT_EQ(Versions(), 250);
  EXPECT_GT(NextVersionId(), next) << "ids are used once";
  std::ifstream old(aside_ + "/catalog.db");
  EXPECT_EQ(std::string((std::istreambuf_iterator<char>(old)), {}), "nonsense");
}

TEST_F(RestoreStateTest, NothingIsDroppedThatALaterCatalogMayHaveReferredTo) {
  Live(10);
  ASSERT_OK(Restore());
  const Storage storage = OpenStorage(data_, {}).value();
  EXPECT_EQ(
      storage.catalog
          ->Read([](storage::Snapshot& snapshot) { return snapshot.FindBlob(IdOf<BlobId>(7)); })
          .value(),
      storage::BlobUse::kUnknown);
}

TEST_F(RestoreStateTest, TakesTheOneThatIsChosen) {
  Live(250);
  // Newest first, each of them twice.
  ASSERT_EQ(Found().size(), 6u);
  ASSERT_OK(Restore(Found()[5].path));
  EXPECT_EQ(Versions(), 100);
  EXPECT_THAT(Restore("/nowhere/at.all").status(), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(RestoreStateTest, TakesTheNextOneIfOneIsDamagedWhereverThatIs) {
  Live(200);
  std::filesystem::remove_all(elsewhere_);
  std::filesystem::remove(Found()[0].path);  // As the one before it.
  ASSERT_EQ(Found().size(), 2u);
  const std::string newest = Found()[0].path;
  const std::string spare = folder_.path() + "/spare";
  std::filesystem::copy_file(newest, spare);
  // Payload: its first segment and a tag; footer: key, digest, trailer; and all of it missing.
  for (const int64_t place : {0, 1000, 3000, -300, -100, -20, -12, -1}) {
    SCOPED_TRACE(place);
    std::filesystem::copy_file(spare, newest, std::filesystem::copy_options::overwrite_existing);
    Flip(newest, place);
    const auto restored = Restore();
    ASSERT_OK(restored);
    EXPECT_EQ(restored->unreadable.size(), 1u);
    EXPECT_EQ(Versions(), 100);
  }
  for (const char* const rest : {"", "x"}) {
    { std::ofstream(newest, std::ios::trunc) << rest; }
    ASSERT_OK(Restore());
    EXPECT_EQ(Versions(), 100);
  }
}

TEST_F(RestoreStateTest, SaysWhyNoneCanBeReadAndChangesNothing) {
  Live(10);
  for (const FoundSnapshot& each : Found()) Flip(each.path, 10);
  const absl::Status restored = Restore().status();
  EXPECT_THAT(restored, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_TRUE(absl::StrContains(restored.message(), Found()[0].path)) << restored;
  EXPECT_EQ(Versions(), 10);
}

TEST_F(RestoreStateTest, SaysThatTheKeyIsAnotherOne) {
  Live(10);
  const std::string key_file = folder_.path() + "/other.key";
  const auto other = crypto::MasterKey::LoadOrCreate(key_file).value();
  keys_.master_key_file = key_file;
  const auto keys = OpenMasterKeys(data_, keys_);
  ASSERT_OK(keys);
  const auto found = FindSnapshots(SnapshotFolders(data_, elsewhere_), &*keys);
  ASSERT_FALSE(found.empty());
  EXPECT_TRUE(absl::StrContains(found.front().readable.message(), "takes the master key"));
  EXPECT_EQ(HoldDataDir(data_, keys_)->master_keys.current->Fingerprint(), other->Fingerprint());
}

TEST_F(RestoreStateTest, OpensWhatAnOldMasterKeySealedIfThatIsGiven) {
  Live(10);
  ReplaceMasterKey();
  EXPECT_THAT(Restore().status(), StatusIs(absl::StatusCode::kFailedPrecondition));
  keys_.old_master_key_files = {old_key_file_};
  ASSERT_OK(Restore());
  EXPECT_EQ(Versions(), 10);
}

TEST_F(RestoreStateTest, TakesNoOlderSnapshotBecauseTheNewestIsOfAnotherMasterKey) {
  Live(100);
  const std::string older = Found().back().path;
  ReplaceMasterKey();
  {
    // The newer ones stay those of the old key; this one is made the new key's.
    const Storage storage = OpenStorage(data_, {}).value();
    jobs::StateSnapshots::Options options;
    options.folders = SnapshotFolders(data_, elsewhere_);
    options.part_of_time = 1;
    jobs::StateSnapshots snapshots(*storage.catalog, *storage.master_keys.current, clock_, options);
    ASSERT_OK(snapshots.Take({}));
  }
  // Now the newest opens with the new key only.
  std::filesystem::rename(old_key_file_, data_ + "/master.key");
  std::filesystem::remove(CatalogPath());
  for (const absl::Status& status : {Restore().status(), Rebuild().status()}) {
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition));
    EXPECT_TRUE(absl::StrContains(status.message(), Found().front().path)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "--old_master_key_file")) << status;
  }
  EXPECT_OK(Restore(older));
}

TEST_F(RestoreStateTest, TakesItsOwnThoughThatOfAnotherStoreInTheSameFolderIsNewer) {
  Live(10);
  LiveBeside(folder_.path() + "/with its own key", {});
  LiveBeside(folder_.path() + "/with our key", SharedKey());
  std::filesystem::remove(CatalogPath());
  const auto restored = Restore();
  ASSERT_OK(restored);
  EXPECT_TRUE(absl::StartsWith(restored->snapshot_path, data_)) << restored->snapshot_path;
  EXPECT_EQ(Versions(), 10);
  std::filesystem::remove(CatalogPath());
  ASSERT_OK(Rebuild());
  EXPECT_EQ(Versions(), 10);
}

TEST_F(RestoreStateTest, RebuildingBeginsWithTheCatalogInPlaceThoughAnotherStoreCameFurther) {
  Live(10);
  LiveBeside(folder_.path() + "/with our key", SharedKey());
  const auto rebuilt = Rebuild();
  ASSERT_OK(rebuilt);
  EXPECT_EQ(rebuilt->snapshot_path, CatalogPath());
  EXPECT_EQ(Versions(), 10);
}

TEST_F(RestoreStateTest, TheCatalogInPlaceTellsTheStoreIfNoSnapshotIsBesideIt) {
  Live(10);
  const std::string ours = Found().front().entry.store;
  LiveBeside(folder_.path() + "/with our key", SharedKey());
  std::filesystem::remove_all(data_ + "/store/snapshots");
  ASSERT_OK(Restore());
  EXPECT_EQ(Versions(), 10);
  // Of another store alone there is nothing to be had.
  for (const FoundSnapshot& each : Found()) {
    if (each.entry.store == ours) std::filesystem::remove(each.path);
  }
  EXPECT_THAT(Restore().status(), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(RestoreStateTest, TakesNoneIfNothingTellsWhichOfTwoStoresItIs) {
  Live(10);
  const std::string ours = Found().back().entry.store;
  LiveBeside(folder_.path() + "/with our key", SharedKey());
  std::filesystem::remove_all(data_ + "/store/snapshots");
  std::filesystem::remove(CatalogPath());
  std::string our_path;
  for (const absl::Status& status : {Restore().status(), Rebuild().status()}) {
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition));
    EXPECT_TRUE(absl::StrContains(status.message(), "--snapshot")) << status;
    for (const FoundSnapshot& each : Found()) {
      EXPECT_TRUE(absl::StrContains(status.message(), each.entry.store)) << status;
      if (each.entry.store == ours) our_path = each.path;
    }
  }
  EXPECT_FALSE(std::filesystem::exists(CatalogPath()));
  ASSERT_OK(Restore(our_path));
  EXPECT_EQ(Versions(), 10);
}

TEST_F(RestoreStateTest, TheKeyTellsTheStoreIfNothingElseDoes) {
  Live(10);
  LiveBeside(folder_.path() + "/with its own key", {});
  std::filesystem::remove_all(data_ + "/store/snapshots");
  std::filesystem::remove(CatalogPath());
  ASSERT_OK(Restore());
  EXPECT_EQ(Versions(), 10);
}

TEST_F(RestoreStateTest, BelievesNoSnapshotOfBlobsElsewhereThanThoseOfTheDirectory) {
  Live(10);
  std::filesystem::remove_all(data_ + "/store/snapshots");
  std::filesystem::remove(CatalogPath());
  std::ofstream(data_ + "/blobs.location") << "s3://bucket/ours\n\n\n\n\n\n";
  ASSERT_OK(Restore());  // Of a catalog without large content.
  std::filesystem::remove_all(data_ + "/store/snapshots");
  std::filesystem::remove(CatalogPath());
  for (const FoundSnapshot& each : Found()) std::filesystem::remove(each.path);
  LiveBeside(folder_.path() + "/elsewhere", SharedKey(), "s3://bucket/theirs\n\n\n\n\n\n");
  for (const absl::Status& status : {Restore().status(), Rebuild().status()}) {
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition));
    EXPECT_TRUE(absl::StrContains(status.message(), "blobs.location")) << status;
  }
  EXPECT_FALSE(std::filesystem::exists(CatalogPath()));
}

TEST_F(RestoreStateTest, BelievesNoSnapshotOfAnotherStoreBecauseItIsTheOnlyOne) {
  Live(10);
  // Younger than its first snapshot.
  for (const FoundSnapshot& each : Found()) std::filesystem::remove(each.path);
  const crypto::KeyRing ring(
      std::string(crypto::MasterKey::Load(data_ + "/master.key").value()->bytes()));
  PutPack(content::StoreKeys::NewSealedSecret(ring));
  LiveBeside(folder_.path() + "/with our key", SharedKey());
  std::filesystem::remove_all(folder_.path() + "/with our key");
  std::filesystem::remove(CatalogPath());
  for (const absl::Status& status : {Restore().status(), Rebuild().status()}) {
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition));
    EXPECT_TRUE(absl::StrContains(status.message(), Found().front().path)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "--snapshot_dir")) << status;
  }
  EXPECT_FALSE(std::filesystem::exists(CatalogPath()));
  EXPECT_FALSE(std::filesystem::exists(CatalogPath() + ".new"));
  // As it was told.
  ASSERT_OK(Restore(Found().front().path));
}

TEST_F(RestoreStateTest, PacksTellThatTheOnlySnapshotsAreOurs) {
  { ASSERT_OK(OpenStorage(data_, {})); }
  const crypto::KeyRing ring(
      std::string(crypto::MasterKey::Load(data_ + "/master.key").value()->bytes()));
  const std::string secret = content::StoreKeys::NewSealedSecret(ring);
  ASSERT_OK(OpenStorage(data_, {})->catalog->Run([&](storage::Transaction& transaction) {
    return transaction.AddStoreValue(std::string(content::StoreKeys::kName), secret).status();
  }));
  Live(10);
  PutPack(secret);
  std::filesystem::remove_all(data_ + "/store/snapshots");
  std::filesystem::remove(CatalogPath());
  ASSERT_OK(Restore());
  EXPECT_EQ(Versions(), 10);
}

// Whoever opens it migrates it, and what is put aside is to be what was found.
TEST_F(RestoreStateTest, LeavesTheCatalogInPlaceAsItIsWhenItTellsTheStore) {
  Live(10);
  LiveBeside(folder_.path() + "/with our key", SharedKey());
  std::filesystem::remove_all(data_ + "/store/snapshots");
  constexpr int kLowByteOfTheSchema = 63;  // https://sqlite.org/fileformat.html: user version.
  Flip(CatalogPath(), kLowByteOfTheSchema);
  const auto bytes = [](const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const std::string found = bytes(CatalogPath());
  ASSERT_OK(Restore());
  EXPECT_EQ(Versions(), 10);
  EXPECT_TRUE(bytes(aside_ + "/catalog.db") == found);
}

TEST_F(RestoreStateTest, WhatIsToGoOfKeysBeginsAnewToGo) {
  Live(10);
  const auto retirement = [&](const std::optional<handlers::KeyRetirement>& set) {
    const auto catalog = OpenCatalogFile(CatalogPath()).value();
    return catalog
        ->Run([&](storage::Transaction& transaction) -> absl::StatusOr<handlers::KeyRetirement> {
          if (set) RETURN_IF_ERROR(handlers::SaveRetirement(transaction, *set));
          return handlers::FindRetirement(transaction);
        })
        .value();
  };
  handlers::KeyRetirement halfway;
  halfway.generations = {0};
  halfway.phase = handlers::KeyRetirement::Phase::kRemoval;
  halfway.position = "7";
  halfway.progress_time = absl::UnixEpoch();
  retirement(halfway);
  ASSERT_OK(Rebuild());
  const handlers::KeyRetirement after = retirement(std::nullopt);
  EXPECT_EQ(after.generations, halfway.generations);
  EXPECT_EQ(after.phase, handlers::KeyRetirement::Phase::kSecret);
  EXPECT_EQ(after.position, "");
}

TEST_F(RestoreStateTest, RebuildingMakesNoEmptyCatalogBesideSnapshotsOfAnotherMasterKey) {
  Live(10);
  ReplaceMasterKey();
  const auto refused = [&] {
    const absl::Status status = Rebuild().status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition));
    EXPECT_TRUE(absl::StrContains(status.message(), "--old_master_key_file")) << status;
  };
  std::filesystem::remove(CatalogPath());
  refused();
  EXPECT_FALSE(std::filesystem::exists(CatalogPath()));
  // Nor is one of use that somebody has made.
  std::filesystem::remove(CatalogMarkPath(data_));
  { const std::ofstream empty(CatalogPath()); }
  ASSERT_OK(OpenCatalogFile(CatalogPath()));
  refused();
  keys_.old_master_key_files = {old_key_file_};
  ASSERT_OK(Rebuild());
  EXPECT_EQ(Versions(), 10);
}

TEST_F(RestoreStateTest, RebuildingEndsIfAGenerationOfKeysIsMissing) {
  Live(10);
  crypto::KeyRing ring;
  ring.Add(3, std::string(32, 'g'));
  PutSealedBlob(ring);
  const absl::Status status = Rebuild().status();
  EXPECT_THAT(status, HasReason(Reason::kKeyMissing));
  EXPECT_TRUE(absl::StrContains(status.message(), "key generation 3")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "key.generations")) << status;
  EXPECT_EQ(Versions(), 10) << "nothing was changed";
  // It is given up by name.
  const auto without = Rebuild(kSilent, "", MissingKeys::kGiveUp);
  ASSERT_OK(without);
  EXPECT_EQ(without->versions, 0);
  ASSERT_FALSE(without->lost.empty());
  EXPECT_TRUE(absl::StrContains(without->lost.front(), "key generation 3"))
      << without->lost.front();
  WriteGeneration3();
  const auto rebuilt = Rebuild();
  ASSERT_OK(rebuilt);
  EXPECT_EQ(rebuilt->versions, 1);
  EXPECT_EQ(Versions(), 11);
}

// A generation that both places have lost, and whose seals the store has.
TEST_F(RestoreStateTest, RestoringGivesNoNumberOfAGenerationASecondTime) {
  Live(10);
  LoseAGeneration([this] { return Restore().status(); });
}

TEST_F(RestoreStateTest, RebuildingGivesNoNumberOfAGenerationASecondTime) {
  Live(10);
  LoseAGeneration([this] { return Rebuild(kSilent, "", MissingKeys::kGiveUp).status(); });
}

TEST_F(RestoreStateTest, RebuildingOfNothingGivesNoNumberOfAGenerationASecondTime) {
  Live(10);
  for (const FoundSnapshot& each : Found()) std::filesystem::remove(each.path);
  LoseAGeneration([this] { return Rebuild(kSilent, "", MissingKeys::kGiveUp).status(); });
}

TEST_F(RestoreStateTest, RebuildingHealsWhatWasMissingAndIsFoundElsewhere) {
  Live(10);
  crypto::KeyRing ring;
  ring.Add(3, std::string(32, 'g'));
  WriteGeneration3();
  PutSealedBlob(ring);
  ASSERT_OK(Rebuild());
  ASSERT_OK(OpenBlobs(data_).value()->Delete(IdOf<BlobId>(9)));
  ASSERT_OK(OpenCatalogFile(CatalogPath()).value()->Run([](storage::Transaction& transaction) {
    return transaction.MarkVersionDamaged(1000, IdOf<BlobId>(9)).status();
  }));
  PutSealedBlob(ring, 10);
  const auto rebuilt = Rebuild();
  ASSERT_OK(rebuilt);
  EXPECT_EQ(rebuilt->moved, 1);
  EXPECT_EQ(rebuilt->damaged_versions, 10) << "those of Live(), whose digests are made up";
  const auto versions =
      OpenCatalogFile(CatalogPath()).value()->Read([](storage::Snapshot& snapshot) {
        return snapshot.ScanVersions(999, /*limit=*/1);
      });
  EXPECT_EQ(versions->at(0).content, storage::Content(IdOf<BlobId>(10)));
  EXPECT_FALSE(versions->at(0).version.is_damaged);
}

TEST_F(RestoreStateTest, RebuildingDropsASecondCopyOfWhatCanBeRead) {
  Live(10);
  crypto::KeyRing ring;
  ring.Add(3, std::string(32, 'g'));
  WriteGeneration3();
  PutSealedBlob(ring);
  ASSERT_OK(Rebuild());
  const auto look = [&](const BlobId& id) {
    return OpenCatalogFile(CatalogPath())
        .value()
        ->Read([&](storage::Snapshot& snapshot) { return snapshot.FindBlob(id); })
        .value();
  };
  PutSealedBlob(ring, 10);
  ASSERT_OK(Rebuild());
  EXPECT_EQ(look(IdOf<BlobId>(9)), storage::BlobUse::kReferenced);
  EXPECT_EQ(look(IdOf<BlobId>(10)), storage::BlobUse::kDropped);
  // It may be the only good one.
  const auto blobs = OpenBlobs(data_).value();
  ASSERT_OK(blobs->Delete(IdOf<BlobId>(9)));
  StringSource garbage("garbage");
  ASSERT_OK(blobs->Put(IdOf<BlobId>(9), garbage, std::nullopt));
  PutSealedBlob(ring, 11);
  const auto named = Rebuild();
  ASSERT_OK(named);
  EXPECT_THAT(named->lost, ::testing::Contains(::testing::HasSubstr(ToHex(IdOf<BlobId>(11)))));
  EXPECT_EQ(look(IdOf<BlobId>(11)), storage::BlobUse::kUnknown);
  // Which it is once that is known.
  ASSERT_OK(OpenCatalogFile(CatalogPath()).value()->Run([](storage::Transaction& transaction) {
    return transaction.MarkVersionDamaged(1000, IdOf<BlobId>(9)).status();
  }));
  const auto healed = Rebuild();
  ASSERT_OK(healed);
  EXPECT_EQ(healed->moved, 1);
  EXPECT_EQ(look(IdOf<BlobId>(11)), storage::BlobUse::kReferenced);
}

TEST_F(RestoreStateTest, RefusesWhileAnotherHoldsTheDirectoryOrThereIsNone) {
  Live(10);
  {
    const Storage storage = OpenStorage(data_, {}).value();
    EXPECT_THAT(Restore().status(), StatusIs(absl::StatusCode::kAborted));
  }
  EXPECT_THAT(HoldDataDir(data_ + "/none", {}).status(), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_FALSE(std::filesystem::exists(data_ + "/none"));
  std::filesystem::remove(data_ + "/master.key");
  EXPECT_THAT(Restore().status(), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_FALSE(std::filesystem::exists(data_ + "/master.key")) << "a new key would be of no use";
}

TEST_F(RestoreStateDeathTest, SurvivesAKillAtEachStep) {
  KillAtEachStep([this](const StateListener& listener) { return Restore("", listener).status(); });
}

TEST_F(RestoreStateDeathTest, RebuildingSurvivesAKillAtEachStep) {
  KillAtEachStep([this](const StateListener& listener) {
    std::filesystem::remove(CatalogPath());
    return Rebuild(listener).status();
  });
}

TEST_F(RestoreStateTest, RebuildingBeginsWithASoundCatalogThatIsInPlace) {
  Live(100);
  EXPECT_OK(OpenStorage(data_, {})->catalog->Run([](storage::Transaction& transaction) {
    return transaction
        .RegisterClient("later", IdOf<ClientId>(2), storage::DuplicateNames::kReject,
                        absl::UnixEpoch())
        .status();
  }));
  const auto rebuilt = Rebuild();
  ASSERT_OK(rebuilt);
  EXPECT_EQ(rebuilt->snapshot_path, CatalogPath());
  EXPECT_EQ(Counts().clients, 2);
  const auto from_snapshot = Rebuild(kSilent, Found()[0].path);
  ASSERT_OK(from_snapshot);
  EXPECT_EQ(from_snapshot->snapshot_path, Found()[0].path);
  EXPECT_EQ(Counts().clients, 1);
}

TEST_F(RestoreStateTest, RebuildingTakesContentThatIsDamagedInTheCatalogFromASnapshot) {
  const std::string content = "bytes that nothing but the catalog has";
  LiveWith(content);
  // It knows what the snapshot does not.
  ASSERT_OK(OpenStorage(data_, {})->catalog->Run([](storage::Transaction& transaction) {
    return transaction
        .RegisterClient("later", IdOf<ClientId>(2), storage::DuplicateNames::kReject,
                        absl::UnixEpoch())
        .status();
  }));
  std::ifstream file(CatalogPath(), std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  Flip(CatalogPath(), static_cast<int64_t>(bytes.find(content)) + 5);
  const auto rebuilt = Rebuild();
  ASSERT_OK(rebuilt);
  EXPECT_EQ(rebuilt->snapshot_path, CatalogPath());
  EXPECT_EQ(rebuilt->healed, 1);
  EXPECT_THAT(rebuilt->lost, ::testing::IsEmpty());
  EXPECT_EQ(rebuilt->damaged_versions, 0);
  EXPECT_EQ(Counts().clients, 2);
  const auto now = OpenCatalogFile(CatalogPath()).value()->Read([](storage::Snapshot& snapshot) {
    return snapshot.ScanVersions(0, /*limit=*/1);
  });
  ASSERT_OK(now);
  EXPECT_TRUE(absl::StartsWith(std::get<std::string>(now->at(0).content), content));
  EXPECT_FALSE(now->at(0).version.is_damaged);
  EXPECT_FALSE(std::filesystem::exists(CatalogPath() + ".new"));
}

// Of a blob they all say the same.
TEST_F(RestoreStateTest, RebuildingLooksForABlobThatIsDamagedInOneSnapshotAlone) {
  Live(10);
  crypto::KeyRing ring;
  ring.Add(3, std::string(32, 'g'));
  WriteGeneration3();
  PutSealedBlob(ring);
  ASSERT_OK(Rebuild());
  // Nothing else is wrong.
  ASSERT_OK(OpenCatalogFile(CatalogPath()).value()->Run([](storage::Transaction& transaction) {
    std::vector<int64_t> made_up;
    for (int64_t id = 1; id < 100; ++id) made_up.push_back(id);
    return transaction.DeleteVersions(made_up, {absl::UnixEpoch(), /*for_good=*/true});
  }));
  ASSERT_GT(Found().size(), 1u);
  const auto blobs = OpenBlobs(data_).value();
  ASSERT_OK(blobs->Delete(IdOf<BlobId>(9)));
  StringSource garbage("garbage");
  ASSERT_OK(blobs->Put(IdOf<BlobId>(9), garbage, std::nullopt));
  int unpacked = 0;
  const auto rebuilt = Rebuild([&](absl::string_view step) {
    if (step == "catalog is prepared") ++unpacked;
  });
  ASSERT_OK(rebuilt);
  EXPECT_EQ(rebuilt->snapshot_path, CatalogPath());
  EXPECT_EQ(rebuilt->lost_count, 1);
  EXPECT_EQ(unpacked, 1);
}

TEST_F(RestoreStateTest, RebuildingNamesWhatIsDamagedAndInNoSnapshot) {
  const std::string content = "bytes that nothing but the catalog has";
  LiveWith(content);
  std::ifstream file(CatalogPath(), std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  Flip(CatalogPath(), static_cast<int64_t>(bytes.find(content)) + 5);
  for (const FoundSnapshot& each : Found()) std::filesystem::remove(each.path);
  const auto rebuilt = Rebuild();
  ASSERT_OK(rebuilt);
  EXPECT_EQ(rebuilt->healed, 0);
  EXPECT_EQ(rebuilt->lost_count, 1);
  EXPECT_THAT(rebuilt->lost, ::testing::ElementsAre(::testing::HasSubstr("small")));
}

TEST_F(RestoreStateTest, RebuildingBeginsWithASnapshotIfTheSecretInPlaceDoesNotOpen) {
  LiveWith("content");
  ASSERT_OK(OpenStorage(data_, {})->catalog->Run([](storage::Transaction& transaction) {
    const std::string name(content::StoreKeys::kName);
    std::string secret = transaction.FindStoreValue(name).value().value();
    secret.back() ^= 1;
    return transaction.SetStoreValue(name, secret);
  }));
  const auto rebuilt = Rebuild();
  ASSERT_OK(rebuilt);
  EXPECT_EQ(rebuilt->snapshot_path, Found()[0].path);
  EXPECT_THAT(rebuilt->lost, ::testing::IsEmpty());
}

TEST_F(RestoreStateTest, RebuildingEndsIfThereAreSnapshotsButNoneCanBeRead) {
  Live(100);
  for (const FoundSnapshot& each : Found()) Flip(each.path, 10);
  std::filesystem::remove(CatalogPath());
  EXPECT_THAT(Rebuild().status(), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_FALSE(std::filesystem::exists(CatalogPath()));
}

TEST_F(RestoreStateTest, AFolderThatCannotBeListedKeepsNothingFromTheOthers) {
  Live(10);
  std::filesystem::remove_all(elsewhere_);
  std::ofstream(elsewhere_) << "no folder";
  ASSERT_EQ(Found().size(), 2u);
  EXPECT_EQ(Found()[1].path, elsewhere_);
  EXPECT_FALSE(Found()[1].readable.ok());
  Flip(CatalogPath(), 0);
  ASSERT_OK(Restore());
  EXPECT_EQ(Versions(), 10);
  std::filesystem::remove(Found()[0].path);
  EXPECT_THAT(Restore().status(), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(RestoreStateTest, ACatalogWhosePartIsInItsLogIsNotPutInPlace) {
  Live(10);
  {
    const auto held = HoldDataDir(data_, {});
    ASSERT_OK(held);
    ASSERT_OK(OpenSnapshot(*held, {SnapshotFolders(data_, elsewhere_), ""}, kSilent));
    std::ofstream(CatalogPath() + ".new-wal") << "the rest";
    EXPECT_THAT(
        PutInPlace(*held, clock_.Now(), audit::kStateRestored, "snapshot", kSilent).status(),
        HasReason(Reason::kStorageIo));
  }
  EXPECT_EQ(Versions(), 10);
}

TEST_F(RestoreStateTest, ASecondRestoreGoesOnAboveTheFirst) {
  Live(10);
  const std::string oldest = Found()[0].path;
  ASSERT_OK(Restore(oldest));
  const int64_t next = NextVersionId();
  EXPECT_EQ(ReadCatalogMark(data_).next_version_id, next);
  ASSERT_OK(Restore(oldest));
  EXPECT_GT(NextVersionId(), next);
}

TEST_F(RestoreStateTest, ADataDirectoryOfAnotherUserIsLeftAlone) {
  EXPECT_OK(CheckOwner(folder_.path()));
  EXPECT_OK(CheckOwner(folder_.path() + "/missing"));
  std::string others = "/";  // For who is not root.
  if (::geteuid() == 0) {
    others = folder_.path() + "/others";
    std::filesystem::create_directory(others);
    ASSERT_EQ(::chown(others.c_str(), 65534, 65534), 0);
  }
  EXPECT_THAT(CheckOwner(others), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(HoldDataDir(others, keys_).status(), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(RestoreStateTest, AnEmptyCatalogIsNotMadeBesideAStore) {
  Live(10);
  std::filesystem::rename(CatalogPath(), CatalogPath() + ".away");
  EXPECT_THAT(OpenStorage(data_, {}).status(), HasReason(Reason::kStateCorrupt));
  { const std::ofstream truncated(CatalogPath()); }
  EXPECT_THAT(OpenStorage(data_, {}).status(), HasReason(Reason::kStateCorrupt));
}

TEST_F(RestoreStateTest, AnOlderCopyOfTheCatalogIsNoticedUntilItIsAccepted) {
  Live(10);
  const std::string copy = folder_.path() + "/copy";
  std::filesystem::copy_file(CatalogPath(), copy);
  {
    const Storage storage = OpenStorage(data_, {}).value();
    ASSERT_OK(CheckCatalogMark(data_, *storage.catalog));
    ASSERT_OK(storage.catalog->Run(
        [](storage::Transaction& transaction) { return transaction.ReserveVersionIds(64); }));
    ASSERT_OK(WriteCatalogMark(data_, *storage.catalog));
    ASSERT_OK(CheckCatalogMark(data_, *storage.catalog));
  }
  std::filesystem::copy_file(copy, CatalogPath(),
                             std::filesystem::copy_options::overwrite_existing);
  {
    const Storage storage = OpenStorage(data_, {}).value();
    EXPECT_THAT(CheckCatalogMark(data_, *storage.catalog), HasReason(Reason::kStateCorrupt));
  }
  ASSERT_OK(AcceptCatalog(HoldDataDir(data_, {}).value()));
  EXPECT_EQ(Versions(), 10);
}

TEST_F(RestoreStateTest, WithoutAMarkThereIsNoAlarm) {
  Live(10);
  std::filesystem::remove(CatalogMarkPath(data_));
  EXPECT_EQ(Versions(), 10);
  { std::ofstream(CatalogMarkPath(data_)) << "nonsense"; }
  EXPECT_EQ(Versions(), 10);
}

}  // namespace
}  // namespace backup
