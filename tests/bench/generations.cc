#include "tests/bench/generations.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <sstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "tests/bench/generation_maker.h"
#include "tests/bench/timing.h"

namespace backup::bench {
namespace {

constexpr int kClients = 4;
constexpr size_t kMaxNameSize = 255;  // Of the legacy protocol.
constexpr absl::Duration kQuietTimeout = absl::Minutes(5);
constexpr absl::Duration kPollInterval = absl::Milliseconds(100);
// A service that used less than that of one core for so long, and whose data is as large as before,
// has no job left.
constexpr double kQuietSeconds = 3;
constexpr double kQuietCpuShare = 0.02;

std::vector<std::string> FilesBelow(const std::string& dir) {
  std::vector<std::string> files;
  int64_t left_out = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir)) {
    if (!entry.is_regular_file() || entry.is_symlink()) continue;
    const std::string path = std::filesystem::absolute(entry.path()).string();
    const bool has_name = path.size() <= kMaxNameSize && path.find('\n') == std::string::npos;
    if (has_name) files.push_back(path);
    left_out += has_name ? 0 : 1;
  }
  if (left_out > 0) {
    std::cerr << "backup-bench: " << left_out << " files of " << dir
              << " have names that old clients cannot send\n";
  }
  std::sort(files.begin(), files.end());
  return files;
}

// What the service keeps; its reserve is room that it holds and no data.
int64_t KeptBytes(const ServerPair& servers) {
  return BytesOnDisk(servers.data_dir, absl::StrCat(servers.data_dir, "/reserve"));
}

// Until the jobs of a service have done all that they could.
absl::Status WaitUntilQuiet(const ServerPair& servers) {
  const auto start = MonotonicClock::now();
  auto quiet_since = start;
  double cpu = servers.service.CpuSeconds();
  for (int64_t kept = KeptBytes(servers); SecondsSince(quiet_since) < kQuietSeconds;
       absl::SleepFor(kPollInterval)) {
    if (SecondsSince(start) > absl::ToDoubleSeconds(kQuietTimeout))
      return absl::DeadlineExceededError("the service's jobs do not come to an end");
    const int64_t now = KeptBytes(servers);
    if (now == kept && servers.service.CpuSeconds() - cpu < kQuietCpuShare * kQuietSeconds)
      continue;
    kept = now;
    cpu = servers.service.CpuSeconds();
    quiet_since = MonotonicClock::now();
  }
  return absl::OkStatus();
}

// An old client with its own folder and name, which sends files one after the other. Used by one
// thread at a time.
class FileSender {
 public:
  FileSender(std::string program, std::string dir, std::string name)
      : program_(std::move(program)), dir_(std::move(dir)), name_(std::move(name)) {
    std::filesystem::create_directories(dir_);
  }

  absl::StatusOr<ChildProcess> Start(const legacy_client::Endpoint& server,
                                     const std::vector<std::string>& files) const {
    {
      std::ofstream info(dir_ + "/transfer.info");
      info << server.host << ":" << server.port << "\n" << name_ << "\n";
      for (const std::string& file : files) info << file << "\n";
    }
    return ChildProcess::Start({program_, absl::StrCat("--dir=", dir_), "--quiet"}, dir_ + "/out",
                               dir_ + "/log");
  }
  absl::Status Wait(ChildProcess& client) const {
    double cpu_seconds = 0;
    if (const int exit_code = client.WaitForEnd(&cpu_seconds); exit_code != 0)
      return absl::InternalError(
          absl::StrCat("legacy-client ended with ", exit_code, ": see ", dir_));
    return absl::OkStatus();
  }

 private:
  const std::string program_;
  const std::string dir_;
  const std::string name_;
};

// Each client sends its share.
absl::Status SendAll(const std::vector<FileSender>& senders, const legacy_client::Endpoint& server,
                     const std::vector<std::string>& files) {
  std::vector<ChildProcess> clients;
  for (size_t i = 0; i < senders.size(); ++i) {
    std::vector<std::string> share;
    for (size_t at = i; at < files.size(); at += senders.size()) share.push_back(files[at]);
    if (share.empty()) break;
    ASSIGN_OR_RETURN(ChildProcess client, senders[i].Start(server, share));
    clients.push_back(std::move(client));
  }
  for (size_t i = 0; i < clients.size(); ++i) RETURN_IF_ERROR(senders[i].Wait(clients[i]));
  return absl::OkStatus();
}

// Flags for jobs that do not wait for their time, those of them that the program knows: earlier
// ones have no such jobs.
absl::StatusOr<std::vector<std::string>> HastyJobs(const Programs& programs,
                                                   const std::string& dir) {
  const std::string help_path = dir + "/help";
  ASSIGN_OR_RETURN(ChildProcess help,
                   ChildProcess::Start({programs.service, "--help"}, help_path, dir + "/log"));
  double cpu_seconds = 0;
  help.WaitForEnd(&cpu_seconds);
  std::stringstream text;
  text << std::ifstream(help_path).rdbuf();
  std::vector<std::string> flags;
  for (const auto& [name, value] :
       {std::pair("repack_interval", "1s"), std::pair("repack_rate", "0"),
        std::pair("move_interval", "1s")}) {
    const std::string flag = absl::StrCat("--", name);
    if (absl::StrContains(text.str(), flag)) flags.push_back(absl::StrCat(flag, "=", value));
  }
  return flags;
}

}  // namespace

absl::StatusOr<std::vector<GenerationResult>> MeasureGenerations(
    const Programs& programs, const std::string& dir, const std::vector<std::string>& sources,
    int count) {
  const std::string made_dir = dir + "/made";
  std::filesystem::create_directory(made_dir);
  GenerationMaker maker(made_dir);
  std::vector<FileSender> senders;
  for (int i = 0; i < kClients; ++i)
    senders.emplace_back(programs.client, absl::StrCat(dir, "/client", i),
                         absl::StrCat("bench ", i));
  ASSIGN_OR_RETURN(const auto others, StartOtherBackups(dir));
  ASSIGN_OR_RETURN(const std::vector<std::string> flags, HastyJobs(programs, dir));
  std::vector<GenerationResult> results;
  const int generations = sources.empty() ? count : static_cast<int>(sources.size());
  for (int i = 0; i < generations; ++i) {
    if (sources.empty()) RETURN_IF_ERROR(maker.MakeNext());
    const std::string& source = sources.empty() ? made_dir : sources[static_cast<size_t>(i)];
    GenerationResult& result = results.emplace_back();
    const std::vector<std::string> files = FilesBelow(source);
    result.files = std::ssize(files);
    for (const std::string& file : files)
      result.bytes += static_cast<int64_t>(std::filesystem::file_size(file));
    ASSIGN_OR_RETURN(std::unique_ptr<ServerPair> servers, ServerPair::Start(programs, dir, flags));
    const auto start = MonotonicClock::now();
    RETURN_IF_ERROR(SendAll(senders, servers->bridge_address, files));
    result.ours.seconds = SecondsSince(start);
    RETURN_IF_ERROR(WaitUntilQuiet(*servers));
    const std::string data_dir = servers->data_dir;
    servers = nullptr;  // Which empties the catalog's log.
    result.ours.kept_bytes = BytesOnDisk(data_dir, data_dir + "/reserve");
    for (const auto& other : others) {
      ASSIGN_OR_RETURN(result.others[other->name()], other->BackUp(source));
    }
  }
  return results;
}

absl::StatusOr<SmallFilesResult> MeasureSmallFiles(const Programs& programs, const std::string& dir,
                                                   int count) {
  TextMaker text(/*seed=*/18);
  const std::string source = dir + "/source";
  WriteSourceTree(text, source, count);
  const std::vector<std::string> files = FilesBelow(source);
  ASSIGN_OR_RETURN(const auto servers, ServerPair::Start(programs, dir));
  const std::vector<FileSender> senders = {{programs.client, dir + "/client", "bench small files"}};
  SmallFilesResult result;
  result.files = std::ssize(files);
  const auto start = MonotonicClock::now();
  RETURN_IF_ERROR(SendAll(senders, servers->bridge_address, files));
  result.seconds = SecondsSince(start);
  ASSIGN_OR_RETURN(const auto others, StartOtherBackups(dir));
  for (const auto& other : others) {
    ASSIGN_OR_RETURN(result.others[other->name()], other->BackUp(source));
  }
  return result;
}

}  // namespace backup::bench
