#include <sqlite3.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/sqlite/sqlite_catalog.h"
#include "storage/sqlite/testing/fault_vfs.h"
#include "storage/testing/ids.h"
#include "storage/testing/memory_folder.h"

namespace backup::storage {
namespace {

constexpr int kFiles = 4;
constexpr int64_t kPageSize = 4096;
constexpr absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

std::string FileName(int i) { return absl::StrCat("file ", i); }

Version MakeVersion(int64_t version_id, const std::string& file_name) {
  Version version;
  version.client_id = IdOf<ClientId>(1);
  version.file_name = file_name;
  version.version_id = version_id;
  version.size_bytes = 5;
  version.sha256 = std::string(32, 's');
  version.receive_time = kNow;
  version.upload_id = IdOf<UploadId>(static_cast<uint8_t>(version_id));
  return version;
}

// Something to write, and how to see that it was written.
struct Change {
  std::string name;
  Catalog::Work work;
  std::function<bool(Snapshot&)> is_there;
};

Change Registers(uint8_t id) {
  const std::string name = absl::StrCat("client ", id);
  return {"register " + name,
          [=](Transaction& transaction) {
            return transaction
                .RegisterClient(name, IdOf<ClientId>(id), DuplicateNames::kReject, kNow)
                .status();
          },
          [=](Snapshot& snapshot) { return snapshot.FindClient(IdOf<ClientId>(id)).ok(); }};
}

Change Verifies(int file) {
  return {absl::StrCat("verify ", file),
          [=](Transaction& transaction) {
            return transaction
                .SettleVersion(
                    {IdOf<ClientId>(1), FileName(file), std::nullopt, Outcome::kVerified}, kNow)
                .status();
          },
          [=](Snapshot& snapshot) {
            return snapshot.FindVersion(IdOf<ClientId>(1), FileName(file), 0, false).ok();
          }};
}

Change Retries(int file) {
  const BlobId blob = IdOf<BlobId>(static_cast<uint8_t>(file));
  return {absl::StrCat("retry ", file),
          [=](Transaction& transaction) {
            return transaction
                .SettleVersion({IdOf<ClientId>(1), FileName(file),
                                IdOf<UploadId>(static_cast<uint8_t>(file)), Outcome::kRetrying},
                               kNow)
                .status();
          },
          [=](Snapshot& snapshot) {
            const bool gone =
                !snapshot.FindVersion(IdOf<ClientId>(1), FileName(file), file, false).ok();
            EXPECT_EQ(snapshot.FindBlob(blob).value() == BlobUse::kDropped, gone);
            return gone;
          }};
}

Change Adds(int64_t version_id, size_t size) {
  const Version version = MakeVersion(version_id, absl::StrCat("new ", version_id));
  return {absl::StrCat("add ", version_id),
          [=](Transaction& transaction) {
            return transaction.AddVersion(version, std::string(size, 'c'), {}).status();
          },
          [=](Snapshot& snapshot) {
            const auto found =
                snapshot.FindVersion(version.client_id, version.file_name, version_id, true);
            EXPECT_TRUE(!found.ok() || found->content == Content(std::string(size, 'c')));
            return found.ok();
          }};
}

// Fails on purpose after it has changed something, so that its savepoint is rolled back.
Change FailsAfter(Change change) {
  const Catalog::Work work = change.work;
  change.name += " and fail";
  change.work = [work](Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(work(transaction));
    return absl::AbortedError("on purpose");
  };
  return change;
}

// Only reads, which may end the transaction of all the others.
Change Reads(int file) {
  return {absl::StrCat("read ", file),
          [=](Transaction& transaction) {
            // An error of the disk may show as any: the work goes on as if there were no such file.
            transaction.FindVersion(IdOf<ClientId>(1), FileName(file), file, true)
                .status()
                .IgnoreError();
            return absl::OkStatus();
          },
          nullptr};
}

std::vector<Change> FirstBatch() {
  return {Adds(10, 9'000), Reads(2),   Verifies(0), FailsAfter(Adds(11, 50)),
          Registers(2),    Retries(1), Reads(3),    Adds(12, 10)};
}
std::vector<Change> SecondBatch() {
  return {Registers(3), Retries(3), FailsAfter(Registers(4)), Verifies(2)};
}

struct Fault {
  std::string name;
  FaultVfs::Op op;
  int code;
  int system_error = 0;
  bool is_rare = false;  // There may be none once it is open.
};

class SqliteFaults : public ::testing::Test {
 protected:
  // A catalog of one client with some files, of which the even ones are in the catalog and of many
  // pages.
  static void Prepare(const std::string& path) {
    const auto catalog = SqliteCatalog::Open(path).value();
    ASSERT_OK(catalog->Run(Registers(1).work));
    ASSERT_OK(catalog->Run([](Transaction& transaction) -> absl::Status {
      for (int i = 0; i < kFiles; ++i) {
        const BlobId blob = IdOf<BlobId>(static_cast<uint8_t>(i));
        RETURN_IF_ERROR(transaction.AddPendingBlobs({blob}, {IdOf<OwnerId>(1), kNow}));
        const NewContent content =
            i % 2 == 0 ? NewContent(std::string(9'000, 'o')) : NewContent(NewBlob{blob, 1});
        RETURN_IF_ERROR(
            transaction.AddVersion(MakeVersion(i + (i == 0 ? 100 : 0), FileName(i)), content, {})
                .status());
      }
      return absl::OkStatus();
    }));
  }

  // Runs the changes as one batch; returns what each was told. `acknowledged`, if given, gets each
  // that was told OK, when it is.
  static std::vector<absl::Status> RunBatch(Catalog& catalog, const std::vector<Change>& changes,
                                            std::vector<Change>* acknowledged = nullptr) {
    std::promise<void> arrived;
    std::promise<void> go_on;
    std::promise<void> ended;
    // Keeps the writer busy while the others come to wait. A batch that cannot begin runs no works.
    // Both of these run on the writer's thread.
    const auto arrive = [&, has_arrived = std::make_shared<bool>(false)] {
      if (!std::exchange(*has_arrived, true)) arrived.set_value();
    };
    catalog.Submit(
        [&, arrive, wait = go_on.get_future().share()](Transaction&) {
          arrive();
          wait.wait();
          return absl::OkStatus();
        },
        [&, arrive](const absl::Status&) {
          arrive();
          ended.set_value();
        });
    arrived.get_future().wait();
    std::vector<std::promise<absl::Status>> results(changes.size());
    for (size_t i = 0; i < changes.size(); ++i)
      catalog.Submit(changes[i].work, [&, i](const absl::Status& result) {
        if (result.ok() && acknowledged != nullptr) acknowledged->push_back(changes[i]);
        results[i].set_value(result);
      });
    go_on.set_value();
    ended.get_future().wait();
    std::vector<absl::Status> told;
    for (auto& result : results) told.push_back(result.get_future().get());
    return told;
  }

  static void ExpectAsTold(Catalog& catalog, const std::vector<Change>& changes,
                           const std::vector<absl::Status>& told) {
    ASSERT_OK(catalog.Read([&](Snapshot& snapshot) {
      for (size_t i = 0; i < changes.size(); ++i) {
        if (changes[i].is_there == nullptr) continue;
        const bool is_there = changes[i].is_there(snapshot);
        const std::optional<Reason> reason = ReasonOf(told[i]);
        if (told[i].ok()) {
          EXPECT_TRUE(is_there) << changes[i].name << " is lost";
        } else if (reason != Reason::kStorageIo && reason != Reason::kBackendDown) {
          EXPECT_FALSE(is_there) << changes[i].name << " is there despite of " << told[i];
        }
      }
      return absl::OkStatus();
    }));
  }

  static void ExpectIntact(const std::string& path) {
    const auto database = Database::Open(path, Database::Mode::kReadOnly).value();
    Query check = database->Prepare("PRAGMA integrity_check");
    ASSERT_OK(check.Step());
    EXPECT_EQ(check.Blob(0), "ok");
    Query count = database->Prepare(
        "SELECT (SELECT versions FROM totals) = (SELECT count(*) FROM versions), "
        "(SELECT dropped_blobs FROM totals) = (SELECT count(*) FROM dropped_blobs)");
    ASSERT_OK(count.Step());
    EXPECT_EQ(count.Int(0), 1);
    EXPECT_EQ(count.Int(1), 1);
  }

  FaultVfs vfs_;
};

class SqliteFaultsTest : public SqliteFaults, public ::testing::WithParamInterface<Fault> {};

// With the calls at which the process is killed.
class SqliteKillsTest : public SqliteFaults, public ::testing::WithParamInterface<FaultVfs::Op> {};

TEST_P(SqliteFaultsTest, WhoeverWasToldOkFindsItAgainAndWhoeverWasNotDoesNot) {
  const std::vector<Change> first = FirstBatch();
  const std::vector<Change> second = SecondBatch();
  const MemoryFolder prepared;
  Prepare(prepared.path() + "/catalog.db");
  bool has_failed = true;
  int runs = 0;
  for (int nth = 1; has_failed; ++nth, ++runs) {
    SCOPED_TRACE(absl::StrCat("call ", nth));
    const MemoryFolder folder;
    const std::string path = folder.path() + "/catalog.db";
    std::filesystem::copy_file(prepared.path() + "/catalog.db", path);
    std::vector<absl::Status> told_first;
    std::vector<absl::Status> told_second;
    {
      const auto catalog = SqliteCatalog::Open(path, {}, {vfs_.name()}).value();
      vfs_.FailNth(GetParam().op, nth, GetParam().code, GetParam().system_error);
      told_first = RunBatch(*catalog, first);
      told_second = RunBatch(*catalog, second);
    }
    has_failed = vfs_.has_failed();
    vfs_.FailNth(FaultVfs::Op::kNone, 0, SQLITE_OK);
    const auto reopened = SqliteCatalog::Open(path).value();
    ExpectAsTold(*reopened, first, told_first);
    ExpectAsTold(*reopened, second, told_second);
    ExpectIntact(path);
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(runs, GetParam().is_rare ? 0 : 2) << "nothing ever failed";
}

// What is in the files at the moment of the call is what a kill -9 leaves.
TEST_P(SqliteKillsTest, WhatWasAcknowledgedByThenIsThere) {
  const MemoryFolder prepared;
  Prepare(prepared.path() + "/catalog.db");
  bool was_killed = true;
  int runs = 0;
  for (int nth = 1; was_killed; ++nth, ++runs) {
    SCOPED_TRACE(absl::StrCat("call ", nth));
    const MemoryFolder folder;
    const MemoryFolder killed;
    std::filesystem::copy_file(prepared.path() + "/catalog.db", folder.path() + "/catalog.db");
    std::vector<Change> acknowledged;
    std::vector<Change> by_then;
    {
      const auto catalog =
          SqliteCatalog::Open(folder.path() + "/catalog.db", {}, {vfs_.name()}).value();
      vfs_.HookNth(GetParam(), nth, [&] {
        by_then = acknowledged;
        for (const char* const name : {"/catalog.db", "/catalog.db-wal"}) {
          if (std::filesystem::exists(folder.path() + name))
            std::filesystem::copy_file(folder.path() + name, killed.path() + name);
        }
      });
      RunBatch(*catalog, FirstBatch(), &acknowledged);
      RunBatch(*catalog, SecondBatch(), &acknowledged);
    }  // It writes its log back.
    was_killed = vfs_.has_failed();
    vfs_.FailNth(FaultVfs::Op::kNone, 0, SQLITE_OK);
    if (!was_killed) break;
    const std::string path = killed.path() + "/catalog.db";
    {
      const auto reopened = SqliteCatalog::Open(path);
      ASSERT_OK(reopened);
      ExpectAsTold(**reopened, by_then, std::vector<absl::Status>(by_then.size()));
    }
    ExpectIntact(path);
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(runs, 2) << "nobody was ever killed";
}

INSTANTIATE_TEST_SUITE_P(, SqliteKillsTest,
                         ::testing::Values(FaultVfs::Op::kWrite, FaultVfs::Op::kSync,
                                           FaultVfs::Op::kLock),
                         [](const auto& op) {
                           return op.param == FaultVfs::Op::kWrite  ? "AtWrites"
                                  : op.param == FaultVfs::Op::kSync ? "AtSyncs"
                                                                    : "AtLocks";
                         });

// What fails for a moment while it is checked or copied is not damage, after which nothing would be
// written any more; and nothing is copied that is not whole.
TEST_P(SqliteFaultsTest, WhatCannotBeCheckedOrCopiedIsNotDamaged) {
  const MemoryFolder prepared;
  Prepare(prepared.path() + "/catalog.db");
  bool has_failed = true;
  for (int nth = 1; has_failed; nth += 1 + nth / 8) {
    SCOPED_TRACE(absl::StrCat("call ", nth));
    const MemoryFolder folder;
    const std::string path = folder.path() + "/catalog.db";
    std::filesystem::copy_file(prepared.path() + "/catalog.db", path);
    const auto catalog = SqliteCatalog::Open(path, {}, {vfs_.name()}).value();
    vfs_.FailNth(GetParam().op, nth, GetParam().code, GetParam().system_error);
    const absl::Status checked = catalog->Check([] {}, {});
    const std::string copy = folder.path() + "/copy";
    const absl::Status copied = catalog->CopyTo(copy, [] {}, {});
    has_failed = vfs_.has_failed();
    vfs_.FailNth(FaultVfs::Op::kNone, 0, SQLITE_OK);
    EXPECT_NE(ReasonOf(checked), Reason::kStateCorrupt) << checked;
    EXPECT_NE(ReasonOf(copied), Reason::kStateCorrupt) << copied;
    EXPECT_OK(catalog->damage());
    EXPECT_OK(catalog->Run(Registers(9).work));
    if (copied.ok()) ExpectIntact(copy);
    ASSERT_FALSE(HasFailure());
  }
}

// A sector stays unreadable, in each page once: contents and their overflow, indices, SQLite's map
// of pages and what is free.
TEST_F(SqliteFaults, WhatStaysUnreadableIsNotDamaged) {
  const MemoryFolder folder;
  const std::string path = folder.path() + "/catalog.db";
  Prepare(path);
  ASSERT_OK(SqliteCatalog::Open(path).value()->Run([](Transaction& transaction) {
    return transaction.DeleteVersions({100}, {kNow, /*for_good=*/true});
  }));
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path));
  int unread = 0;
  for (int64_t offset = 0; offset < size; offset += kPageSize) {
    SCOPED_TRACE(absl::StrCat("page ", offset / kPageSize + 1));
    const auto catalog = SqliteCatalog::Open(path, {}, {vfs_.name()}).value();
    vfs_.FailReadsAt(offset, SQLITE_IOERR_READ, EIO);
    const absl::Status checked = catalog->Check([] {}, {});
    const absl::Status copied = catalog->CopyTo(folder.path() + "/copy", [] {}, {});
    vfs_.FailReadsAt(-1, SQLITE_OK, 0);
    if (ReasonOf(checked) == Reason::kStorageIo) ++unread;
    EXPECT_NE(ReasonOf(checked), Reason::kStateCorrupt) << checked;
    EXPECT_NE(ReasonOf(copied), Reason::kStateCorrupt) << copied;
    EXPECT_OK(catalog->damage());
    std::filesystem::remove(folder.path() + "/copy");
  }
  EXPECT_GT(unread, size / kPageSize / 2);
}

TEST_F(SqliteFaults, WhatIsDamagedIsFoundThoughAPageBesideItStaysUnreadable) {
  const MemoryFolder folder;
  const std::string path = folder.path() + "/catalog.db";
  Prepare(path);
  ASSERT_OK(SqliteCatalog::Open(path).value()->Run([](Transaction& transaction) -> absl::Status {
    for (int64_t id = 200; id < 400; ++id) {
      const std::string content(20'000, 'c');
      RETURN_IF_ERROR(
          transaction.AddVersion(MakeVersion(id, absl::StrCat("file ", id)), content, {}).status());
    }
    return absl::OkStatus();
  }));
  // Most pages are of contents, in the order in which these came.
  const auto pages = static_cast<int64_t>(std::filesystem::file_size(path)) / kPageSize;
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    const std::string rubbish(3 * kPageSize, '\x7f');
    file.seekp(pages / 2 * kPageSize).write(rubbish.data(), std::ssize(rubbish));
  }
  for (int64_t page = pages / 4; page < pages / 4 + 12; ++page) {
    SCOPED_TRACE(absl::StrCat("page ", page + 1));
    const auto catalog = SqliteCatalog::Open(path, {}, {vfs_.name()}).value();
    vfs_.FailReadsAt(page * kPageSize, SQLITE_IOERR_READ, EIO);
    EXPECT_THAT(catalog->Check([] {}, {}), testing::HasReason(Reason::kStateCorrupt));
    vfs_.FailReadsAt(-1, SQLITE_OK, 0);
  }
}

// Nothing that fails while it is opened, made or migrated leaves it worse.
TEST_P(SqliteFaultsTest, WhatCannotBeOpenedCanBeOnceNothingFails) {
  const MemoryFolder prepared;
  Prepare(prepared.path() + "/catalog.db");
  for (const bool is_new : {false, true}) {
    SCOPED_TRACE(is_new ? "a new one" : "one that is there");
    bool has_failed = true;
    // Of one that is made there are many calls: each of the first, and some of the others.
    for (int nth = 1; has_failed; nth += is_new ? 1 + nth / 8 : 1) {
      SCOPED_TRACE(absl::StrCat("call ", nth));
      const MemoryFolder folder;
      const std::string path = folder.path() + "/catalog.db";
      if (!is_new) std::filesystem::copy_file(prepared.path() + "/catalog.db", path);
      vfs_.FailNth(GetParam().op, nth, GetParam().code, GetParam().system_error);
      const absl::Status opened = SqliteCatalog::Open(path, {}, {vfs_.name()}).status();
      has_failed = vfs_.has_failed();
      vfs_.FailNth(FaultVfs::Op::kNone, 0, SQLITE_OK);
      EXPECT_TRUE(opened.ok() || ReasonOf(opened).has_value()) << opened;
      {
        const auto reopened = SqliteCatalog::Open(path);
        ASSERT_OK(reopened) << "after " << opened;
        ASSERT_OK((*reopened)->Read([&](Snapshot& snapshot) {
          return is_new ? snapshot.Count().status()
                        : snapshot.FindClient(IdOf<ClientId>(1)).status();
        }));
        ASSERT_OK((*reopened)->Run(Registers(9).work));
      }
      ExpectIntact(path);
      ASSERT_FALSE(HasFailure());
    }
  }
}

TEST_F(SqliteFaultsTest, FindsTheRoomThatWasReservedWhateverItIsThatWasFull) {
  const MemoryFolder folder;
  SpaceReserve reserve(folder.path() + "/reserve");
  ASSERT_TRUE(reserve.Restore());
  const std::string path = folder.path() + "/catalog.db";
  const auto catalog = SqliteCatalog::Open(path, {}, {vfs_.name(), &reserve}).value();
  ASSERT_OK(catalog->Run(Registers(1).work));
  const auto probe = [&] {
    return catalog->Run([](Transaction& transaction) { return transaction.ProbeWrite(); });
  };
  const std::vector<Fault> faults = {{"disk", FaultVfs::Op::kWrite, SQLITE_FULL},
                                     {"quota", FaultVfs::Op::kWrite, SQLITE_IOERR_WRITE, EDQUOT}};
  for (const Fault& fault : faults) {
    SCOPED_TRACE(fault.name);
    ASSERT_TRUE(reserve.Restore());
    vfs_.FailNth(fault.op, 1, fault.code, fault.system_error);
    EXPECT_OK(probe());
    EXPECT_TRUE(vfs_.has_failed());
    EXPECT_FALSE(reserve.is_whole());
  }
  // What may be in the log all the same is not run again, but the next finds room.
  ASSERT_TRUE(reserve.Restore());
  vfs_.FailNth(FaultVfs::Op::kSync, 1, SQLITE_IOERR_FSYNC, ENOSPC);
  EXPECT_THAT(probe(), testing::HasReason(Reason::kStorageIo));
  EXPECT_FALSE(reserve.is_whole());
  EXPECT_OK(probe());
}

INSTANTIATE_TEST_SUITE_P(
    , SqliteFaultsTest,
    ::testing::Values(Fault{"ReadFails", FaultVfs::Op::kRead, SQLITE_IOERR_READ},
                      Fault{"ReadFindsNoMemory", FaultVfs::Op::kRead, SQLITE_IOERR_NOMEM},
                      Fault{"WriteFails", FaultVfs::Op::kWrite, SQLITE_IOERR_WRITE},
                      Fault{"DiskIsFull", FaultVfs::Op::kWrite, SQLITE_FULL},
                      Fault{"QuotaIsExhausted", FaultVfs::Op::kWrite, SQLITE_IOERR_WRITE, EDQUOT},
                      Fault{"SyncFails", FaultVfs::Op::kSync, SQLITE_IOERR_FSYNC},
                      Fault{"NoFileCanBeOpened", FaultVfs::Op::kOpen, SQLITE_CANTOPEN, 0, true},
                      Fault{"CutFails", FaultVfs::Op::kTruncate, SQLITE_IOERR_TRUNCATE, 0, true},
                      Fault{"SizeCannotBeRead", FaultVfs::Op::kSize, SQLITE_IOERR_FSTAT, 0, true},
                      Fault{"IsLocked", FaultVfs::Op::kLock, SQLITE_BUSY},
                      Fault{"LockFails", FaultVfs::Op::kLock, SQLITE_IOERR_LOCK},
                      Fault{"IndexFindsNoMemory", FaultVfs::Op::kMap, SQLITE_NOMEM, 0, true},
                      Fault{"IndexFails", FaultVfs::Op::kMap, SQLITE_IOERR_SHMMAP, 0, true}),
    [](const auto& fault) { return fault.param.name; });

}  // namespace
}  // namespace backup::storage
