// A catalog on a disk that loses what was not synced: whatever call the machine crashes in, and
// whatever a failed call leaves, what was told to be durable is there afterwards.
#include <cerrno>
#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/testing/fault_file_system.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/sqlite/sqlite_catalog.h"
#include "storage/sqlite/testing/disk_vfs.h"
#include "storage/testing/ids.h"

namespace backup::storage {
namespace {

using backup::testing::FaultFileSystem;
using Loss = FaultFileSystem::Loss;

constexpr char kPath[] = "/state/catalog.db";
constexpr absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);
constexpr int kWorks = 18;
constexpr int kAtOnce = 3;  // They wait for one commit.
// Every how many works the catalog is closed, and so its log emptied, and opened again.
constexpr int kPerOpening = 9;
// Where sanitizers make each round ten times as long.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) || defined(__clang__)
constexpr int kStride = 40;
#else
constexpr int kStride = 4;
#endif

std::string FileName(int work) { return absl::StrCat("file ", work); }
// Of some pages, some of less than one.
std::string ContentOf(int work) {
  return std::string(work % 4 == 3 ? 30'000 : 100, static_cast<char>('a' + work));
}
// The work whose file this one removes, if any: its pages are used again.
int RemovedBy(int work) { return work % 5 == 4 ? work - 3 : -1; }

absl::Status Do(int work, Transaction& transaction) {
  Version version;
  version.client_id = IdOf<ClientId>(1);
  version.file_name = FileName(work);
  version.version_id = work + 1;
  version.size_bytes = std::ssize(ContentOf(work));
  version.sha256 = std::string(32, 's');
  version.receive_time = kNow;
  version.upload_id = IdOf<UploadId>(static_cast<uint8_t>(work + 1));
  RETURN_IF_ERROR(transaction.AddVersion(version, ContentOf(work), {}).status());
  if (RemovedBy(work) < 0) return absl::OkStatus();
  return transaction.DeleteVersions({RemovedBy(work) + 1}, {kNow, /*for_good=*/true}).status();
}

// Some works one after the other; what was told of each. Those that nothing was told of were not
// begun.
class PowerLossTest : public ::testing::Test {
 protected:
  struct Machine {
    explicit Machine(uint64_t seed) : disk(seed), vfs(disk) {
      disk.MakeFolder("/state");
      disk.SyncFolder("/");
    }
    FaultFileSystem disk;
    DiskVfs vfs;
    std::vector<absl::Status> told;
  };

  static absl::StatusOr<std::unique_ptr<SqliteCatalog>> Open() {
    return SqliteCatalog::Open(kPath, {}, {.vfs = DiskVfs::kName});
  }

  // Puts a catalog with one client on the disk.
  static void Make(Machine& machine) {
    static const std::string& bytes = *new std::string(BytesOfNew());
    const std::unique_ptr<backup::File> file = machine.disk.Create(kPath, 0);
    ASSERT_EQ(file->WriteAt(0, bytes), std::ssize(bytes));
    ASSERT_TRUE(file->Sync());
    ASSERT_TRUE(machine.disk.SyncFolder("/state"));
  }

  static void DoAll(Machine& machine) {
    while (std::ssize(machine.told) < kWorks) {
      const auto catalog = Open();
      if (!catalog.ok()) return;
      const size_t end = machine.told.size() + kPerOpening;
      while (machine.told.size() < end) DoSome(**catalog, machine.told);
    }
  }

  static void DoSome(SqliteCatalog& catalog, std::vector<absl::Status>& told) {
    std::vector<std::promise<absl::Status>> outcomes(kAtOnce);
    for (std::promise<absl::Status>& outcome : outcomes) {
      const int work = static_cast<int>(told.size() + (&outcome - outcomes.data()));
      catalog.Submit([work](Transaction& transaction) { return Do(work, transaction); },
                     [&outcome](const absl::Status& status) { outcome.set_value(status); });
    }
    for (std::promise<absl::Status>& outcome : outcomes) told.push_back(outcome.get_future().get());
  }

  // What there is after a crash: whole, and with all that was told to be there.
  static void Check(const Machine& machine) {
    const auto catalog = Open();
    ASSERT_OK(catalog);
    EXPECT_OK((*catalog)->Check([] {}, {}));
    EXPECT_OK((*catalog)->damage());
    for (int work = 0; work < kWorks; ++work) CheckFile(machine, **catalog, work);
    // And it goes on.
    EXPECT_OK((*catalog)->Run(
        [](Transaction& transaction) { return transaction.TouchClient(IdOf<ClientId>(1), kNow); }));
  }

 private:
  static void CheckFile(const Machine& machine, SqliteCatalog& catalog, int work) {
    SCOPED_TRACE(FileName(work));
    const auto found = catalog.Read([&](Snapshot& snapshot) {
      return snapshot.FindVersion(IdOf<ClientId>(1), FileName(work), work + 1, true);
    });
    if (found.ok()) {
      EXPECT_EQ(found->content, Content(ContentOf(work)));
    }
    int remover = work;
    while (remover < kWorks && RemovedBy(remover) != work) ++remover;
    if (WasDone(machine, remover)) {
      EXPECT_FALSE(found.ok());
    } else if (WasDone(machine, work) && !WasBegun(machine, remover)) {
      EXPECT_OK(found);
    }
  }
  // Of a catalog's file, whose log is empty.
  static std::string BytesOfNew() {
    Machine machine(0);
    {
      const auto catalog = Open();
      EXPECT_OK(catalog);
      EXPECT_OK((*catalog)->Run([](Transaction& transaction) {
        return transaction.RegisterClient("c", IdOf<ClientId>(1), DuplicateNames::kReject, kNow)
            .status();
      }));
    }
    const std::unique_ptr<backup::File> file = machine.disk.Open(kPath, 0);
    std::string bytes(static_cast<size_t>(file->SizeBytes().value()), '\0');
    EXPECT_EQ(file->ReadAt(0, bytes), std::ssize(bytes));
    return bytes;
  }
  static bool WasBegun(const Machine& machine, int work) { return work < std::ssize(machine.told); }
  static bool WasDone(const Machine& machine, int work) {
    return WasBegun(machine, work) && machine.told[static_cast<size_t>(work)].ok();
  }
};

TEST_F(PowerLossTest, WhateverCallTheMachineCrashesIn) {
  for (const Loss loss : {Loss::kEverything, Loss::kAny}) {
    int nth = 1;
    for (bool struck = true; struck && !HasFailure(); nth += kStride) {
      SCOPED_TRACE(absl::StrCat("call ", nth, loss == Loss::kAny ? ", any loss" : ", all lost"));
      Machine machine(static_cast<uint64_t>(nth));
      Make(machine);
      machine.disk.StopAtNth(nth);
      DoAll(machine);
      struck = machine.disk.has_struck();
      machine.disk.Restart(loss);
      Check(machine);
    }
    EXPECT_GT(nth, kWorks);
  }
}

// A crash comes after it, too: what a failed call left must not be taken for durable.
TEST_F(PowerLossTest, WhateverCallFailsBefore) {
  for (const int error : {EIO, ENOSPC}) {
    int nth = 1;
    for (bool struck = true; struck && !HasFailure(); nth += kStride) {
      SCOPED_TRACE(absl::StrCat("call ", nth, error == EIO ? ", EIO" : ", ENOSPC"));
      Machine machine(static_cast<uint64_t>(nth));
      Make(machine);
      machine.disk.FailNth(nth, error);
      DoAll(machine);
      struck = machine.disk.has_struck();
      machine.disk.Restart(Loss::kAny);
      Check(machine);
    }
    EXPECT_GT(nth, kWorks);
  }
}

// The first start, with all migrations.
TEST_F(PowerLossTest, WhateverCallOfTheFirstStartTheMachineCrashesIn) {
  constexpr int kStartStride = 7 * kStride;
  int nth = 1;
  Loss loss = Loss::kAny;
  for (bool struck = true; struck && !HasFailure(); nth += kStartStride) {
    SCOPED_TRACE(absl::StrCat("call ", nth, loss == Loss::kAny ? ", any loss" : ", all lost"));
    Machine machine(static_cast<uint64_t>(nth));
    machine.disk.StopAtNth(nth);
    Open().status().IgnoreError();
    struck = machine.disk.has_struck();
    machine.disk.Restart(loss);
    EXPECT_OK(Open());
    loss = loss == Loss::kAny ? Loss::kEverything : Loss::kAny;
  }
  EXPECT_GT(nth, 2 * kStartStride);
}

}  // namespace
}  // namespace backup::storage
