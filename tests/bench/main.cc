// backup-bench: starts a service and a bridge, loads both with old clients, and prints what it
// measured beside what the machine can do at best.

#include <stdlib.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "gflags/gflags.h"
#include "glog/logging.h"
#include "tests/bench/bare_echo.h"
#include "tests/bench/catalog_load.h"
#include "tests/bench/generations.h"
#include "tests/bench/other_servers.h"
#include "tests/bench/report.h"
#include "tests/bench/throttled_disk.h"
#include "tests/bench/timing.h"

DEFINE_string(bin_dir, "", "where the programs are; empty: beside this one");
DEFINE_string(work_dir, "/var/tmp", "where the data goes for the time of the measurement");
DEFINE_string(only, "",
              "of files, others, restore, known, small, generations, repacking, retention, scrub, "
              "snapshots, sessions, postgres, fairness, crowds, catalog, chunks: comma-separated; "
              "empty: all");
DEFINE_int32(file_mebibytes, 1024, "size of a large file");
DEFINE_int32(throttle_mb_per_second, 0,
             "as if the disk could read and write no more than that, by a control group; 0: as it "
             "is. Takes root");
DEFINE_int32(largest_mebibytes, 4032,
             "size of the largest one; the protocol's fields end at 4 GiB");
DEFINE_int32(runs, 3, "how often a large file is sent");
DEFINE_string(clients, "1,8,16,64", "how many clients play sessions at once");
DEFINE_int32(seconds, 4, "how long they do");
DEFINE_string(catalog_versions, "1000000,10000000", "sizes of catalogs");
DEFINE_string(generations, "",
              "folders to back up one after the other, comma-separated; empty: made ones");
DEFINE_int32(generation_count, 10, "how many generations are made");
DEFINE_string(
    earlier_bin_dir, "",
    "where programs of an earlier version are, to be measured beside in the section known");
DEFINE_string(servers_dir, "",
              "where packages of servers to compare with are unpacked; empty: as installed");
DEFINE_string(json_file, "", "file to write the figures to as well, one JSON object a line");

namespace backup::bench {
namespace {

constexpr int kFailed = 1;
constexpr int kIdleConnections = 10'000;
constexpr int kSlowUploads = 1000;
constexpr int kSlowUploadMebibytes = 32;
// What the size fields of the legacy protocol cannot say.
constexpr int kTooManyMebibytes = 4096;
constexpr int kBackupMebibytes = 1024;    // Of what is restored.
constexpr int kComparedMebibytes = 1024;  // Of what other servers receive as well.
constexpr int kKnownMebibytes = 1024;     // Of what is sent again.
constexpr int kRepackedMebibytes = 1024;  // Of small packs.
constexpr int64_t kRetainedVersions = 1'000'000;
constexpr int kScrubbedMebibytes = 1024;          // Of packs.
constexpr int kCatalogMebibytes = 1024;           // Of what a snapshot is taken of.
constexpr int kManyClients = 64;                  // Beside what the service does by itself.
constexpr int64_t kChunks = 10'000'000;           // Of a large catalog,
constexpr int64_t kVersionsOfChunks = 1'000'000;  // and the versions that have them.
constexpr int kSmallFiles = 3653;                 // As the releases of a Python package have.

bool ValidatePositive(const char* flag, int32_t value) {
  if (value > 0) return true;
  std::cerr << "--" << flag << " must be above 0\n";
  return false;
}
bool ValidateFileSize(const char* flag, int32_t value) {
  if (value > 0 && value < kTooManyMebibytes) return true;
  std::cerr << "--" << flag << " must be above 0 and below " << kTooManyMebibytes << "\n";
  return false;
}
DEFINE_validator(file_mebibytes, &ValidateFileSize);
DEFINE_validator(largest_mebibytes, &ValidateFileSize);
DEFINE_validator(runs, &ValidatePositive);
DEFINE_validator(generation_count, &ValidatePositive);
DEFINE_validator(seconds, &ValidatePositive);

bool ValidateNumbers(const char* flag, const std::string& value) {
  for (const auto text : absl::StrSplit(value, ',')) {
    int64_t number = 0;
    if (absl::SimpleAtoi(text, &number) && number > 0) continue;
    std::cerr << "--" << flag << " takes numbers above 0, with commas between\n";
    return false;
  }
  return true;
}
DEFINE_validator(clients, &ValidateNumbers);
DEFINE_validator(catalog_versions, &ValidateNumbers);

std::vector<int64_t> Numbers(const std::string& flag) {
  std::vector<int64_t> numbers;
  for (const auto text : absl::StrSplit(flag, ',')) {
    numbers.push_back(0);
    CHECK(absl::SimpleAtoi(text, &numbers.back()));
  }
  return numbers;
}

// Those in the folder `dir`; empty: beside this one.
Programs FindPrograms(const std::string& bin_dir) {
  const std::string own_dir =
      std::filesystem::read_symlink("/proc/self/exe").parent_path().string();
  const std::string& dir = bin_dir.empty() ? own_dir : bin_dir;
  const auto path = [&](absl::string_view name) { return absl::StrCat(dir, "/", name); };
  const auto own_path = [&](absl::string_view name) { return absl::StrCat(own_dir, "/", name); };
  return {path("backup-service"), path("backup-bridge"), path("legacy-client"), path("backupctl"),
          own_path("bare-echo")};
}

int64_t Bytes(int64_t mebibytes) { return mebibytes << 20; }

// Everything that is measured, section by section. Used by one thread at a time.
class Bench {
 public:
  explicit Bench(std::string dir) : dir_(std::move(dir)) {}

  absl::Status Run() {
    ASSIGN_OR_RETURN(limits_, MeasurePhysicalLimits(dir_, Bytes(FLAGS_file_mebibytes)));
    Add(ReportLimits(limits_));
    RETURN_IF_ERROR(RunSection("files", [this] { return MeasureFiles(); }));
    RETURN_IF_ERROR(RunSection("others", [this] { return MeasureOthers(); }));
    RETURN_IF_ERROR(RunSection("restore", [this] { return MeasureRestores(); }));
    RETURN_IF_ERROR(RunSection("known", [this] { return MeasureKnown(); }));
    RETURN_IF_ERROR(RunSection("small", [this] { return MeasureSmall(); }));
    RETURN_IF_ERROR(RunSection("generations", [this] { return MeasureAllGenerations(); }));
    RETURN_IF_ERROR(RunSection("repacking", [this] { return MeasureAllRepacking(); }));
    RETURN_IF_ERROR(RunSection("retention", [this] { return MeasureAllRetention(); }));
    RETURN_IF_ERROR(RunSection("scrub", [this] { return MeasureScrubbing(); }));
    RETURN_IF_ERROR(RunSection("snapshots", [this] { return MeasureSnapshots(); }));
    RETURN_IF_ERROR(RunSection("sessions", [this] { return MeasureSessions(); }));
    RETURN_IF_ERROR(RunSection("postgres", [this] { return MeasureCatalogsCompared(); }));
    RETURN_IF_ERROR(RunSection("fairness", [this] { return MeasureOneBesideAnother(); }));
    RETURN_IF_ERROR(RunSection("crowds", [this] { return MeasureCrowds(); }));
    RETURN_IF_ERROR(RunSection("catalog", [this] { return MeasureCatalogs(); }));
    return RunSection("chunks", [this] { return MeasureChunkCatalog(); });
  }
  const std::vector<Figure>& figures() const { return figures_; }

 private:
  // In a folder and, but for the last, with servers of its own, so that memory is that of one load.
  absl::Status RunSection(absl::string_view name, const std::function<absl::Status()>& measure) {
    const std::vector<std::string> only = absl::StrSplit(FLAGS_only, ',');
    if (!FLAGS_only.empty() && std::find(only.begin(), only.end(), name) == only.end())
      return absl::OkStatus();
    std::cerr << "backup-bench: " << name << "\n";
    section_dir_ = absl::StrCat(dir_, "/", name);
    std::filesystem::create_directory(section_dir_);
    RETURN_IF_ERROR(measure());
    servers_ = nullptr;
    std::filesystem::remove_all(section_dir_);
    return absl::OkStatus();
  }

  absl::Status StartServers() {
    ASSIGN_OR_RETURN(servers_, ServerPair::Start(programs_, section_dir_));
    return absl::OkStatus();
  }

  absl::StatusOr<LargeFileResult> SendByRealClient(int64_t mebibytes, int runs) {
    const std::string client_dir = absl::StrCat(section_dir_, "/client");
    std::filesystem::create_directory(client_dir);
    return MeasureLargeFile(*servers_, programs_.client, client_dir, Bytes(mebibytes), runs);
  }

  absl::Status MeasureFiles() {
    RETURN_IF_ERROR(StartServers());
    ASSIGN_OR_RETURN(const PreparedLoadResult single,
                     MeasurePreparedLoad(*servers_, 1, Bytes(FLAGS_file_mebibytes), FLAGS_runs));
    Add(ReportPreparedFile(
        absl::StrCat("one file of ", FLAGS_file_mebibytes, " MiB, ciphertext prepared"), single,
        limits_));
    ASSIGN_OR_RETURN(const LargeFileResult live,
                     SendByRealClient(FLAGS_file_mebibytes, FLAGS_runs));
    Add(ReportLargeFile(
        absl::StrCat("one file of ", FLAGS_file_mebibytes, " MiB by legacy-client, which encrypts"),
        live, limits_));
    ASSIGN_OR_RETURN(const PreparedLoadResult largest,
                     MeasurePreparedLoad(*servers_, 1, Bytes(FLAGS_largest_mebibytes), 1));
    Add(ReportPreparedFile(
        absl::StrCat("one file of ", FLAGS_largest_mebibytes, " MiB, ciphertext prepared"), largest,
        limits_));
    for (const int clients : {8, 64}) {
      const int64_t mebibytes = std::max(1, FLAGS_largest_mebibytes / clients);
      ASSIGN_OR_RETURN(const PreparedLoadResult load,
                       MeasurePreparedLoad(*servers_, clients, Bytes(mebibytes), 1));
      Add(ReportPreparedLoad(absl::StrCat(clients, " files of ", mebibytes, " MiB at once"), load,
                             single));
    }
    Add({{"peak resident memory, all files above",
          "bridge",
          servers_->bridge.PeakResidentMebibytes(),
          "MiB",
          {},
          {}},
         {"peak resident memory, all files above",
          "service",
          servers_->service.PeakResidentMebibytes(),
          "MiB",
          {},
          {}}});
    return absl::OkStatus();
  }

  // In turn, so that what the machine does meanwhile meets all of them.
  absl::Status MeasureOthers() {
    RETURN_IF_ERROR(StartServers());
    ASSIGN_OR_RETURN(const auto others, StartOtherServers(FLAGS_servers_dir, section_dir_));
    if (others.empty()) return absl::OkStatus();
    const int64_t size = Bytes(kComparedMebibytes);
    std::vector<double> ours;
    std::map<std::string, std::vector<double>> speeds;
    for (int run = 0; run < FLAGS_runs; ++run) {
      ASSIGN_OR_RETURN(const PreparedLoadResult load, MeasurePreparedLoad(*servers_, 1, size, 1));
      ours.push_back(load.median_mb_per_second);
      for (const auto& other : others) {
        ASSIGN_OR_RETURN(const double seconds, other->Upload(size));
        speeds[other->name()].push_back(static_cast<double>(size) / kBytesPerMegabyte / seconds);
      }
    }
    std::map<std::string, double> medians;
    for (const auto& [name, values] : speeds) medians[name] = Median(values);
    Add(ReportComparison(absl::StrCat("the same upload of ", kComparedMebibytes,
                                      " MiB to other servers, durable at the end"),
                         Median(ours), medians));
    return absl::OkStatus();
  }

  absl::Status MeasureRestores() {
    RETURN_IF_ERROR(StartServers());
    RETURN_IF_ERROR(SendByRealClient(kBackupMebibytes, 1).status());
    const auto measure = [&](StoredWhere where) {
      return MeasureRestore(*servers_, programs_.backupctl, section_dir_, kLargeFileClient,
                            Bytes(kBackupMebibytes), FLAGS_runs, where);
    };
    const std::string what =
        absl::StrCat("restore of ", kBackupMebibytes, " MiB by backupctl to the disk, from ");
    ASSIGN_OR_RETURN(const RestoreResult from_memory, measure(StoredWhere::kPageCache));
    Add(ReportRestore(what + "the page cache", from_memory, limits_.disk_write_mb_per_second));
    ASSIGN_OR_RETURN(const RestoreResult from_disk, measure(StoredWhere::kDisk));
    Add(ReportRestore(what + "that disk", from_disk, limits_.disk_copy_mb_per_second));
    return absl::OkStatus();
  }

  absl::StatusOr<PreparedLoadResult> SendPrepared(const Programs& programs, const std::string& name,
                                                  Known known) {
    const std::string dir = absl::StrCat(section_dir_, "/", name);
    std::filesystem::create_directory(dir);
    ASSIGN_OR_RETURN(const auto servers, ServerPair::Start(programs, dir));
    ASSIGN_OR_RETURN(const PreparedLoadResult result,
                     MeasurePreparedLoad(*servers, 1, Bytes(kKnownMebibytes), FLAGS_runs, known));
    std::filesystem::remove_all(dir);
    return result;
  }

  absl::Status MeasureKnown() {
    std::optional<PreparedLoadResult> earlier;
    if (!FLAGS_earlier_bin_dir.empty()) {
      ASSIGN_OR_RETURN(earlier,
                       SendPrepared(FindPrograms(FLAGS_earlier_bin_dir), "earlier", Known::kNo));
    }
    ASSIGN_OR_RETURN(const PreparedLoadResult fresh, SendPrepared(programs_, "new", Known::kNo));
    ASSIGN_OR_RETURN(const PreparedLoadResult known, SendPrepared(programs_, "known", Known::kYes));
    Add(ReportKnownContent(
        absl::StrCat("one file of ", kKnownMebibytes, " MiB that does not shrink, new and known"),
        fresh, known, earlier));
    return absl::OkStatus();
  }

  absl::Status MeasureSmall() {
    ASSIGN_OR_RETURN(const SmallFilesResult result,
                     MeasureSmallFiles(programs_, section_dir_, kSmallFiles));
    Add(ReportSmallFiles(result));
    return absl::OkStatus();
  }

  absl::Status MeasureAllGenerations() {
    const std::vector<std::string> sources =
        absl::StrSplit(FLAGS_generations, ',', absl::SkipEmpty());
    ASSIGN_OR_RETURN(const std::vector<GenerationResult> results,
                     MeasureGenerations(programs_, section_dir_, sources, FLAGS_generation_count));
    const int count = static_cast<int>(results.size());
    for (int i = 0; i < count; ++i)
      Add(ReportGeneration(i + 1, count, results[static_cast<size_t>(i)]));
    return absl::OkStatus();
  }

  absl::Status MeasureAllRepacking() {
    ASSIGN_OR_RETURN(const RepackingResult result,
                     MeasureRepacking(programs_, section_dir_, Bytes(kRepackedMebibytes)));
    Add(ReportRepacking(result));
    return absl::OkStatus();
  }

  absl::Status MeasureAllRetention() {
    ASSIGN_OR_RETURN(const RetentionResult result,
                     MeasureRetention(programs_, section_dir_, kRetainedVersions, kManyClients,
                                      absl::Seconds(FLAGS_seconds), FLAGS_runs));
    Add(ReportRetention(kRetainedVersions, result));
    return absl::OkStatus();
  }

  absl::Status MeasureScrubbing() {
    ASSIGN_OR_RETURN(const ScrubResult result,
                     MeasureScrub(programs_, section_dir_, Bytes(kScrubbedMebibytes), FLAGS_runs));
    Add(ReportScrub(result));
    return absl::OkStatus();
  }

  absl::Status MeasureSnapshots() {
    ASSIGN_OR_RETURN(const SnapshotResult result,
                     MeasureSnapshot(programs_, section_dir_, Bytes(kCatalogMebibytes),
                                     kManyClients, absl::Seconds(FLAGS_seconds), FLAGS_runs));
    Add(ReportSnapshot(result));
    return absl::OkStatus();
  }

  absl::Status MeasureSessions() {
    RETURN_IF_ERROR(StartServers());
    for (const int64_t clients : Numbers(FLAGS_clients)) {
      ASSIGN_OR_RETURN(
          const SessionLoadResult load,
          MeasureSessionLoad(*servers_, static_cast<int>(clients), absl::Seconds(FLAGS_seconds)));
      Add(ReportSessions(static_cast<int>(clients), load, limits_));
      const std::string dir = absl::StrCat(section_dir_, "/bare ", clients);
      std::filesystem::create_directory(dir);
      ASSIGN_OR_RETURN(
          const BareEchoResult bare,
          MeasureBareEcho(programs_, dir, static_cast<int>(clients), absl::Seconds(FLAGS_seconds)));
      Add(ReportAgainstBare(static_cast<int>(clients), load, bare));
    }
    return absl::OkStatus();
  }

  absl::Status MeasureCatalogsCompared() {
    for (const int64_t clients : Numbers(FLAGS_clients)) {
      const std::string dir = absl::StrCat(section_dir_, "/", clients);
      std::filesystem::create_directory(dir);
      ASSIGN_OR_RETURN(const std::optional<CatalogLoadResult> load,
                       MeasureCatalogLoad(programs_, dir, static_cast<int>(clients),
                                          absl::Seconds(FLAGS_seconds), FLAGS_runs));
      if (!load) {
        std::cerr << "backup-bench: PostgreSQL is not installed, so it is not compared\n";
        break;
      }
      Add(ReportCatalogLoad(static_cast<int>(clients), *load));
    }
    return absl::OkStatus();
  }

  absl::Status MeasureOneBesideAnother() {
    RETURN_IF_ERROR(StartServers());
    ASSIGN_OR_RETURN(
        const FairnessResult fairness,
        MeasureFairness(*servers_, Bytes(FLAGS_largest_mebibytes), absl::Seconds(FLAGS_seconds)));
    Add(ReportFairness(fairness));
    return absl::OkStatus();
  }

  absl::Status MeasureCrowds() {
    const absl::Duration duration = absl::Seconds(FLAGS_seconds);
    RETURN_IF_ERROR(StartServers());
    ASSIGN_OR_RETURN(const IdleCrowdResult idle,
                     MeasureIdleCrowd(*servers_, kIdleConnections, duration));
    Add(ReportIdleCrowd(kIdleConnections, idle));
    ASSIGN_OR_RETURN(
        const SlowCrowdResult slow,
        MeasureSlowCrowd(*servers_, kSlowUploads, Bytes(kSlowUploadMebibytes), duration));
    Add(ReportSlowCrowd(kSlowUploads, slow));
    return absl::OkStatus();
  }

  absl::Status MeasureCatalogs() {
    for (const int64_t versions : Numbers(FLAGS_catalog_versions)) {
      const std::string dir = absl::StrCat(section_dir_, "/", versions);
      std::filesystem::create_directory(dir);
      ASSIGN_OR_RETURN(const LargeCatalogResult catalog,
                       MeasureLargeCatalog(programs_, dir, versions));
      Add(ReportLargeCatalog(versions, catalog));
    }
    return absl::OkStatus();
  }

  absl::Status MeasureChunkCatalog() {
    ASSIGN_OR_RETURN(const LargeCatalogResult catalog,
                     MeasureLargeCatalog(programs_, section_dir_, kVersionsOfChunks, kChunks));
    ASSIGN_OR_RETURN(const ChunkLookupResult lookups, MeasureChunkLookups(section_dir_, kChunks));
    Add(ReportChunkCatalog(kChunks, catalog, lookups));
    return absl::OkStatus();
  }

  void Add(const std::vector<Figure>& figures) {
    figures_.insert(figures_.end(), figures.begin(), figures.end());
  }

  const std::string dir_;
  const Programs programs_ = FindPrograms(FLAGS_bin_dir);
  PhysicalLimits limits_;
  std::string section_dir_;
  std::unique_ptr<ServerPair> servers_;
  std::vector<Figure> figures_;
};

// As many descriptors as may be, here and in what is started from here.
void RaiseDescriptorLimit() {
  rlimit limit = {};
  PCHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = limit.rlim_max;
  PCHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

int Main(int argc, char** argv) {
  gflags::SetUsageMessage("backup-bench [--only=sessions] [--clients=64] ...");
  gflags::SetVersionString(BACKUP_VERSION);
  FLAGS_logtostderr = true;
  gflags::ParseCommandLineFlags(&argc, &argv, true);
  google::InitGoogleLogging(argv[0]);
  RaiseDescriptorLimit();
  std::string dir = absl::StrCat(FLAGS_work_dir, "/backup-bench.XXXXXX");
  if (mkdtemp(dir.data()) == nullptr) {
    std::cerr << "backup-bench: cannot make a folder in " << FLAGS_work_dir << "\n";
    return kFailed;
  }
  absl::Cleanup remove = [&dir] { std::filesystem::remove_all(dir); };
  // PostgreSQL, which runs as a user of its own, has to come through.
  std::filesystem::permissions(dir, std::filesystem::perms::others_exec,
                               std::filesystem::perm_options::add);
  std::unique_ptr<ThrottledDisk> throttled;  // Before what runs in it.
  if (FLAGS_throttle_mb_per_second > 0) {
    auto made = ThrottledDisk::Make(dir, FLAGS_throttle_mb_per_second);
    if (!made.ok()) {
      std::cerr << "backup-bench: " << made.status().message() << "\n";
      return kFailed;
    }
    throttled = *std::move(made);
  }
  Bench bench(dir);
  if (const absl::Status status = bench.Run(); !status.ok()) {
    std::move(remove).Cancel();
    std::cerr << "backup-bench: " << status.message() << "; logs are in " << dir << "\n";
    return kFailed;
  }
  std::cout << ToTable(bench.figures());
  if (!FLAGS_json_file.empty()) std::ofstream(FLAGS_json_file) << ToJsonLines(bench.figures());
  return 0;
}

}  // namespace
}  // namespace backup::bench

int main(int argc, char** argv) { return backup::bench::Main(argc, argv); }
