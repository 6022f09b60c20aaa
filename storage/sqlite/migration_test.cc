#include <sqlite3.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/testing/fault_file_system.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/sqlite/schema.h"
#include "storage/sqlite/sqlite_catalog.h"
#include "storage/sqlite/testing/disk_vfs.h"
#include "storage/testing/ids.h"
#include "storage/testing/temp_folder.h"

namespace backup::storage {
namespace {

using backup::testing::FaultFileSystem;
using ::testing::Contains;
using testing::HasReason;
using ::testing::HasSubstr;
using testing::IsOkAndHolds;
using Loss = FaultFileSystem::Loss;

constexpr char kDiskPath[] = "/state/catalog.db";
// Where sanitizers make each round ten times as long.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) || defined(__clang__)
constexpr int kStride = 97;
#else
constexpr int kStride = 7;
#endif

// A machine whose disk holds a catalog's file.
struct Machine {
  Machine(uint64_t seed, const std::string& bytes) : disk(seed), vfs(disk) {
    disk.MakeFolder("/state");
    disk.SyncFolder("/");
    const std::unique_ptr<backup::File> file = disk.Create(kDiskPath, 0);
    EXPECT_EQ(file->WriteAt(0, bytes), std::ssize(bytes));
    EXPECT_TRUE(file->Sync());
    EXPECT_TRUE(disk.SyncFolder("/state"));
  }

  // The first use migrates it.
  static absl::Status Open() {
    return SqliteCatalog::Open(kDiskPath, {}, {.vfs = DiskVfs::kName}).status();
  }

  FaultFileSystem disk;
  DiskVfs vfs;
};

// The first column of what `sql` yields.
std::vector<std::string> Ask(sqlite3* database, const std::string& sql) {
  std::vector<std::string> found;
  const auto take = [](void* to, int, char** values, char**) {
    static_cast<std::vector<std::string>*>(to)->push_back(values[0]);
    return 0;
  };
  EXPECT_EQ(sqlite3_exec(database, sql.c_str(), take, &found, nullptr), SQLITE_OK) << sql;
  return found;
}

// All that the machine's catalog is made of, and every row.
std::vector<std::string> WholeCatalog() {
  sqlite3* opened = nullptr;
  EXPECT_EQ(sqlite3_open_v2(kDiskPath, &opened, SQLITE_OPEN_READWRITE, DiskVfs::kName), SQLITE_OK);
  const std::unique_ptr<sqlite3, decltype(&sqlite3_close)> database(opened, &sqlite3_close);
  std::vector<std::string> all = Ask(
      opened, "SELECT type || ' ' || name || ' ' || ifnull(sql, '') FROM sqlite_master ORDER BY 1");
  for (const std::string& rows : Ask(opened, R"(
         SELECT 'SELECT ''' || m.name || ' '' || ' ||
                (SELECT group_concat('quote("' || name || '")', '||'',''||') FROM pragma_table_info(m.name)) ||
                ' FROM "' || m.name || '" ORDER BY 1'
         FROM sqlite_master m WHERE type = 'table' ORDER BY name)")) {
    const std::vector<std::string> found = Ask(opened, rows);
    all.insert(all.end(), found.begin(), found.end());
  }
  return all;
}

// Whatever call of an upgrade of the catalog at `path` the machine crashes in, the next one makes
// of it what an upgrade without a crash does.
void ExpectNoCrashHarms(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string old((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<std::string> upgraded;
  {
    const Machine machine(0, old);
    EXPECT_OK(Machine::Open());
    upgraded = WholeCatalog();
  }
  EXPECT_THAT(upgraded, Contains(HasSubstr("clients X'0100111111")));
  int nth = 1;
  Loss loss = Loss::kAny;
  for (bool struck = true; struck && !::testing::Test::HasFailure(); nth += kStride) {
    SCOPED_TRACE(absl::StrCat("call ", nth, loss == Loss::kAny ? ", any loss" : ", all lost"));
    Machine machine(static_cast<uint64_t>(nth), old);
    machine.disk.StopAtNth(nth);
    Machine::Open().IgnoreError();
    struck = machine.disk.has_struck();
    machine.disk.Restart(loss);
    EXPECT_OK(Machine::Open());
    EXPECT_EQ(WholeCatalog(), upgraded);
    loss = loss == Loss::kAny ? Loss::kEverything : Loss::kAny;
  }
  EXPECT_GT(nth, 2 * kStride);
}

// A catalog as schema 3 had it: one client and three files. "large" has versions 1 (verified), 2
// (abandoned) and 3 (received) of which 1 and 3 are blobs; "small" has version 4 (verified) in the
// catalog; "waiting" has version 5 (received) in a blob.
constexpr char kOldRows[] = R"(
INSERT INTO clients (client_id, name, create_time, last_seen_time, public_key, sealed_session_key,
                     session_key_bits, last_verified_time)
  VALUES (x'01001111111111111111111111111111', x'6e616d65', 1, 2, x'6b6579', x'73', 256, 3);
INSERT INTO files (file_id, client_id, name) VALUES
  (1, x'01001111111111111111111111111111', x'6c61726765'),
  (2, x'01001111111111111111111111111111', x'736d616c6c'),
  (3, x'01001111111111111111111111111111', x'77616974696e67');
INSERT INTO versions VALUES
  (1, 1, 100, 112, 1, 7, zeroblob(32), 2, 10, 11, 2, NULL, x'01001111111111111111111111111111'),
  (2, 1, 200, 208, 1, 7, zeroblob(32), 1, 10, NULL, 2, NULL, NULL),
  (3, 1, 300, 304, 1, 7, zeroblob(32), 1, 10, NULL, 2, x'03001111111111111111111111111111',
   x'03001111111111111111111111111111'),
  (4, 2, 5, 16, 1, 7, zeroblob(32), 2, 10, 11, 1, NULL, NULL),
  (5, 3, 500, 512, 1, 7, zeroblob(32), 1, 10, NULL, 2, NULL, x'05001111111111111111111111111111');
UPDATE versions SET state = 3 WHERE version_id = 2;
INSERT INTO inline_contents VALUES (4, x'6279746573');
UPDATE totals SET next_version_id = 1025;
)";

class MigrationTest : public ::testing::Test {
 protected:
  MigrationTest() {
    const auto old = Database::Open(path_, Database::Mode::kReadWrite).value();
    EXPECT_OK(MigrateTo(*old, 3));
    EXPECT_OK(old->Execute(kOldRows));
  }

  StoredVersion Find(const std::string& file_name, int64_t version_id) {
    return catalog()
        .Read([&](Snapshot& snapshot) {
          return snapshot.FindVersion(client_, file_name, version_id, true);
        })
        .value();
  }
  BlobUse UseOf(uint8_t blob) {
    return catalog()
        .Read([&](Snapshot& snapshot) { return snapshot.FindBlob(IdOf<BlobId>(blob)); })
        .value();
  }
  absl::StatusOr<bool> Settle(const std::string& file_name, Outcome outcome) {
    return catalog().Run([&](Transaction& transaction) {
      return transaction.SettleVersion({client_, file_name, std::nullopt, outcome},
                                       absl::FromUnixSeconds(1));
    });
  }
  absl::Status RemoveClient() {
    return catalog().Run([&](Transaction& transaction) -> absl::Status {
      RETURN_IF_ERROR(transaction.DeleteClient(client_, absl::FromUnixSeconds(2)));
      return transaction.PurgeClient(client_, absl::InfiniteFuture(), 100).status();
    });
  }
  Counts Count() {
    return catalog().Read([](Snapshot& snapshot) { return snapshot.Count(); }).value();
  }

  // The first use migrates it.
  SqliteCatalog& catalog() {
    if (catalog_ == nullptr) catalog_ = SqliteCatalog::Open(path_).value();
    return *catalog_;
  }

  const ClientId client_ = IdOf<ClientId>(1);
  const TempFolder folder_;
  const std::string path_ = folder_.path() + "/catalog.db";
  std::unique_ptr<SqliteCatalog> catalog_;
};

TEST_F(MigrationTest, KeepsAllThatSchemaThreeHeld) {
  EXPECT_EQ(Find("large", 0).version.version_id, 1);
  EXPECT_EQ(Find("large", 1).content, Content(IdOf<BlobId>(1)));
  EXPECT_EQ(Find("large", 2).version.state, VersionState::kAbandoned);
  EXPECT_EQ(Find("large", 3).content, Content(IdOf<BlobId>(3)));
  EXPECT_EQ(Find("large", 3).version.upload_id, IdOf<UploadId>(3));
  EXPECT_EQ(Find("small", 0).content, Content(std::string("bytes")));
  EXPECT_EQ(Find("waiting", 5).version.state, VersionState::kReceived);
  const Client client =
      catalog().Read([](Snapshot& snapshot) { return snapshot.FindClientByName("name"); }).value();
  EXPECT_EQ(client.public_key, "key");
  EXPECT_EQ(client.stored_bytes, 905);
  EXPECT_THAT(
      catalog().Run([](Transaction& transaction) { return transaction.ReserveVersionIds(1); }),
      IsOkAndHolds(1025));
}

TEST_F(MigrationTest, CountsOldBlobsByTheirEncodedSizes) {
  const Counts counts = Count();
  EXPECT_EQ(counts.files, 3);
  EXPECT_EQ(counts.versions, 5);
  EXPECT_EQ(counts.stored_bytes, 905);
  EXPECT_EQ(counts.blob_bytes, 112 + 304 + 512);
  EXPECT_EQ(counts.dropped_blobs, 0);
}

TEST_F(MigrationTest, DropsOldBlobsLikeNewOnes) {
  for (const uint8_t blob : {1, 3, 5}) EXPECT_EQ(UseOf(blob), BlobUse::kReferenced);
  EXPECT_EQ(UseOf(2), BlobUse::kUnknown);
  EXPECT_THAT(Settle("waiting", Outcome::kAbandoned), IsOkAndHolds(true));
  EXPECT_EQ(UseOf(5), BlobUse::kDropped);
  EXPECT_EQ(Count().blob_bytes, 112 + 304);
  EXPECT_OK(RemoveClient());
  for (const uint8_t blob : {1, 3}) EXPECT_EQ(UseOf(blob), BlobUse::kDropped);
  EXPECT_EQ(Count().blob_bytes, 0);
  EXPECT_EQ(Count().dropped_blobs, 3);
}

TEST_F(MigrationTest, TakesTheNewestVersionOfAnOldFileForItsLast) {
  EXPECT_THAT(Settle("large", Outcome::kRetrying), IsOkAndHolds(true));
  EXPECT_EQ(UseOf(3), BlobUse::kDropped);
  EXPECT_THAT(Settle("large", Outcome::kRetrying), IsOkAndHolds(false));
  EXPECT_THAT(Settle("small", Outcome::kVerified), IsOkAndHolds(false));
  EXPECT_THAT(Settle("none", Outcome::kVerified), HasReason(Reason::kFileNotFound));
  EXPECT_THAT(Settle("waiting", Outcome::kVerified), IsOkAndHolds(true));
}

TEST_F(MigrationTest, NoCrashHarmsIt) { ExpectNoCrashHarms(path_); }

// What schema 4 held is the same rows, migrated so far, and a file that is in the client's form.
class MigrationFromFourTest : public MigrationTest {
 protected:
  MigrationFromFourTest() {
    const auto old = Database::Open(path_, Database::Mode::kReadWrite).value();
    EXPECT_OK(MigrateTo(*old, 4));
    EXPECT_OK(
        old->Execute("INSERT INTO files (file_id, client_id, name) VALUES "
                     "(4, x'01001111111111111111111111111111', x'6f776e');"
                     "INSERT INTO versions VALUES (6, 4, 50, 64, 1, 7, zeroblob(32), 2, 10, 11, 3, "
                     "NULL, NULL, 0);"
                     "INSERT INTO inline_contents VALUES (6, x'6369706865727465787400');"));
  }

  absl::StatusOr<bool> Replace(int64_t version_id, const NewContent& content) {
    return catalog().Run([&](Transaction& transaction) -> absl::StatusOr<bool> {
      ASSIGN_OR_RETURN(const std::vector<StoredVersion> found,
                       transaction.ScanVersions(version_id - 1, /*limit=*/1));
      return transaction.ReplaceContent(version_id, found.at(0).content, content);
    });
  }
  int64_t KeptBytes() {
    return catalog()
        .Read([&](Snapshot& snapshot) { return snapshot.FindClient(client_); })
        .value()
        .kept_bytes;
  }
};

TEST_F(MigrationFromFourTest, KeepsAllThatItHeldAndKnowsWhatIsToBeMoved) {
  EXPECT_EQ(Find("large", 1).content, Content(IdOf<BlobId>(1)));
  EXPECT_EQ(Find("large", 2).content, Content());
  EXPECT_EQ(Find("small", 0).content, Content(std::string("bytes")));
  EXPECT_EQ(Find("own", 0).content, Content(std::string("ciphertext\0", 11)));
  EXPECT_EQ(UseOf(1), BlobUse::kReferenced);
  const Counts counts = Count();
  EXPECT_EQ(counts.versions, 6);
  EXPECT_EQ(counts.stored_bytes, 955);
  EXPECT_EQ(counts.blob_bytes, 112 + 304 + 512);
  EXPECT_EQ(counts.unmoved_versions, 4);
  EXPECT_EQ(counts.chunks, 0);
  EXPECT_EQ(counts.packs, 0);
  const auto unmoved =
      catalog().Read([](Snapshot& snapshot) { return snapshot.ListUnmovedVersions(1, 9); }).value();
  ASSERT_EQ(unmoved.size(), 3u);
  EXPECT_EQ(unmoved[0].version.version_id, 3);
  EXPECT_EQ(unmoved[0].content, Content(IdOf<BlobId>(3)));
  EXPECT_EQ(unmoved[1].content, Content(std::string("bytes")));
}

TEST_F(MigrationFromFourTest, CountsWhatOldVersionsTakeByTheirSizes) {
  EXPECT_EQ(KeptBytes(), 955);
  NewChunks chunks;
  chunks.inlined = {{{IdOf<ChunkId>(1), 5}, StorageForm::kPlain, ChunkCoding::kRaw, "12"}};
  chunks.recipe = {{IdOf<ChunkId>(1), 5}};
  EXPECT_THAT(Replace(4, chunks), IsOkAndHolds(true));
  EXPECT_EQ(KeptBytes(), 955 - 5 + 2);
  EXPECT_THAT(Replace(1, chunks), IsOkAndHolds(true));
  EXPECT_EQ(UseOf(1), BlobUse::kDropped);
  EXPECT_EQ(KeptBytes(), 955 - 5 + 2 - 100);
  EXPECT_EQ(Count().unmoved_versions, 2);
  EXPECT_THAT(Settle("waiting", Outcome::kAbandoned), IsOkAndHolds(true));
  EXPECT_EQ(KeptBytes(), 955 - 5 + 2 - 100 - 500);
  EXPECT_EQ(Count().unmoved_versions, 1);
  EXPECT_OK(RemoveClient());
  EXPECT_EQ(Count().unmoved_versions, 0);
  EXPECT_EQ(Count().chunks, 0);
  EXPECT_EQ(Count().blob_bytes, 0);
}

// Of a pack that schema 5 held nobody knows how large its footer is.
class MigrationFromFiveTest : public MigrationTest {
 protected:
  MigrationFromFiveTest() {
    const auto old = Database::Open(path_, Database::Mode::kReadWrite).value();
    EXPECT_OK(MigrateTo(*old, 5));
    EXPECT_OK(
        old->Execute("INSERT INTO packs (pack_id, blob_id, size_bytes, live_bytes, form, "
                     "wrapped_key) VALUES (7, x'07111111111111111111111111111111', 600000, 50000, "
                     "1, x'')"));
  }
};

TEST_F(MigrationFromFiveTest, TakesAFooterForGarbageAsBefore) {
  const auto packs = catalog().Read(
      [](Snapshot& snapshot) { return snapshot.ListPacksToRewrite(/*small_bytes=*/0, 9); });
  ASSERT_OK(packs);
  ASSERT_EQ(packs->size(), 1u);
  EXPECT_EQ(packs->front().pack, 7);
  EXPECT_EQ(packs->front().footer_bytes, 0);
  EXPECT_EQ(Count().pack_bytes, 600'000);
}

// Of a chunk that was found damaged before, and of blobs.
class MigrationFromSevenTest : public MigrationTest {
 protected:
  MigrationFromSevenTest() {
    const auto old = Database::Open(path_, Database::Mode::kReadWrite).value();
    EXPECT_OK(MigrateTo(*old, 7));
    EXPECT_OK(old->Execute(
        "INSERT INTO chunks (chunk_no, chunk_id, size_bytes, refs, stored_size, form, coding, "
        "is_damaged) VALUES (3, zeroblob(32), 5, 1, 5, 1, 1, 1);"
        "INSERT INTO chunk_payloads VALUES (3, x'0102030405');"
        "UPDATE versions SET chunk_no = 3, kept_bytes = 5 WHERE version_id = 4;"
        "DELETE FROM inline_contents;"));
  }
};

TEST_F(MigrationFromSevenTest, KnowsVersionsOfDamagedChunksAndSetsBlobsAside) {
  EXPECT_TRUE(Find("small", 4).version.is_damaged);
  EXPECT_FALSE(Find("large", 1).version.is_damaged);
  EXPECT_EQ(Count().damaged_chunks, 1);
  EXPECT_EQ(Count().marked_versions, 0);
  EXPECT_OK(catalog().Run([&](Transaction& transaction) {
    return transaction.MarkVersionDamaged(1, IdOf<BlobId>(1)).status();
  }));
  EXPECT_OK(RemoveClient());
  EXPECT_EQ(UseOf(1), BlobUse::kSetAside);
  EXPECT_EQ(UseOf(3), BlobUse::kDropped);
  EXPECT_EQ(Count().damaged_chunks, 0);
}

// Before there was a trash.
class MigrationFromNineTest : public MigrationTest {
 protected:
  MigrationFromNineTest() {
    const auto old = Database::Open(path_, Database::Mode::kReadWrite).value();
    EXPECT_OK(MigrateTo(*old, 9));
  }

  Client Find() {
    return catalog().Read([&](Snapshot& snapshot) { return snapshot.FindClient(client_); }).value();
  }
};

TEST_F(MigrationFromNineTest, HasNothingInTheTrashAndCountsWhatTheClientHas) {
  const Counts counts = Count();
  EXPECT_EQ(counts.clients, 1);
  EXPECT_EQ(counts.files, 3);
  EXPECT_EQ(counts.versions, 5);
  EXPECT_EQ(counts.verified_versions, 2);
  EXPECT_EQ(counts.abandoned_versions, 1);
  EXPECT_EQ(counts.trash_clients, 0);
  EXPECT_EQ(counts.trash_versions, 0);
  EXPECT_EQ(counts.trash_bytes, 0);
  EXPECT_EQ(Find().file_count, 3);
  EXPECT_EQ(Find().version_count, 5);
  EXPECT_EQ(Find().stored_bytes, 905);
}

TEST_F(MigrationFromNineTest, PutsOldVersionsIntoTheTrashAndTakesThemBack) {
  const std::string before = absl::StrCat(Find().stored_bytes, " ", Find().kept_bytes);
  const absl::Time now = absl::FromUnixSeconds(2);
  for (const int64_t id : {1, 2, 3, 4, 5}) {
    ASSERT_THAT(catalog().Run([&](Transaction& transaction) {
      return transaction.DeleteVersions({id}, {now});
    }),
                IsOkAndHolds(1));
  }
  EXPECT_EQ(Count().files, 0);
  EXPECT_EQ(Count().versions, 0);
  EXPECT_EQ(Count().verified_versions, 0);
  EXPECT_EQ(Count().abandoned_versions, 0);
  EXPECT_EQ(Count().trash_versions, 5);
  EXPECT_EQ(Count().trash_bytes, 905);
  EXPECT_EQ(Find().stored_bytes, 0);
  EXPECT_EQ(Find().kept_bytes, 0);
  EXPECT_EQ(Count().blob_bytes, 112 + 304 + 512);
  EXPECT_EQ(Count().unmoved_versions, 4);
  ASSERT_THAT(catalog().Run([&](Transaction& transaction) {
    return transaction.UndeleteVersions({1, 2, 3, 4, 5});
  }),
              IsOkAndHolds(5));
  EXPECT_EQ(Count().versions, 5);
  EXPECT_EQ(Count().verified_versions, 2);
  EXPECT_EQ(absl::StrCat(Find().stored_bytes, " ", Find().kept_bytes), before);
  EXPECT_OK(RemoveClient());
  EXPECT_EQ(Count().trash_versions, 0);
  EXPECT_EQ(Count().trash_clients, 0);
  EXPECT_EQ(Count().dropped_blobs, 3);
}

// Before files in the trash were counted. Versions 4 and 5 are there, each all that its file has,
// and version 1 of a file that has others.
class MigrationFromTenTest : public MigrationTest {
 protected:
  MigrationFromTenTest() {
    const auto old = Database::Open(path_, Database::Mode::kReadWrite).value();
    EXPECT_OK(MigrateTo(*old, 10));
    EXPECT_OK(old->Execute("UPDATE versions SET delete_time = 1 WHERE version_id IN (1, 4, 5)"));
  }

  std::vector<QuotaUse> Uses() {
    EXPECT_OK(catalog().Run([&](Transaction& transaction) -> absl::Status {
      RETURN_IF_ERROR(transaction.SetQuota({{client_, QuotaKind::kClient}, {}}));
      return transaction.SetQuota({{}, {}});
    }));
    return catalog()
        .Read([&](Snapshot& snapshot) { return snapshot.ListQuotasFor(client_, "small"); })
        .value();
  }
};

TEST_F(MigrationFromTenTest, NoCrashHarmsIt) { ExpectNoCrashHarms(path_); }

TEST_F(MigrationFromTenTest, HasNoQuotaAndCountsWhatTheyAreAbout) {
  EXPECT_EQ(catalog()
                .Read([](Snapshot& snapshot) { return snapshot.ListQuotas(std::nullopt, 9); })
                .value(),
            std::vector<Quota>());
  EXPECT_EQ(Count().files, 1);
  EXPECT_EQ(Count().trash_files, 2);
  EXPECT_EQ(Uses().at(0).used, (Usage{300, 1}));
  EXPECT_EQ(Uses().at(1).used, (Usage{905, 3}));
}

TEST_F(MigrationFromTenTest, CountsOnFromThere) {
  ASSERT_THAT(
      catalog().Run([](Transaction& transaction) { return transaction.UndeleteVersions({4}); }),
      IsOkAndHolds(1));
  EXPECT_EQ(Count().trash_files, 1);
  EXPECT_OK(catalog().Run([](Transaction& transaction) {
    return transaction.PurgeVersions({1, 5}, absl::FromUnixSeconds(9)).status();
  }));
  EXPECT_EQ(Count().trash_files, 0);
  EXPECT_EQ(Uses().at(1).used, (Usage{305, 2}));
}

// The whole client was there.
class MigrationOfATrashedClientTest : public MigrationTest {
 protected:
  MigrationOfATrashedClientTest() {
    const auto old = Database::Open(path_, Database::Mode::kReadWrite).value();
    EXPECT_OK(MigrateTo(*old, 10));
    EXPECT_OK(
        old->Execute("UPDATE versions SET delete_time = 1 WHERE version_id = 5;"
                     "UPDATE clients SET delete_time = 1"));
  }
};

TEST_F(MigrationOfATrashedClientTest, CountsAllItsFilesForTheStore) {
  EXPECT_EQ(Count().files, 0);
  EXPECT_EQ(Count().trash_files, 3);
  EXPECT_OK(catalog().Run([&](Transaction& transaction) {
    return transaction.UndeleteClient(client_, DuplicateNames::kReject).status();
  }));
  EXPECT_EQ(Count().files, 2);
  EXPECT_EQ(Count().trash_files, 1);
  EXPECT_OK(RemoveClient());
  EXPECT_EQ(Count().trash_files, 0);
}

// Schema 14 is the last without an audit log.
class MigrationFromFourteenTest : public MigrationTest {
 protected:
  MigrationFromFourteenTest() {
    const auto old = Database::Open(path_, Database::Mode::kReadWrite).value();
    EXPECT_OK(MigrateTo(*old, 14));
  }
};

TEST_F(MigrationFromFourteenTest, HasAnEmptyAuditLogThatIsKeptFromThenOn) {
  EXPECT_EQ(
      catalog().Read([](Snapshot& snapshot) { return snapshot.FindNewestAuditEntry(); }).value(),
      std::nullopt);
  AuditEntry entry;
  entry.number = 1;
  entry.client = client_;
  entry.chain = std::string(32, 'c');
  EXPECT_OK(catalog().Run([&](Transaction& transaction) {
    return transaction.AppendAuditEntry(entry, AuditRoom::kAlways);
  }));
  EXPECT_OK(RemoveClient());
  EXPECT_EQ(catalog()
                .Read([](Snapshot& snapshot) { return snapshot.ListAuditEntries(0, {}, 9); })
                .value()
                .size(),
            1);
}

TEST_F(MigrationFromFourteenTest, NoCrashHarmsIt) { ExpectNoCrashHarms(path_); }

// Schema 16 is the last without bans.
class MigrationFromSixteenTest : public MigrationTest {
 protected:
  MigrationFromSixteenTest() {
    const auto old = Database::Open(path_, Database::Mode::kReadWrite).value();
    EXPECT_OK(MigrateTo(*old, 16));
  }
};

TEST_F(MigrationFromSixteenTest, HasNoBansAndKeepsThemFromThenOn) {
  const auto list = [this] {
    return catalog()
        .Read([](Snapshot& snapshot) { return snapshot.ListBans(absl::InfinitePast(), "", 9); })
        .value();
  };
  EXPECT_EQ(list(), std::vector<Ban>());
  Ban ban;
  ban.network = "10.0.0.1";
  ban.start_time = absl::FromUnixSeconds(1);
  ban.end_time = absl::InfiniteFuture();
  EXPECT_OK(catalog().Run([&](Transaction& transaction) { return transaction.SetBan(ban); }));
  EXPECT_EQ(list(), std::vector<Ban>{ban});
}

}  // namespace
}  // namespace backup::storage
