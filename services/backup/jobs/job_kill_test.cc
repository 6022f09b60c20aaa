#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/boot_clock.h"
#include "base/status_macros.h"
#include "base/testing/status_matchers.h"
#include "content/store_keys.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/handlers/verify_store.h"
#include "services/backup/jobs/purge_trash.h"
#include "services/backup/jobs/retain.h"
#include "services/backup/jobs/runner.h"
#include "services/backup/jobs/scrub.h"
#include "services/backup/jobs/sweep.h"
#include "services/backup/jobs/testing/chunk_world.h"
#include "storage/blob_ledger.h"
#include "storage/local/local_blob_store.h"
#include "storage/sqlite/database.h"
#include "storage/sqlite/sqlite_catalog.h"
#include "storage/testing/ids.h"
#include "storage/testing/memory_folder.h"

namespace backup::jobs {
namespace {

using storage::Outcome;
using storage::Transaction;
using ::testing::ElementsAre;

constexpr absl::Duration kTtl = absl::Hours(168);
// What the processes that are killed end with, and those that throw.
constexpr int kKilled = 99;
constexpr int kThrew = 2;
// After which a process hangs, and is ended.
constexpr unsigned kProcessSeconds = 120;

// Steps as small as they can be, so that there are many.
class SmallSteps final : public Job {
 public:
  explicit SmallSteps(Job& job) : job_(job) {}
  absl::string_view name() const override { return job_.name(); }
  absl::StatusOr<Progress> Step(const std::string& cursor, int64_t /*budget*/,
                                const std::stop_token& token) override {
    return job_.Step(cursor, /*budget=*/2, token);
  }

 private:
  Job& job_;
};

// Runs of a job in processes of their own, on SQLite and files: killed at each point at which
// something changes, before and after it. GoogleTest runs these first, while the process has no
// threads.
class JobKillDeathTest : public ::testing::TestWithParam<std::string> {
 protected:
  // One process: what it opens goes with it.
  class Life {
   public:
    explicit Life(JobKillDeathTest& test)
        : world(test.OpenMedium()), watch(*world.medium.catalog, world.clock, boot_clock) {
      // What is asked of the clocks is another test's: all that is old is old.
      world.clock.Advance(absl::Hours(24 * 30));
      EXPECT_OK(watch.Resume());
    }
    void Run(const std::string& name) {
      Retain retain(*world.catalog, watch, world.clock, {{absl::UTCTimeZone(), kTtl}, 0});
      PurgeTrash purge(*world.catalog, world.clock, {kTtl}, [] {});
      Sweep sweep(*world.catalog, *world.blobs, *world.ledger, world.clock, Counter());
      Scrub scrub(world.resources(), world.places(), {kTtl, 0}, ScrubMetrics());
      Repack repack(world.resources(), {/*bytes_per_second=*/0, absl::ZeroDuration()}, Counter());
      const std::map<std::string, Job*> jobs = {{"retain", &retain},
                                                {"purge", &purge},
                                                {"sweep", &sweep},
                                                {"scrub", &scrub},
                                                {"repack", &repack}};
      Job& job = *jobs.at(name);
      if (name == "scrub") {
        const absl::Status done = world.RunUntilIdle(job);
        EXPECT_TRUE(done.ok() || world.death.has_come()) << done;
        return;
      }
      SmallSteps small(job);
      JobRun(small, {absl::Hours(1), 1'000'000}, *world.catalog, world.clock, {})
          .Run(std::stop_token());
    }

    ChunkWorld world;
    FakeBootClock boot_clock;
    retention::ClockWatch watch;
  };
  // Versions, by their numbers, and what is to become of them.
  struct Told {
    std::set<int64_t> stay;    // They stay for ever,
    std::set<int64_t> expire;  // go into the trash,
    std::set<int64_t> purge;   // or are in the trash for long enough.
  };

  std::string CatalogPath() const { return folder_ + "/catalog.db"; }
  Medium OpenMedium() {
    return {storage::SqliteCatalog::Open(CatalogPath()).value(),
            storage::LocalBlobStore::Open(folder_ + "/store").value(), sealed_secret_,
            ++processes_};
  }

  // What a process that does just this ends with: 1 if an expectation was not met; less than 0 if
  // it crashed or hung.
  int ExitOf(const std::function<void()>& work) {
    ++processes_;  // Whatever it opens is another process's.
    const pid_t child = ::fork();
    PCHECK(child >= 0);
    if (child == 0) {
      ::alarm(kProcessSeconds);
      try {
        work();
      } catch (...) {
        ::_exit(kThrew);
      }
      ::_exit(HasFailure() ? 1 : 0);
    }
    int status = 0;
    PCHECK(::waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  // What goes shares a chunk with what stays.
  static int64_t Store(ChunkWorld& world, const std::string& file,
                       std::optional<Outcome> outcome = Outcome::kVerified) {
    const int64_t version = world.next_version;
    world.Store(file, {RandomBytes(1000, 20'000), RandomBytes(static_cast<int>(version), 30'000)},
                {version % 2 == 0 ? storage::StorageForm::kSealed : storage::StorageForm::kPlain});
    if (outcome) {
      EXPECT_OK(world.catalog->Run([&](Transaction& transaction) {
        return transaction.SettleVersion({world.client, file, std::nullopt, *outcome},
                                         world.clock.Now());
      }));
    }
    return version;
  }
  static void Delete(ChunkWorld& world, const std::vector<int64_t>& ids) {
    EXPECT_OK(world.catalog->Run([&](Transaction& transaction) {
      return transaction.DeleteVersions(ids, {world.clock.Now()});
    }));
  }
  static ClientId AddClient(ChunkWorld& world, uint8_t number) {
    return world.catalog
        ->Run([&](Transaction& transaction) {
          return transaction.RegisterClient(absl::StrCat("client", number),
                                            storage::IdOf<ClientId>(number),
                                            storage::DuplicateNames::kReject, world.clock.Now());
        })
        ->id;
  }

  // More versions that retention removes than one transaction does.
  static void FillMany(ChunkWorld& world, Told& told) {
    for (int i = 0; i < Transaction::kMaxDeletedVersions + 2; ++i) {
      (i < Transaction::kMaxDeletedVersions ? told.expire : told.stay).insert(world.next_version);
      world.Store("many", {RandomBytes(1000, 20'000)});
      EXPECT_OK(world.catalog->Run([&](Transaction& transaction) {
        return transaction.SettleVersion({world.client, "many", std::nullopt, Outcome::kVerified},
                                         world.clock.Now());
      }));
    }
  }

  // What there is before the job runs.
  static Told Fill(ChunkWorld& world) {
    Told told;
    if (GetParam() == "retain") FillMany(world, told);
    EXPECT_OK(world.catalog->Run([&](Transaction& transaction) {
      return transaction.SetPolicy({{}, {.keep_last = 2}});
    }));
    for (const char* const file : {"a", "b", "c"}) {
      for (int i = 0; i < 3; ++i) told.expire.insert(Store(world, file));
      for (int i = 0; i < 2; ++i) told.stay.insert(Store(world, file));
    }
    told.expire.insert(Store(world, "unconfirmed", std::nullopt));
    for (int i = 0; i < 3; ++i) told.purge.insert(Store(world, "trashed"));
    Delete(world, {told.purge.begin(), told.purge.end()});
    const ClientId own = world.client;
    world.client = AddClient(world, 2);
    for (int i = 0; i < 5; ++i) told.purge.insert(Store(world, "of a client in the trash"));
    EXPECT_OK(world.catalog->Run([&](Transaction& transaction) {
      return transaction.DeleteClient(world.client, world.clock.Now());
    }));
    world.client = own;
    // What is damaged: a chunk, for which there is nothing, and a blob, for which there is.
    told.stay.insert(Store(world, "damaged"));
    const storage::StoredChunk bad = world.ChunksOf("damaged").back();
    world.Damage(bad.pack_blob, bad.offset + 5);
    for (const char* const file : {"whole", "equal"}) {
      told.stay.insert(world.next_version);
      world.StoreWhole(file, RandomBytes(2000, 100'000), storage::StorageForm::kPlain);
      EXPECT_OK(world.catalog->Run([&](Transaction& transaction) {
        return transaction.SettleVersion({world.client, file, std::nullopt, Outcome::kVerified},
                                         world.clock.Now());
      }));
    }
    world.Damage(world.BlobOf("whole"), 5);
    return told;
  }

  // From one process to the others.
  void Tell(const Told& told) const {
    std::ofstream out(temp_.path() + "/told");
    for (const auto* const ids : {&told.stay, &told.expire, &told.purge})
      out << absl::StrJoin(*ids, " ") << "\n";
  }
  Told ReadTold() const {
    Told told;
    std::ifstream in(temp_.path() + "/told");
    std::string line;
    for (auto* const ids : {&told.stay, &told.expire, &told.purge}) {
      std::getline(in, line);
      std::istringstream numbers(line);
      for (int64_t id = 0; numbers >> id;) ids->insert(id);
    }
    return told;
  }

  // Everything that is to be true at any time.
  void ExpectInvariants(Life& life) {
    std::map<int64_t, storage::StoredVersion> there;
    const auto versions = life.world.catalog->Read(
        [](storage::Snapshot& snapshot) { return snapshot.ScanVersions(0, 1000); });
    ASSERT_OK(versions);
    for (const storage::StoredVersion& each : *versions) there[each.version.version_id] = each;
    for (const int64_t id : told_.stay) {
      ASSERT_TRUE(there.contains(id)) << id;
      EXPECT_EQ(there[id].version.delete_time, std::nullopt) << id;
    }
    for (const int64_t id : told_.expire) EXPECT_TRUE(there.contains(id)) << id;
    for (const auto& [id, stored] : there) {
      const bool is_bad =
          stored.version.file_name == "damaged" || stored.version.file_name == "whole";
      if (!is_bad) ExpectReadable(life.world, stored);
    }
  }
  static void ExpectReadable(ChunkWorld& world, const storage::StoredVersion& stored) {
    const auto content = handlers::OpenContent(world.places(), stored);
    ASSERT_OK(content) << stored.version.version_id;
    const auto whole = (*content)->ReadWhole(world.stages.pieces);
    ASSERT_OK(whole) << stored.version.version_id;
    EXPECT_OK(ReadAll(**whole, size_t{1} << 30)) << stored.version.version_id;
  }
  int64_t NumberOf(const std::string& sql) const {
    const auto database =
        storage::Database::Open(CatalogPath(), storage::Database::Mode::kReadOnly).value();
    storage::Query query = database->Prepare(sql.c_str());
    EXPECT_THAT(query.Step(), testing::IsOkAndHolds(true)) << sql;
    return query.Int(0);
  }
  // What is counted is what there is.
  void ExpectCounts() const {
    const std::string all =
        "FROM versions v JOIN files f USING (file_id) JOIN clients c USING (client_id) WHERE ";
    const std::string live = all + "v.delete_time IS NULL AND c.delete_time IS NULL";
    const std::string trash = all + "(v.delete_time IS NOT NULL OR c.delete_time IS NOT NULL)";
    const std::string shown =
        "EXISTS (SELECT 1 FROM versions v WHERE v.file_id = f.file_id AND v.delete_time IS NULL)";
    const std::map<std::string, std::string> totals = {
        {"clients", "count(*) FROM clients WHERE delete_time IS NULL"},
        {"files",
         "count(*) FROM files f JOIN clients c USING (client_id) "
         "WHERE c.delete_time IS NULL AND " +
             shown},
        {"versions", "count(*) " + live},
        {"verified_versions", "count(*) " + live + " AND v.state = 2"},
        {"abandoned_versions", "count(*) " + live + " AND v.state = 3"},
        {"stored_bytes", "coalesce(sum(v.size_bytes), 0) " + live + " AND v.state <> 3"},
        {"trash_clients", "count(*) FROM clients WHERE delete_time IS NOT NULL"},
        {"trash_files",
         "count(*) FROM files f JOIN clients c USING (client_id) "
         "WHERE c.delete_time IS NOT NULL OR NOT " +
             shown},
        {"trash_versions", "count(*) " + trash},
        {"trash_bytes", "coalesce(sum(v.size_bytes), 0) " + trash + " AND v.state <> 3"},
        {"blob_bytes", "coalesce(sum(blob_size), 0) FROM versions"},
        {"dropped_blobs", "count(*) FROM dropped_blobs"},
        {"dropped_recipes", "count(*) FROM dropped_recipes"},
        {"packs", "count(*) FROM packs"},
        {"pack_bytes", "coalesce(sum(size_bytes), 0) FROM packs"},
        {"pack_live_bytes", "coalesce(sum(live_bytes), 0) FROM packs"},
        {"chunks", "count(*) FROM chunks WHERE refs > 0"}};
    for (const auto& [name, count] : totals) {
      EXPECT_EQ(NumberOf("SELECT " + name + " FROM totals"), NumberOf("SELECT " + count)) << name;
    }
    ExpectRowsAgree();
  }
  void ExpectRowsAgree() const {
    for (const char* const wrong :
         {"versions v JOIN dropped_blobs USING (blob_id)",
          "packs JOIN dropped_blobs USING (blob_id)",
          "packs p WHERE live_bytes <> (SELECT coalesce(sum(stored_size), 0) FROM chunks c "
          "WHERE c.pack_id = p.pack_id AND c.refs > 0)",
          "files f WHERE version_count <> (SELECT count(*) FROM versions v "
          "WHERE v.file_id = f.file_id AND v.delete_time IS NULL)",
          "clients c WHERE (file_count, trash_files) <> (SELECT coalesce(sum(version_count > 0), "
          "0), coalesce(sum(version_count = 0), 0) FROM files f WHERE f.client_id = c.client_id)",
          "clients c WHERE (version_count, verified_versions, abandoned_versions, stored_bytes, "
          "kept_bytes, trash_versions, trash_bytes) <> (SELECT "
          "coalesce(sum(v.delete_time IS NULL), 0), "
          "coalesce(sum(v.delete_time IS NULL AND v.state = 2), 0), "
          "coalesce(sum(v.delete_time IS NULL AND v.state = 3), 0), "
          "coalesce(sum(v.size_bytes * (v.delete_time IS NULL AND v.state <> 3)), 0), "
          "coalesce(sum(coalesce(v.kept_bytes, v.size_bytes) "
          "* (v.delete_time IS NULL AND v.state <> 3)), 0), "
          "coalesce(sum(v.delete_time IS NOT NULL), 0), "
          "coalesce(sum(v.size_bytes * (v.delete_time IS NOT NULL AND v.state <> 3)), 0) "
          "FROM versions v JOIN files f USING (file_id) WHERE f.client_id = c.client_id)"}) {
      EXPECT_EQ(NumberOf(absl::StrCat("SELECT count(*) FROM ", wrong)), 0) << wrong;
    }
  }

  // All jobs run to their end: what is left is what is to be left, and the store has nothing else.
  void ExpectTheEnd() {
    Life life(*this);
    for (const char* const job : {"retain", "purge", "scrub", "sweep", "repack", "sweep"})
      life.Run(job);
    ExpectInvariants(life);
    std::set<int64_t> live;
    std::set<int64_t> trash;
    const auto versions = life.world.catalog->Read(
        [](storage::Snapshot& snapshot) { return snapshot.ScanVersions(0, 1000); });
    ASSERT_OK(versions);
    std::map<int64_t, int64_t> refs;
    for (const auto& [version, content] : *versions) {
      (version.delete_time ? trash : live).insert(version.version_id);
      const auto* chunks = std::get_if<storage::ChunkList>(&content);
      if (chunks == nullptr) continue;
      const auto listed = life.world.catalog->Read(
          [&](storage::Snapshot& snapshot) { return snapshot.ListChunks(*chunks, 0, 1000); });
      ASSERT_OK(listed);
      for (const storage::StoredChunk& chunk : *listed) ++refs[chunk.number];
      for (const storage::StoredChunk& chunk : *listed) {
        EXPECT_TRUE(life.world.medium.blobs->Open(chunk.pack_blob).ok()) << version.version_id;
      }
    }
    EXPECT_EQ(live, told_.stay);
    EXPECT_EQ(trash, told_.expire);
    // No reference is lost or left over.
    for (const storage::PackInfo& pack : life.world.Packs()) {
      const auto chunks = life.world.catalog->Read([&](storage::Snapshot& snapshot) {
        return snapshot.ListPackChunks(pack.pack, -1, 1000);
      });
      ASSERT_OK(chunks);
      for (const storage::StoredChunk& chunk : *chunks) EXPECT_EQ(chunk.refs, refs[chunk.number]);
    }
    EXPECT_EQ(life.world.Count().healed_versions, 1);
    EXPECT_EQ(life.world.Count().set_aside_blobs, 1);
    ExpectOneFinding(life.world);
  }
  // Nor does anything stay behind of the processes that were there before.
  void ExpectNothingIsLeft() {
    Life life(*this);
    life.world.clock.Advance(2 * storage::BlobLedger::kLease);
    life.Run("sweep");
    EXPECT_EQ(NumberOf("SELECT (SELECT count(*) FROM pending_blobs) "
                       "+ (SELECT count(*) FROM pending_recipes) "
                       "+ (SELECT count(*) FROM dropped_recipes) "
                       "+ (SELECT count(*) FROM dropped_blobs)"),
              0);
    EXPECT_EQ(life.world.BlobCount(),
              NumberOf("SELECT (SELECT count(*) FROM packs) + (SELECT count(*) FROM "
                       "(SELECT blob_id FROM versions WHERE blob_id IS NOT NULL "
                       "UNION SELECT blob_id FROM set_aside_blobs))"));
  }
  // After a kill. What is counted is looked at before the next process changes anything.
  void ExpectAllIsRight() {
    ExpectCounts();
    {
      Life life(*this);
      ExpectInvariants(life);
    }
    ExpectTheEnd();
    ExpectCounts();
    ExpectNothingIsLeft();
  }
  // Nothing is missing, nor without a row, and what cannot be healed is told once.
  static void ExpectOneFinding(ChunkWorld& world) {
    std::vector<std::string> findings;
    PieceBudget budget;
    EXPECT_OK(handlers::VerifyStore(world.places(), budget, v1::VerifyStoreRequest(),
                                    [&](const v1::VerifyStoreResponse& event) {
                                      if (event.has_finding())
                                        findings.push_back(absl::StrCat(
                                            event.finding().file_name(), ": ",
                                            v1::VerifyFinding::Kind_Name(event.finding().kind())));
                                      return absl::OkStatus();
                                    }));
    EXPECT_THAT(findings, ElementsAre("damaged: DAMAGED"));
  }

  // Runs the job in a process that is killed at its change number `changes`, if it has so many.
  int KillAt(int changes, Death::When when) {
    return ExitOf([&] {
      Life life(*this);
      if (GetParam() == "sweep") life.Run("purge");
      life.world.death.comes = [&](absl::string_view point) {
        std::cerr << GetParam() << " is killed at change " << changes << ": " << point << std::endl;
        ::_exit(kKilled);
      };
      life.world.death.After(changes, when);
      life.Run(GetParam());
      // What nobody waited for: the process ends on the writer's thread, or is ended.
      while (life.world.death.has_come()) ::pause();
    });
  }

  const storage::MemoryFolder temp_;
  const std::string folder_ = temp_.path() + "/data";
  const crypto::KeyRing master_key_{std::string(32, 'k')};
  const std::string sealed_secret_ = content::StoreKeys::NewSealedSecret(master_key_);
  int processes_ = 0;
  Told told_;
};

TEST_P(JobKillDeathTest, LeavesEverythingRightAtEachPoint) {
  const std::string filled = temp_.path() + "/filled";
  std::filesystem::create_directory(folder_);
  ASSERT_EQ(ExitOf([this] {
              ChunkWorld world(OpenMedium());
              Tell(Fill(world));
            }),
            0);
  told_ = ReadTold();
  std::filesystem::rename(folder_, filled);
  int kills = 0;
  for (const Death::When when : {Death::When::kBefore, Death::When::kAfter}) {
    for (int changes = 1, exit_code = kKilled; exit_code == kKilled; ++changes) {
      ASSERT_LT(changes, 200);
      std::filesystem::remove_all(folder_);
      std::filesystem::copy(filled, folder_, std::filesystem::copy_options::recursive);
      exit_code = KillAt(changes, when);
      ASSERT_TRUE(exit_code == kKilled || exit_code == 0) << exit_code;
      kills += exit_code == kKilled;
      EXPECT_EQ(ExitOf([this] { ExpectAllIsRight(); }), 0) << "after change " << changes;
      if (HasFailure()) return;
    }
  }
  // So that none loses the points at which it is killed: retention has a second transaction.
  const std::map<std::string, int> least = {{"retain", 6}, {"purge", 20}, {"sweep", 10}};
  const auto found = least.find(GetParam());
  EXPECT_GE(kills, found == least.end() ? 4 : found->second);
}

INSTANTIATE_TEST_SUITE_P(Jobs, JobKillDeathTest,
                         ::testing::Values("retain", "purge", "sweep", "scrub", "repack"),
                         [](const auto& job) { return job.param; });

}  // namespace
}  // namespace backup::jobs
