#include "services/backup/state_samples.h"

#include <fstream>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "base/status_macros.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/disk_use.h"
#include "services/backup/free_space.h"
#include "services/backup/handlers/scrub_state.h"
#include "services/backup/testing/memory_service.h"
#include "storage/memory/memory_catalog.h"
#include "storage/testing/temp_folder.h"

namespace backup {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::IsOkAndHolds;
using ::testing::Not;

TEST(StateSamples, TellWhatIsKept) {
  const storage::TempFolder folder;
  testing::MemoryService service;
  const std::string stored = service.Register("stored");
  service.Store(stored, "file", "content");
  service.uploads.inline_blob_limit = 0;
  service.Store(stored, "blob", "more content");
  service.clock.Advance(absl::Hours(37));
  const std::string fresh = service.Register("fresh");
  StringSource orphan("nobody's");
  ASSERT_OK(service.blobs.Put(storage::IdOf<BlobId>(1), orphan, std::nullopt));
  const storage::Counts counts = service.Count();
  EXPECT_GT(counts.pack_bytes, 12);
  Metrics metrics;
  metrics.AddCollector([&] {
    return SampleState({service.catalog, folder.path(), 1, absl::Hours(720),
                        handlers::DiskUse{30, 40, handlers::KeptSnapshots()}},
                       service.clock.Now());
  });
  EXPECT_THAT(metrics.Text(),
              AllOf(HasSubstr("backup_clients 2\n"), HasSubstr("backup_metrics_dropped_series 1\n"),
                    HasSubstr("backup_clients_stale{threshold=\"36h\"} 1\n"),
                    HasSubstr("backup_clients_stale{threshold=\"168h\"} 0\n"),
                    HasSubstr("backup_stored_bytes{kind=\"logical\"} 19\n"),
                    HasSubstr("backup_stored_bytes{kind=\"unique\"} 19\n"),
                    HasSubstr("backup_stored_bytes{kind=\"compressed\"} 19\n"),
                    HasSubstr(absl::StrCat("backup_stored_bytes{kind=\"physical\"} ",
                                           counts.pack_bytes + 30, "\n")),
                    HasSubstr("backup_db_size_bytes 30\n"),
                    HasSubstr(absl::StrCat("backup_stored_bytes{kind=\"garbage\"} ",
                                           counts.pack_bytes - 12, "\n")),
                    HasSubstr("backup_packs 1\n"), HasSubstr("backup_unmoved_versions 0\n"),
                    HasSubstr("backup_client_kept_bytes{client="),
                    HasSubstr("backup_versions{state=\"verified\"} 2\n"),
                    HasSubstr("backup_storage_read_only 0\n"), HasSubstr("backup_db_up 1\n")));
  EXPECT_THAT(
      metrics.Text(),
      AllOf(HasSubstr("backup_damaged{kind=\"chunk\"} 0\n"),
            HasSubstr("backup_damaged{kind=\"version\"} 0\n"),
            HasSubstr("backup_healed_total{kind=\"chunk\"} 0\n"),
            HasSubstr("backup_set_aside_blobs 0\n"), HasSubstr("backup_scrub_progress_ratio 1\n"),
            HasSubstr("backup_scrub_due_timestamp_seconds 0\n"),
            HasSubstr("backup_db_check_failed 0\n"), HasSubstr("backup_scrub_paused 0\n")));
}

TEST(StateSamples, TellOfACheckThatCouldNotBeDone) {
  const storage::TempFolder folder;
  testing::MemoryService service;
  Metrics metrics;
  metrics.AddCollector([&] {
    StateSource source = {service.catalog, folder.path(), 1, absl::Hours(720)};
    source.catalog_check_failed = true;
    return SampleState(source, service.clock.Now());
  });
  EXPECT_THAT(metrics.Text(), HasSubstr("backup_db_check_failed 1\n"));
}

TEST(StateSamples, TellOfGrowthOverWholeWindowsAlone) {
  const storage::TempFolder folder;
  testing::MemoryService service;
  const absl::Time begin = service.clock.Now();
  handlers::DiskUse disk = {1000, 500'000, handlers::KeptSnapshots()};
  const auto text = [&] {
    Metrics metrics;
    metrics.AddCollector([&] {
      return SampleState(
          {service.catalog, folder.path(), 1, absl::Hours(720), disk, service.clock.Now()},
          service.clock.Now());
    });
    return metrics.Text();
  };
  ASSERT_OK(service.catalog.Run([&](storage::Transaction& transaction) {
    return transaction.AddSizeNote({begin, -7000, 800});
  }));
  EXPECT_THAT(text(), AllOf(HasSubstr("backup_snapshots 0\n"),
                            HasSubstr("backup_snapshot_newest_timestamp_seconds 0\n"),
                            HasSubstr("backup_stored_bytes{kind=\"snapshots\"} 0\n"),
                            Not(HasSubstr("backup_growth_bytes_per_day")),
                            Not(HasSubstr("backup_storage_full_in_seconds"))));
  service.clock.Advance(absl::Hours(7 * 24));
  EXPECT_THAT(text(),
              AllOf(HasSubstr("window=\"7d\""), Not(HasSubstr("backup_storage_full_in_seconds"))));
  service.clock.Advance(absl::Hours(24));
  EXPECT_THAT(
      text(),
      AllOf(HasSubstr("backup_growth_bytes_per_day{kind=\"disk\",window=\"7d\"} 1000\n"),
            HasSubstr("backup_growth_bytes_per_day{kind=\"logical\",window=\"1d\"} -100\n"),
            Not(HasSubstr("window=\"30d\"")),
            HasSubstr(absl::StrCat("backup_storage_full_in_seconds ", 500 * 24 * 3600, "\n"))));
  disk.room_bytes = 0;
  EXPECT_THAT(text(), HasSubstr("backup_storage_full_in_seconds 0\n"));
}

TEST(StateSamples, TellNothingOfADiskThatCannotBeLookedAt) {
  const storage::TempFolder folder;
  testing::MemoryService service;
  Metrics metrics;
  metrics.AddCollector([&] {
    return SampleState(
        {service.catalog, folder.path(), 1, absl::Hours(720),
         LookAtDisk(absl::StrCat(folder.path(), "/missing"), service.catalog), service.clock.Now()},
        service.clock.Now());
  });
  EXPECT_THAT(
      metrics.Text(),
      AllOf(HasSubstr("backup_db_up 1\n"), Not(HasSubstr("backup_db_size_bytes")),
            Not(HasSubstr("kind=\"physical\"")), Not(HasSubstr("backup_storage_full_in_seconds"))));
}

TEST(DiskUse, LeavesTheReserveOutOfTheRoom) {
  constexpr int64_t kMib = 1 << 20;
  // A sixteenth of a small disk, 64 MiB of a large one.
  EXPECT_EQ(RoomOf({160 * kMib, 100 * kMib, 1}), 90 * kMib);
  EXPECT_EQ(RoomOf({1'000'000 * kMib, 100 * kMib, 1}), 36 * kMib);
  EXPECT_EQ(RoomOf({1'000'000 * kMib, 64 * kMib, 1}), 0);
  EXPECT_EQ(RoomOf({1'000'000 * kMib, 1 * kMib, 1}), 0);
}

TEST(DiskUse, SaysWhatItFinds) {
  const storage::TempFolder folder;
  storage::MemoryCatalog catalog;
  EXPECT_FALSE(LookAtDisk(folder.path(), catalog).catalog_bytes.ok());
  std::ofstream(absl::StrCat(folder.path(), "/catalog.db")) << "catalog";
  const handlers::DiskUse disk = LookAtDisk(folder.path(), catalog);
  EXPECT_THAT(disk.catalog_bytes, IsOkAndHolds(7));
  ASSERT_OK(disk.snapshots);
  EXPECT_EQ(disk.snapshots->count, 0);
  ASSERT_OK(disk.room_bytes);
  const absl::StatusOr<FreeSpace> space = LookAt(folder.path());
  ASSERT_OK(space);
  EXPECT_LT(*disk.room_bytes, space->disk_bytes);
}

TEST(StateSamples, TellOfQuotasAndWhatIsUsedOfThem) {
  const storage::TempFolder folder;
  testing::MemoryService service;
  const std::string first = service.Register("first");
  const std::string second = service.Register("second");
  service.Store(first, "file", "content");
  const auto text = [&] {
    Metrics metrics;
    metrics.AddCollector([&] {
      return SampleState({service.catalog, folder.path(), 2, absl::ZeroDuration()},
                         service.clock.Now());
    });
    return metrics.Text();
  };
  EXPECT_THAT(text(), AllOf(HasSubstr("backup_clients_beyond_soft_limits 0\n"),
                            Not(HasSubstr("_quota_")), Not(HasSubstr("backup_client_files"))));
  EXPECT_OK(service.catalog.Run([&](storage::Transaction& transaction) -> absl::Status {
    using storage::QuotaKind;
    RETURN_IF_ERROR(transaction.SetQuota({{{}, QuotaKind::kStore}, {.soft_bytes = 9}}));
    RETURN_IF_ERROR(transaction.SetQuota({{{}, QuotaKind::kEveryClient}, {.hard_files = 5}}));
    return transaction.SetQuota(
        {{*FromUuid<ClientId>(first), QuotaKind::kClient}, {.soft_bytes = 6, .hard_bytes = 8}});
  }));
  const auto of = [](absl::string_view client, absl::string_view limit) {
    return absl::StrCat("{client=\"", client, "\",limit=\"", limit, "\"} ");
  };
  EXPECT_THAT(
      text(),
      AllOf(HasSubstr("backup_clients_beyond_soft_limits 1\n"),
            HasSubstr("backup_store_used_bytes 7\n"), HasSubstr("backup_store_used_files 1\n"),
            HasSubstr("backup_store_quota_bytes{limit=\"soft\"} 9\n"),
            HasSubstr(absl::StrCat("backup_client_quota_bytes", of(first, "soft"), "6\n")),
            HasSubstr(absl::StrCat("backup_client_quota_bytes", of(first, "hard"), "8\n")),
            HasSubstr(absl::StrCat("backup_client_quota_files", of(second, "hard"), "5\n")),
            HasSubstr(absl::StrCat("backup_client_files{client=\"", second, "\"} 0\n"))));
}

TEST(StateSamples, TellByWhenEverythingIsToHaveBeenRead) {
  const storage::TempFolder folder;
  testing::MemoryService service;
  handlers::ScrubState state;
  state.start_time = absl::FromUnixSeconds(1000);
  state.total_steps = 4;
  state.done_steps = 1;
  const auto text = [&](absl::Duration period) {
    EXPECT_OK(service.catalog.Run([&](storage::Transaction& transaction) {
      return handlers::SaveScrub(transaction, state);
    }));
    Metrics metrics;
    metrics.AddCollector([&] {
      return SampleState({service.catalog, folder.path(), 1, period}, service.clock.Now());
    });
    return metrics.Text();
  };
  EXPECT_THAT(text(absl::Seconds(50)),
              AllOf(HasSubstr("backup_scrub_due_timestamp_seconds 1050\n"),
                    HasSubstr("backup_scrub_last_complete_timestamp_seconds 0\n"),
                    HasSubstr("backup_scrub_progress_ratio 0.25\n")));
  EXPECT_THAT(text(absl::ZeroDuration()), HasSubstr("backup_scrub_due_timestamp_seconds 0\n"));
  state.start_time.reset();
  state.last_start_time = absl::FromUnixSeconds(1000);
  state.last_end_time = absl::FromUnixSeconds(1010);
  state.is_paused = true;
  EXPECT_THAT(text(absl::Seconds(50)),
              AllOf(HasSubstr("backup_scrub_due_timestamp_seconds 1100\n"),
                    HasSubstr("backup_scrub_last_complete_timestamp_seconds 1010\n"),
                    HasSubstr("backup_scrub_paused 1\n")));
}

}  // namespace
}  // namespace backup
