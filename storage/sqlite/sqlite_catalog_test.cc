#include "storage/sqlite/sqlite_catalog.h"

#include <sys/resource.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "storage/testing/catalog_contract.h"
#include "storage/testing/repeating_catalog.h"
#include "storage/testing/temp_folder.h"

namespace backup::storage {
namespace {

using testing::StatusIs;

std::unique_ptr<Catalog> MakeCatalog() {
  // The folders live as long as the process, because the contract owns nothing but the catalog.
  static std::vector<std::unique_ptr<TempFolder>> folders;
  folders.push_back(std::make_unique<TempFolder>());
  return SqliteCatalog::Open(folders.back()->path() + "/catalog.db").value();
}

std::unique_ptr<Catalog> MakeRepeatingCatalog() {
  return std::make_unique<RepeatingCatalog>(MakeCatalog());
}

INSTANTIATE_CATALOG_CONTRACT(Sqlite, MakeCatalog);
INSTANTIATE_TEST_SUITE_P(RepeatingSqlite, CatalogChunks, ::testing::Values(MakeRepeatingCatalog));
INSTANTIATE_TEST_SUITE_P(RepeatingSqlite, CatalogRecipes, ::testing::Values(MakeRepeatingCatalog));
INSTANTIATE_TEST_SUITE_P(RepeatingSqlite, CatalogPacks, ::testing::Values(MakeRepeatingCatalog));

using SqliteDamage = CatalogDamage;
INSTANTIATE_TEST_SUITE_P(Sqlite, SqliteDamage, ::testing::Values(MakeCatalog));

// However long it is.
TEST_P(SqliteDamage, OfARecipeIsReadWhileNobodyWaitsForIt) {
  AddThree();
  const Version version = AddChunks("file", Content({1, 2}));
  const Version single = AddChunks("single", Content({2}));
  MarkDamaged(ChunksOf(version).at(1));
  EXPECT_TRUE(IsDamaged(version));
  const auto is_told = [&](const Version& of) {
    return Run([&](Transaction& transaction) -> absl::StatusOr<bool> {
             ASSIGN_OR_RETURN(const StoredVersion found,
                              transaction.FindVersion(client_, of.file_name, of.version_id,
                                                      /*with_content=*/false));
             return found.version.is_damaged;
           })
        .value();
  };
  EXPECT_FALSE(is_told(version));
  EXPECT_TRUE(is_told(single));
}

class SqliteCatalogTest : public ::testing::Test {
 protected:
  static absl::Time At(int seconds) { return absl::FromUnixSeconds(1'700'000'000 + seconds); }

  absl::StatusOr<std::unique_ptr<SqliteCatalog>> Open() { return SqliteCatalog::Open(path_); }

  static absl::Status Register(Catalog& catalog) {
    return catalog.Run([](Transaction& transaction) {
      return transaction.RegisterClient("name", IdOf<ClientId>(1), DuplicateNames::kReject, At(0))
          .status();
    });
  }
  static absl::Status Add(Catalog& catalog, int64_t version_id) {
    return catalog.Run([&](Transaction& transaction) {
      return transaction.AddVersion(SomeVersion(version_id), std::string("bytes"), {}).status();
    });
  }
  static absl::StatusOr<StoredVersion> Find(Catalog& catalog, int64_t version_id) {
    return catalog.Read([&](Snapshot& snapshot) {
      return snapshot.FindVersion(IdOf<ClientId>(1), "file", version_id, true);
    });
  }
  static int64_t ReserveIds(Catalog& catalog, int64_t count) {
    return catalog
        .Run([&](Transaction& transaction) { return transaction.ReserveVersionIds(count); })
        .value();
  }

  static Version SomeVersion(int64_t version_id) {
    Version version;
    version.client_id = IdOf<ClientId>(1);
    version.file_name = "file";
    version.version_id = version_id;
    version.size_bytes = 5;
    version.sha256 = std::string(32, 's');
    version.receive_time = At(1);
    return version;
  }

  const TempFolder folder_;
  const std::string path_ = folder_.path() + "/catalog.db";
};

TEST_F(SqliteCatalogTest, FindsEverythingAgainAfterReopening) {
  const ClientId id = IdOf<ClientId>(1);
  {
    const auto catalog = Open().value();
    ASSERT_OK(Register(*catalog));
    ASSERT_OK(Add(*catalog, 1));
    ASSERT_OK(catalog->Run([&](Transaction& transaction) -> absl::Status {
      RETURN_IF_ERROR(
          transaction.SetClientKey(id, {"key", "sealed", 256}, Rekey::kPin, At(0)).status());
      RETURN_IF_ERROR(
          transaction.SettleVersion({id, "file", std::nullopt, Outcome::kVerified}, At(2))
              .status());
      return transaction.TouchClient(id, At(9));
    }));
  }
  EXPECT_FALSE(std::filesystem::exists(path_ + "-wal")) << "the log was not emptied at the end";
  const auto catalog = Open().value();
  const Client client =
      catalog->Read([](Snapshot& snapshot) { return snapshot.FindClientByName("name"); }).value();
  EXPECT_EQ(client.sealed_session_key, "sealed");
  EXPECT_EQ(client.last_seen_time, At(9));
  EXPECT_EQ(Find(*catalog, 0).value().content, Content(std::string("bytes")));
}

TEST_F(SqliteCatalogTest, WritesWhenAClientWasSeenThoughTheWorkStillWaitsAtTheEnd) {
  {
    const auto catalog = Open().value();
    ASSERT_OK(Register(*catalog));
    catalog->Submit(
        [](Transaction& transaction) { return transaction.TouchClient(IdOf<ClientId>(1), At(9)); },
        [](const absl::Status& result) { EXPECT_OK(result); });
  }
  const Client client =
      Open()
          .value()
          ->Read([](Snapshot& snapshot) { return snapshot.FindClientByName("name"); })
          .value();
  EXPECT_EQ(client.last_seen_time, At(9));
}

TEST_F(SqliteCatalogTest, ShowsAnotherProcessWhatItAcknowledged) {
  const auto catalog = Open().value();
  ASSERT_OK(Register(*catalog));
  ASSERT_OK(Add(*catalog, 1));
  // A copy of the files is what a crash would leave behind.
  const TempFolder copy;
  for (const char* suffix : {"", "-wal"}) {
    std::filesystem::copy_file(path_ + suffix, copy.path() + "/catalog.db" + suffix);
  }
  const auto recovered = SqliteCatalog::Open(copy.path() + "/catalog.db").value();
  EXPECT_OK(Find(*recovered, 1));
}

TEST_F(SqliteCatalogTest, NeverReservesAVersionIdAgainAfterReopening) {
  int64_t end = 0;
  for (int process = 0; process < 3; ++process) {
    const auto catalog = Open().value();
    for (const int64_t count : {1, 1000, 24}) {
      const int64_t first = ReserveIds(*catalog, count);
      ASSERT_GE(first, end);
      end = first + count;
    }
  }
}

TEST_F(SqliteCatalogTest, RefusesACatalogOfANewerSchemaAndLeavesItAsItIs) {
  ASSERT_OK(Open());
  const auto database = Database::Open(path_, Database::Mode::kReadWrite).value();
  const std::string right = [&] {
    Query version = database->Prepare("PRAGMA user_version");
    EXPECT_OK(version.Step());
    return absl::StrCat("PRAGMA user_version = ", version.Int(0));
  }();
  ASSERT_OK(database->Execute("PRAGMA user_version = 999"));
  const auto opened = Open();
  EXPECT_THAT(opened, StatusIs(absl::StatusCode::kUnimplemented));
  EXPECT_TRUE(absl::StrContains(opened.status().message(), "999")) << opened.status();
  ASSERT_OK(database->Execute(right.c_str()));
  EXPECT_OK(Open());
}

TEST_F(SqliteCatalogTest, RefusesAFileThatIsNoDatabase) {
  std::ofstream(path_) << std::string(10'000, 'x');
  EXPECT_THAT(Open(), HasReason(Reason::kStateCorrupt));
}

TEST_F(SqliteCatalogTest, SaysThatThereIsNoFolderForIt) {
  EXPECT_THAT(SqliteCatalog::Open(folder_.path() + "/none/catalog.db"),
              HasReason(Reason::kStorageIo));
}

TEST_F(SqliteCatalogTest, TakesNothingInWhileTheReserveIsNeededAndLetsAllElseHappen) {
  const ClientId id = IdOf<ClientId>(1);
  const BlobLease lease{IdOf<OwnerId>(1), At(0)};
  JobState job;
  job.name = "job";
  SpaceReserve reserve(folder_.path() + "/reserve");
  ASSERT_TRUE(reserve.Restore());
  const auto catalog = SqliteCatalog::Open(path_, {}, {nullptr, &reserve}).value();
  ASSERT_OK(Register(*catalog));
  for (const int64_t version : {1, 2, 3}) ASSERT_OK(Add(*catalog, version));
  reserve.Release();
  const auto run = [&](const Catalog::Work& work) { return catalog->Run(work); };

  EXPECT_THAT(Add(*catalog, 4), HasReason(Reason::kStorageFull));
  EXPECT_THAT(run([&](Transaction& transaction) {
                return transaction
                    .RegisterClient("other", IdOf<ClientId>(2), DuplicateNames::kReject, At(0))
                    .status();
              }),
              HasReason(Reason::kStorageFull));
  EXPECT_THAT(run([&](Transaction& transaction) {
                return transaction.SetClientKey(id, {"key", "sealed"}, Rekey::kPin, At(0)).status();
              }),
              HasReason(Reason::kStorageFull));
  EXPECT_THAT(run([&](Transaction& transaction) {
                return transaction.AddPendingBlobs({IdOf<BlobId>(1)}, lease);
              }),
              HasReason(Reason::kStorageFull));

  AuditEntry entry;
  entry.number = 1;
  EXPECT_THAT(run([&](Transaction& transaction) {
                return transaction.AppendAuditEntry(entry, AuditRoom::kUnlessFull);
              }),
              HasReason(Reason::kStorageFull));

  EXPECT_OK(run([&](Transaction& transaction) {
    return transaction.AppendAuditEntry(entry, AuditRoom::kAlways);
  }));
  EXPECT_OK(run([&](Transaction& transaction) {
    return transaction.SettleVersion({id, "file", std::nullopt, Outcome::kVerified}, At(2))
        .status();
  }));
  EXPECT_OK(run([&](Transaction& transaction) { return transaction.TouchClient(id, At(9)); }));
  EXPECT_OK(run([&](Transaction& transaction) { return transaction.RenewLeases(lease); }));
  EXPECT_OK(run([&](Transaction& transaction) { return transaction.SaveJob(job); }));
  EXPECT_OK(run(
      [&](Transaction& transaction) { return transaction.DeleteVersion(id, "file", 1, {At(3)}); }));
  EXPECT_OK(run([&](Transaction& transaction) {
    return transaction.UndeleteVersion(id, "file", 1).status();
  }));
  EXPECT_OK(run([&](Transaction& transaction) { return transaction.DeleteClient(id, At(3)); }));
  EXPECT_OK(run([&](Transaction& transaction) {
    return transaction.PurgeClient(id, At(3), /*limit=*/9).status();
  }));

  ASSERT_TRUE(reserve.Restore());
  EXPECT_OK(Register(*catalog));
}

TEST_F(SqliteCatalogTest, ReadsAndDeletesWithoutAnotherDescriptor) {
  constexpr int kReaders = 16;
  const auto catalog = Open().value();
  ASSERT_OK(Register(*catalog));
  ASSERT_OK(Add(*catalog, 1));
  ASSERT_OK(Add(*catalog, 2));
  const auto read_and_delete = [&](int64_t version, int reader_count) {
    {
      std::vector<std::jthread> readers;
      for (int i = 0; i < reader_count; ++i) {
        readers.emplace_back([&] {
          EXPECT_OK(catalog->Read([&](Snapshot& snapshot) {
            std::this_thread::yield();
            return snapshot.FindClient(IdOf<ClientId>(1));
          }));
        });
      }
    }
    EXPECT_OK(catalog->Run([version](Transaction& transaction) {
      return transaction.DeleteVersion(IdOf<ClientId>(1), "file", version, {At(3)});
    }));
  };
  // With descriptors first: UBSan needs some for each type that it has not seen yet.
  read_and_delete(1, 1);
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none = {0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  read_and_delete(2, kReaders);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST_F(SqliteCatalogTest, OpensNoMoreReadersForMoreReadsAtOnce) {
  constexpr int kReads = 200;
  constexpr int kMostAtOnce = 64;
  const auto catalog = Open().value();
  std::atomic<int> now = 0;
  std::atomic<int> most = 0;
  {
    std::vector<std::jthread> readers;
    for (int i = 0; i < kReads; ++i) {
      readers.emplace_back([&] {
        EXPECT_OK(catalog->Read([&](Snapshot&) {
          const int at_once = ++now;
          for (int seen = most; seen < at_once && !most.compare_exchange_weak(seen, at_once);) {
          }
          most.notify_all();
          // Until so many read at once as may.
          for (int seen = most; seen < kMostAtOnce; seen = most) most.wait(seen);
          --now;
          return absl::OkStatus();
        }));
      });
    }
  }
  EXPECT_EQ(most, kMostAtOnce);
}

TEST_F(SqliteCatalogTest, KeepsAWriteAheadLog) {
  const auto catalog = Open().value();
  ASSERT_OK(Register(*catalog));
  const auto other = Database::Open(path_, Database::Mode::kReadOnly).value();
  Query mode = other->Prepare("SELECT journal_mode = 'wal' FROM pragma_journal_mode");
  ASSERT_OK(mode.Step());
  EXPECT_EQ(mode.Int(0), 1);
}

// Queries must stay fast with millions of versions, so none may scan or sort a table that grows
// with them.
TEST_F(SqliteCatalogTest, FindsByIndexWhatEveryRequestAsksFor) {
  ASSERT_OK(Open());
  const auto database = Database::Open(path_, Database::Mode::kReadOnly).value();
  const auto plan_of = [&](const char* sql) {
    std::string plan;
    Query query = database->Prepare(sql);
    while (query.Step().value()) plan += query.Blob(3) + "\n";
    // Newer releases of SQLite find out where an index has all that is asked for.
    return absl::StrReplaceAll(plan, {{"COVERING ", ""}});
  };
  EXPECT_EQ(
      plan_of("EXPLAIN QUERY PLAN SELECT version_id FROM versions "
              "WHERE file_id = 1 AND state = 2 AND delete_time IS NULL ORDER BY version_id DESC "
              "LIMIT 1"),
      "SEARCH versions USING INDEX versions_verified (file_id=?)\n");
  EXPECT_EQ(plan_of("EXPLAIN QUERY PLAN SELECT v.version_id, v.state, v.checksum_kind FROM files f "
                    "LEFT JOIN versions v ON v.version_id = f.last_version_id "
                    "WHERE f.client_id = x'00' AND f.name = x'00'"),
            "SEARCH f USING INDEX sqlite_autoindex_files_1 (client_id=? AND name=?)\n"
            "SEARCH v USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN\n");
  EXPECT_EQ(plan_of("EXPLAIN QUERY PLAN SELECT blob_id FROM dropped_blobs WHERE blob_id > x'00' "
                    "ORDER BY blob_id LIMIT 10"),
            "SEARCH dropped_blobs USING PRIMARY KEY (blob_id>?)\n");
  EXPECT_EQ(plan_of("EXPLAIN QUERY PLAN SELECT 1 FROM versions WHERE blob_id = x'00'"),
            "SEARCH versions USING INDEX versions_by_blob (blob_id=?)\n");
}

TEST_F(SqliteCatalogTest, ListsTheTrashByIndex) {
  ASSERT_OK(Open());
  const auto database = Database::Open(path_, Database::Mode::kReadOnly).value();
  const std::vector<const char*> queries = {
      "EXPLAIN QUERY PLAN SELECT v.version_id FROM versions v INDEXED BY versions_trashed JOIN "
      "files f USING (file_id) WHERE v.delete_time IS NOT NULL AND (v.delete_time, v.version_id) > "
      "(1, 2) ORDER BY v.delete_time, v.version_id LIMIT 3",
      "EXPLAIN QUERY PLAN SELECT name FROM clients WHERE delete_time IS NOT NULL AND (delete_time, "
      "client_id) > (1, x'00') ORDER BY delete_time, client_id LIMIT 3",
      "EXPLAIN QUERY PLAN SELECT v.version_id FROM files f JOIN versions v INDEXED BY "
      "versions_by_file USING (file_id) WHERE f.client_id = x'00' AND f.name = x'00' AND "
      "+v.delete_time IS NOT NULL AND v.version_id > 1 ORDER BY v.version_id LIMIT 3",
      "EXPLAIN QUERY PLAN SELECT version_id FROM files JOIN versions USING (file_id) WHERE "
      "client_id = x'00' LIMIT 3"};
  for (const char* const sql : queries) {
    Query plan = database->Prepare(sql);
    while (plan.Step().value())
      EXPECT_TRUE(absl::StartsWith(plan.Blob(3), "SEARCH")) << plan.Blob(3);
  }
}

TEST_F(SqliteCatalogTest, FindsChunksAndPacksByIndex) {
  ASSERT_OK(Open());
  const auto database = Database::Open(path_, Database::Mode::kReadOnly).value();
  // Of what SqliteTransaction asks; the last of them as it stands in packs.cc.
  const std::vector<const char*> queries = {
      "EXPLAIN QUERY PLAN SELECT refs FROM chunks WHERE chunk_id = x'00'",
      "EXPLAIN QUERY PLAN SELECT c.refs, p.blob_id, i.payload FROM chunks c LEFT JOIN packs p ON "
      "p.pack_id = "
      "c.pack_id LEFT JOIN chunk_payloads i ON i.chunk_no = c.chunk_no WHERE c.chunk_id = x'00'",
      "EXPLAIN QUERY PLAN SELECT c.refs, p.blob_id, i.payload FROM chunk_payloads i CROSS JOIN "
      "chunks c ON c.chunk_no = i.chunk_no LEFT JOIN packs p ON p.pack_id = c.pack_id WHERE "
      "i.chunk_no > 1 ORDER BY i.chunk_no LIMIT 1",
      "EXPLAIN QUERY PLAN SELECT MAX(chunk_no) FROM chunk_payloads",
      "EXPLAIN QUERY PLAN SELECT refs FROM chunks WHERE pack_id = 1 AND place > 2 ORDER BY place "
      "LIMIT 3",
      "EXPLAIN QUERY PLAN SELECT 1 FROM packs WHERE blob_id = x'00'",
      "EXPLAIN QUERY PLAN SELECT entries FROM recipe_parts WHERE recipe_id = 1 AND first_offset >= "
      "2 "
      "ORDER BY first_offset",
      "EXPLAIN QUERY PLAN SELECT 1 FROM packs WHERE size_bytes < 1000 ORDER BY size_bytes",
      "EXPLAIN QUERY PLAN SELECT v.version_id FROM versions v INDEXED BY versions_unmoved JOIN "
      "files f "
      "USING (file_id) WHERE v.version_id > 1 AND v.state <> 3 AND v.form < 3 AND v.chunk_no IS "
      "NULL AND v.recipe_id IS NULL ORDER BY v.version_id LIMIT 10"};
  for (const char* const sql : queries) {
    Query plan = database->Prepare(sql);
    while (plan.Step().value()) EXPECT_TRUE(absl::StartsWith(plan.Blob(3), "SEARCH")) << sql;
  }
  // All that is in this index is wanted, in its order.
  Query plan = database->Prepare(
      "EXPLAIN QUERY PLAN SELECT blob_id FROM packs WHERE damaged_bytes = 0 AND (condemned_epoch > "
      "0 OR waiting_bytes > 0 OR live_bytes = 0 OR (live_bytes * 3 < (size_bytes - footer_bytes) * "
      "2 AND size_bytes - footer_bytes - live_bytes > 16384)) ORDER BY condemned_epoch = 0, "
      "live_bytes > 0 LIMIT 10");
  ASSERT_OK(plan.Step());
  EXPECT_EQ(plan.Blob(3), "SCAN packs USING INDEX packs_to_rewrite");
  EXPECT_THAT(plan.Step(), testing::IsOkAndHolds(false));
}

}  // namespace
}  // namespace backup::storage
