#include "tests/bench/report.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/bench/timing.h"

namespace backup::bench {
namespace {

constexpr int64_t kMillion = 1'000'000;
// How many clients the targets for sessions are about.
constexpr int kManyClients = 64;
// Megabytes for each gibibyte that is known: rows of the recipe, and no content.
constexpr double kKnownWritten = 2;

Target AtLeast(double value) { return {Bound::kAtLeast, value}; }
Target AtMost(double value) { return {Bound::kAtMost, value}; }

double Megabytes(int64_t bytes) { return static_cast<double>(bytes) / kBytesPerMegabyte; }
// Of client, bridge and service.
double AllSeconds(const PreparedLoadResult& result) {
  return result.client_cpu_seconds + result.cpu.bridge_seconds + result.cpu.service_seconds;
}
double ServerSeconds(const ServerCpu& cpu) { return cpu.service_seconds + cpu.bridge_seconds; }

void AddCpuPerGibibyte(const std::string& group, const ServerCpu& cpu, double client_seconds,
                       double gibibytes, std::vector<Figure>& figures) {
  figures.push_back(
      {group, "CPU, bridge and service", ServerSeconds(cpu) / gibibytes, "s/GiB", AtMost(1.5), {}});
  figures.push_back({group, "CPU, bridge", cpu.bridge_seconds / gibibytes, "s/GiB", {}, {}});
  figures.push_back({group, "CPU, service", cpu.service_seconds / gibibytes, "s/GiB", {}, {}});
  figures.push_back({group, "CPU, client", client_seconds / gibibytes, "s/GiB", {}, {}});
}

void AddBeside(const std::string& group, const SessionLoadResult& alone,
               const SessionLoadResult& beside, std::vector<Figure>& figures) {
  figures.push_back({group, "one request alone, p50", alone.p50_milliseconds, "ms", {}, {}});
  figures.push_back({group, "one request beside it, p50", beside.p50_milliseconds, "ms", {}, {}});
  figures.push_back({group,
                     "p50 beside it against alone",
                     beside.p50_milliseconds / alone.p50_milliseconds,
                     "times",
                     AtMost(2),
                     {}});
  figures.push_back({group, "one request alone, p99", alone.p99_milliseconds, "ms", {}, {}});
  figures.push_back({group, "one request beside it, p99", beside.p99_milliseconds, "ms", {}, {}});
}

// How fast one large file went, beside the slowest stage that it passed.
std::vector<Figure> SpeedFigures(const std::string& group, double best, double median,
                                 double slowest) {
  return {
      {group, "speed, best", best, "MB/s", {}, slowest},
      {group, "speed, median", median, "MB/s", AtLeast(700), slowest},
      {group, "median against the slowest stage", 100 * median / slowest, "%", AtLeast(80), {}}};
}

}  // namespace

std::vector<Figure> ReportLimits(const PhysicalLimits& limits) {
  const std::string group = "physical limits, now";
  std::vector<Figure> figures = {
      {group, "AES-128-CBC encryption, one core", limits.cbc_encrypt_mb_per_second, "MB/s", {}, {}},
      {group, "SHA-256, one core", limits.sha256_mb_per_second, "MB/s", {}, {}},
      {group, "loopback TCP, one stream", limits.loopback_mb_per_second, "MB/s", {}, {}},
      {group,
       "disk, O_DIRECT reads and writes at once, each",
       limits.disk_copy_mb_per_second,
       "MB/s",
       {},
       {}},
      {group, "disk, fsyncs of 1 KiB", limits.fsyncs_per_second, "/s", {}, {}},
  };
  for (const DiskWrite& write : limits.disk_writes) {
    figures.push_back({group,
                       absl::StrCat("disk writes, ", write.how),
                       write.mb_per_second,
                       "MB/s",
                       {},
                       limits.disk_write_mb_per_second});
  }
  return figures;
}

std::vector<Figure> ReportLargeFile(const std::string& group, const LargeFileResult& result,
                                    const PhysicalLimits& limits) {
  const double slowest =
      std::min(limits.cbc_encrypt_mb_per_second, limits.disk_write_mb_per_second);
  std::vector<Figure> figures =
      SpeedFigures(group, result.best_mb_per_second, result.median_mb_per_second, slowest);
  AddCpuPerGibibyte(group, result.cpu, result.client_cpu_seconds, result.gibibytes, figures);
  return figures;
}

std::vector<Figure> ReportPreparedFile(const std::string& group, const PreparedLoadResult& result,
                                       const PhysicalLimits& limits) {
  const double slowest = std::min(limits.sha256_mb_per_second, limits.disk_write_mb_per_second);
  std::vector<Figure> figures =
      SpeedFigures(group, result.best_mb_per_second, result.median_mb_per_second, slowest);
  AddCpuPerGibibyte(group, result.cpu, result.client_cpu_seconds, result.gibibytes, figures);
  return figures;
}

std::vector<Figure> ReportPreparedLoad(const std::string& group, const PreparedLoadResult& result,
                                       const PreparedLoadResult& single) {
  std::vector<Figure> figures = {
      {group, "speed, all together", result.median_mb_per_second, "MB/s", {}, {}},
      {group,
       "against one client's",
       100 * result.median_mb_per_second / single.median_mb_per_second,
       "%",
       AtLeast(90),
       {}}};
  AddCpuPerGibibyte(group, result.cpu, result.client_cpu_seconds, result.gibibytes, figures);
  return figures;
}

std::vector<Figure> ReportComparison(const std::string& group, double ours,
                                     const std::map<std::string, double>& others) {
  std::vector<Figure> figures = {
      {group, "backup-service, decrypted and checksummed", ours, "MB/s", {}, {}}};
  double fastest = 0;
  for (const auto& [name, speed] : others) {
    figures.push_back({group, name, speed, "MB/s", {}, {}});
    fastest = std::max(fastest, speed);
  }
  figures.push_back(
      {group, "ours against the fastest of them", ours / fastest, "times", AtLeast(1), {}});
  return figures;
}

std::vector<Figure> ReportRestore(const std::string& group, const RestoreResult& result,
                                  std::optional<double> limit) {
  return {{group, "speed, median", result.median_mb_per_second, "MB/s", AtLeast(1000), limit},
          {group, "CPU, service", result.service_cpu_seconds / result.gibibytes, "s/GiB", {}, {}},
          {group, "CPU, backupctl", result.client_cpu_seconds / result.gibibytes, "s/GiB", {}, {}}};
}

std::vector<Figure> ReportSessions(int clients, const SessionLoadResult& result,
                                   const PhysicalLimits& limits) {
  const std::string group =
      absl::StrCat("whole sessions with a file of 1 KiB, ", clients, " clients");
  const bool has_target = clients == kManyClients;
  const auto sessions = static_cast<double>(result.sessions);
  return {
      {group, "sessions", result.sessions_per_second, "/s",
       has_target ? std::optional(AtLeast(3000)) : std::nullopt, limits.fsyncs_per_second},
      {group, "one request, p50", result.p50_milliseconds, "ms", {}, {}},
      {group,
       "one request, p99",
       result.p99_milliseconds,
       "ms",
       has_target ? std::optional(AtMost(50)) : std::nullopt,
       {}},
      {group, "CPU, bridge", 1e3 * result.cpu.bridge_seconds / sessions, "ms/session", {}, {}},
      {group, "CPU, service", 1e3 * result.cpu.service_seconds / sessions, "ms/session", {}, {}},
      {group, "CPU, clients", 1e3 * result.client_cpu_seconds / sessions, "ms/session", {}, {}},
  };
}

std::vector<Figure> ReportAgainstBare(int clients, const SessionLoadResult& ours,
                                      const BareEchoResult& bare) {
  const std::string group =
      absl::StrCat("the same messages and rows by a bare gRPC echo, ", clients, " clients");
  std::vector<Figure> figures = {
      {group, "sessions", bare.sessions_per_second, "/s", {}, {}},
      {group,
       "ours against that",
       100 * ours.sessions_per_second / bare.sessions_per_second,
       "%",
       clients == kManyClients ? std::optional(AtLeast(70)) : std::nullopt,
       {}}};
  // Of the time that all cores have for a session, what its part of it takes more in ours.
  const auto cores = static_cast<double>(std::thread::hardware_concurrency());
  const auto of = [](double seconds, int64_t sessions) {
    return 1e3 * seconds / static_cast<double>(sessions);
  };
  const auto add = [&](const std::string& part, double our_ms, double bare_ms) {
    figures.push_back(
        {group, absl::StrCat("of all cores, ", part, ", ours"), our_ms, "ms/session", {}, {}});
    figures.push_back(
        {group, absl::StrCat("of all cores, ", part, ", bare"), bare_ms, "ms/session", {}, {}});
    return std::pair(our_ms, bare_ms);
  };
  const auto [our_bridge, bare_front] = add("bridge", of(ours.cpu.bridge_seconds, ours.sessions),
                                            of(bare.cpu.bridge_seconds, bare.sessions));
  const auto [our_service, bare_back] = add("service", of(ours.cpu.service_seconds, ours.sessions),
                                            of(bare.cpu.service_seconds, bare.sessions));
  const auto [our_client, bare_client] = add("clients", of(ours.client_cpu_seconds, ours.sessions),
                                             of(bare.client_cpu_seconds, bare.sessions));
  add("waiting, above all for commits",
      1e3 * cores / ours.sessions_per_second - our_bridge - our_service - our_client,
      1e3 * cores / bare.sessions_per_second - bare_front - bare_back - bare_client);
  return figures;
}

std::vector<Figure> ReportIdleCrowd(int connections, const IdleCrowdResult& result) {
  const std::string group = absl::StrCat(connections, " idle connections");
  std::vector<Figure> figures = {
      {group, "resident memory, bridge", result.resident.bridge_mebibytes, "MiB", AtMost(100), {}},
      {group, "resident memory, service", result.resident.service_mebibytes, "MiB", {}, {}}};
  AddBeside(group, result.alone, result.beside, figures);
  return figures;
}

std::vector<Figure> ReportSlowCrowd(int uploads, const SlowCrowdResult& result) {
  const std::string group = absl::StrCat(uploads, " uploads on their way at once");
  return {
      {group, "resident memory, bridge", result.resident.bridge_mebibytes, "MiB", AtMost(256), {}},
      {group,
       "resident memory, service",
       result.resident.service_mebibytes,
       "MiB",
       AtMost(512),
       {}},
      {group, "speed, all together", result.mb_per_second, "MB/s", {}, {}},
      {group, "all hang up: until nothing is left", result.seconds_to_release, "s", {}, {}}};
}

std::vector<Figure> ReportFairness(const FairnessResult& result) {
  std::vector<Figure> figures;
  const std::string group = "one client's small sessions beside another's large file";
  AddBeside(group, result.alone, result.beside, figures);
  figures.push_back({group, "sessions alone", result.alone.sessions_per_second, "/s", {}, {}});
  figures.push_back({group, "sessions beside it", result.beside.sessions_per_second, "/s", {}, {}});
  figures.push_back(
      {group, "the large file, alone", result.large_alone_mb_per_second, "MB/s", {}, {}});
  figures.push_back(
      {group, "the large file, beside the sessions", result.large_mb_per_second, "MB/s", {}, {}});
  return figures;
}

std::vector<Figure> ReportGeneration(int number, int count, const GenerationResult& result) {
  const std::string group = absl::StrFormat("generation %d of %d: %d files, %.0f MB", number, count,
                                            result.files, Megabytes(result.bytes));
  std::vector<Figure> figures;
  std::optional<Target> target;
  for (const auto& [name, cost] : result.others) {
    const double kept = Megabytes(cost.kept_bytes);
    if (number == count) target = AtMost(std::min(kept, target ? target->value : kept));
  }
  const auto add = [&](const std::string& name, const BackupCost& cost, std::optional<Target> aim) {
    figures.push_back({group, "kept, " + name, Megabytes(cost.kept_bytes), "MB", aim, {}});
    figures.push_back({group, "time, " + name, cost.seconds, "s", {}, {}});
  };
  add("backup-service", result.ours, target);
  for (const auto& [name, cost] : result.others) add(name, cost, std::nullopt);
  return figures;
}

std::vector<Figure> ReportSmallFiles(const SmallFilesResult& result) {
  const std::string group =
      absl::StrCat(result.files, " small files by one old client, one after the other");
  std::vector<Figure> figures = {{group,
                                  "a file",
                                  1e3 * result.seconds / static_cast<double>(result.files),
                                  "ms",
                                  AtMost(1.2),
                                  {}},
                                 {group, "all, backup-service", result.seconds, "s", {}, {}}};
  for (const auto& [name, cost] : result.others)
    figures.push_back({group, "all, " + name, cost.seconds, "s", {}, {}});
  return figures;
}

std::vector<Figure> ReportKnownContent(const std::string& group, const PreparedLoadResult& fresh,
                                       const PreparedLoadResult& known,
                                       const std::optional<PreparedLoadResult>& earlier) {
  const double new_cpu = AllSeconds(fresh) / fresh.gibibytes;
  const double known_cpu = AllSeconds(known) / known.gibibytes;
  std::vector<Figure> figures = {
      {group, "new: speed, median", fresh.median_mb_per_second, "MB/s", {}, {}},
      {group, "new: CPU, all three", new_cpu, "s/GiB", {}, {}},
      {group, "known: speed, median", known.median_mb_per_second, "MB/s", {}, {}},
      {group, "known: CPU, all three", known_cpu, "s/GiB", {}, {}},
      {group,
       "known: speed against new",
       known.median_mb_per_second / fresh.median_mb_per_second,
       "times",
       AtLeast(1.5),
       {}},
      {group,
       "known: written by the service",
       known.written_megabytes / known.gibibytes,
       "MB/GiB",
       AtMost(kKnownWritten),
       {}}};
  if (!earlier) return figures;
  const double earlier_cpu = AllSeconds(*earlier) / earlier->gibibytes;
  figures.insert(
      figures.end(),
      {{group, "before: speed, median", earlier->median_mb_per_second, "MB/s", {}, {}},
       {group, "before: CPU, all three", earlier_cpu, "s/GiB", {}, {}},
       {group,
        "new: speed against before",
        fresh.median_mb_per_second / earlier->median_mb_per_second,
        "times",
        AtLeast(0.9),
        {}},
       {group, "new: CPU against before", new_cpu / earlier_cpu, "times", AtMost(1.25), {}},
       {group, "known: CPU against before", known_cpu / earlier_cpu, "times", AtMost(0.95), {}}});
  return figures;
}

std::vector<Figure> ReportRepacking(const RepackingResult& result) {
  const std::string group = "small packs made large ones, as fast as can be";
  const double copy = result.copy_mb_per_second;
  const char* const slowest = copy < result.digest_mb_per_second ? "the disk" : "the processor";
  return {{group, "read and written", result.mb_per_second, "MB/s", {}, copy},
          {group, "a plain copy of the same", copy, "MB/s", {}, {}},
          {group, "digests alone, one core", result.digest_mb_per_second, "MB/s", {}, {}},
          {group,
           absl::StrCat("against the copy, where ", slowest, " is slowest"),
           100 * result.mb_per_second / copy,
           "%",
           AtLeast(80),
           {}},
          {group, "read and written in all", result.moved_megabytes, "MB", {}, {}},
          {group, "CPU, service", result.cpu_seconds, "s", {}, {}}};
}

std::vector<Figure> ReportCatalogLoad(int clients, const CatalogLoadResult& result) {
  const std::string group =
      absl::StrCat("whole sessions with a catalog in PostgreSQL, ", clients, " clients");
  const bool has_target = clients == kManyClients;
  return {
      {group, "sessions, SQLite", result.sqlite_per_second, "/s", {}, {}},
      {group, "sessions, PostgreSQL", result.postgres_per_second, "/s", {}, {}},
      {group,
       "against SQLite",
       100 * result.postgres_per_second / result.sqlite_per_second,
       "%",
       has_target ? std::optional(AtLeast(70)) : std::nullopt,
       {}},
      {group,
       "transactions",
       result.transactions_per_session,
       "/session",
       has_target ? std::optional(AtMost(3)) : std::nullopt,
       {}},
      {group, "CPU, service, SQLite", result.sqlite_cpu_milliseconds, "ms/session", {}, {}},
      {group, "CPU, service, PostgreSQL", result.postgres_cpu_milliseconds, "ms/session", {}, {}},
      {group, "CPU, PostgreSQL", result.server_cpu_milliseconds, "ms/session", {}, {}}};
}

std::vector<Figure> ReportRetention(int64_t versions, const RetentionResult& result) {
  const std::string group = absl::StrCat("retention of ", versions / kMillion, " million versions");
  const double ratio = result.sessions_beside_per_second / result.sessions_alone_per_second;
  return {{group, "preview", result.preview_seconds, "s", AtMost(10), {}},
          {group, "preview, more memory", result.preview_more_mebibytes, "MiB", AtMost(64), {}},
          {group, "into the trash", result.trashed_per_second, "/s", {}, {}},
          {group, "into the trash, CPU", result.trashed_cpu_microseconds, "us", {}, {}},
          {group, "out of the trash for good", result.purged_per_second, "/s", {}, {}},
          {group, "out of the trash for good, CPU", result.purged_cpu_microseconds, "us", {}, {}},
          {group, "for good at once", result.removed_per_second, "/s", {}, {}},
          {group, "for good at once, CPU", result.removed_cpu_microseconds, "us", {}, {}},
          {group, "sessions alone", result.sessions_alone_per_second, "/s", {}, {}},
          {group, "sessions beside it", result.sessions_beside_per_second, "/s", {}, {}},
          {group, "sessions beside it against alone", 100 * ratio, "%", AtLeast(80), {}},
          {group,
           "into the trash meanwhile",
           result.trashed_beside_per_second,
           "/s",
           AtLeast(20'000),
           {}}};
}

std::vector<Figure> ReportScrub(const ScrubResult& result) {
  const std::string group = "scrub of packs, as fast as can be";
  const double disk = result.read_mb_per_second;
  return {{group, "read and compared", result.mb_per_second, "MB/s", {}, disk},
          {group, "plain reads of the same", disk, "MB/s", {}, {}},
          {group, "digests alone, one core", result.digest_mb_per_second, "MB/s", {}, {}},
          {group, "against plain reads", 100 * result.mb_per_second / disk, "%", AtLeast(80), {}},
          {group, "CPU, service", result.cpu_seconds_per_gibibyte, "s/GiB", {}, {}}};
}

std::vector<Figure> ReportSnapshot(const SnapshotResult& result) {
  const std::string group = "a snapshot of the state while many clients send";
  return {{group, "catalog", result.catalog_mebibytes, "MiB", {}, {}},
          {group, "snapshot", result.mebibytes, "MiB", {}, {}},
          {group, "until it is taken", result.seconds, "s", {}, {}},
          {group, "one request alone, p99", result.alone_p99_milliseconds, "ms", {}, {}},
          {group, "one request beside it, p99", result.beside_p99_milliseconds, "ms", {}, {}},
          {group, "p99 of the worst load beside it", result.worst_p99_milliseconds, "ms", {}, {}},
          {group,
           "p99 beside it against alone",
           result.beside_p99_milliseconds / result.alone_p99_milliseconds,
           "times",
           AtMost(2),
           {}},
          {group, "sessions alone", result.alone_per_second, "/s", {}, {}},
          {group, "sessions beside it", result.beside_per_second, "/s", {}, {}}};
}

std::vector<Figure> ReportLargeCatalog(int64_t versions, const LargeCatalogResult& result) {
  const std::string group = absl::StrCat("a catalog of ", versions / kMillion, " million versions");
  const auto start_target = versions == kMillion ? std::optional(AtMost(1)) : std::nullopt;
  return {
      {group, "start to ready", result.seconds_to_ready, "s", start_target, {}},
      {group, "GetVersion", result.get_version_milliseconds, "ms", AtMost(20), {}},
      {group, "ListFiles, page of 1000", result.list_files_milliseconds, "ms", AtMost(20), {}},
      {group,
       "ListVersions, page of 1000",
       result.list_versions_milliseconds,
       "ms",
       AtMost(20),
       {}},
      {group, "ListClients, page of 1000", result.list_clients_milliseconds, "ms", AtMost(20), {}},
      {group, "GetStatus", result.get_status_milliseconds, "ms", AtMost(20), {}}};
}

std::vector<Figure> ReportChunkCatalog(int64_t chunks, const LargeCatalogResult& result,
                                       const ChunkLookupResult& lookups) {
  const std::string group = absl::StrCat("a catalog of ", chunks / kMillion, " million chunks");
  return {
      {group, "start to ready", result.seconds_to_ready, "s", AtMost(1), {}},
      {group, "GetStatus", result.get_status_milliseconds, "ms", AtMost(20), {}},
      {group, "a chunk, from the disk", lookups.from_disk_milliseconds, "ms", AtMost(1), {}},
      {group, "a chunk, pages in memory", lookups.from_memory_milliseconds, "ms", AtMost(0.05), {}},
      {group,
       "a transaction of known chunks",
       lookups.known_version_milliseconds,
       "ms",
       AtMost(20),
       {}},
      {group, "resident memory, service", result.resident_mebibytes, "MiB", {}, {}}};
}

}  // namespace backup::bench
