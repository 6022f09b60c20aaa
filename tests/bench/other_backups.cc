#include "tests/bench/other_backups.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "tests/bench/child_process.h"
#include "tests/bench/timing.h"

namespace backup::bench {
namespace {

constexpr char kRestic[] = "/usr/bin/restic";
constexpr char kBorg[] = "/usr/bin/borg";
constexpr int64_t kBlockSize = 512;  // stat(2)

// Runs a program with these variables, in a folder of its own for caches and logs.
absl::Status Run(const std::string& dir, const std::vector<std::string>& variables,
                 const std::vector<std::string>& args) {
  std::vector<std::string> all = {"/usr/bin/env", absl::StrCat("HOME=", dir)};
  all.insert(all.end(), variables.begin(), variables.end());
  all.insert(all.end(), args.begin(), args.end());
  ASSIGN_OR_RETURN(ChildProcess process,
                   ChildProcess::Start(all, absl::StrCat(dir, "/out"), absl::StrCat(dir, "/log")));
  double cpu_seconds = 0;
  if (const int exit_code = process.WaitForEnd(&cpu_seconds); exit_code != 0)
    return absl::InternalError(
        absl::StrCat(args[0], " ended with ", exit_code, ": see ", dir, "/log"));
  return absl::OkStatus();
}

class Restic final : public OtherBackup {
 public:
  static absl::StatusOr<std::unique_ptr<OtherBackup>> Start(const std::string& dir) {
    auto restic = std::unique_ptr<Restic>(new Restic(dir));
    RETURN_IF_ERROR(restic->Call({"init", "--repository-version=2"}));
    return restic;
  }

  absl::StatusOr<BackupCost> BackUp(const std::string& dir) override {
    const auto start = MonotonicClock::now();
    RETURN_IF_ERROR(Call({"backup", dir}));
    return BackupCost{SecondsSince(start), BytesOnDisk(dir_ + "/repository")};
  }

 private:
  explicit Restic(const std::string& dir) : OtherBackup("restic"), dir_(dir) {}

  absl::Status Call(std::vector<std::string> args) const {
    args.insert(args.begin(), {kRestic, "--quiet", absl::StrCat("--repo=", dir_, "/repository")});
    return Run(dir_, {"RESTIC_PASSWORD=bench"}, args);
  }

  const std::string dir_;
};

class Borg final : public OtherBackup {
 public:
  // `compression` as borg create takes it; empty: its default.
  static absl::StatusOr<std::unique_ptr<OtherBackup>> Start(const std::string& dir,
                                                            const std::string& compression) {
    auto borg = std::unique_ptr<Borg>(new Borg(dir, compression));
    RETURN_IF_ERROR(borg->Call({"init", "--encryption=repokey", borg->Repository()}));
    return borg;
  }

  absl::StatusOr<BackupCost> BackUp(const std::string& dir) override {
    std::vector<std::string> args = {"create", absl::StrCat(Repository(), "::", ++archives_), dir};
    if (!compression_.empty()) args.insert(args.begin() + 1, "--compression=" + compression_);
    const auto start = MonotonicClock::now();
    RETURN_IF_ERROR(Call(args));
    return BackupCost{SecondsSince(start), BytesOnDisk(Repository())};
  }

 private:
  Borg(const std::string& dir, const std::string& compression)
      : OtherBackup(compression.empty() ? "borg" : absl::StrCat("borg, ", compression)),
        dir_(dir),
        compression_(compression) {}

  std::string Repository() const { return dir_ + "/repository"; }
  absl::Status Call(std::vector<std::string> args) const {
    args.insert(args.begin(), kBorg);
    return Run(dir_, {"BORG_PASSPHRASE=bench", absl::StrCat("BORG_BASE_DIR=", dir_)}, args);
  }

  const std::string dir_;
  const std::string compression_;
  int archives_ = 0;
};

bool IsInstalled(const char* program) {
  if (::access(program, X_OK) == 0) return true;
  std::cerr << "backup-bench: " << program << " is not installed, so it is not compared\n";
  return false;
}

std::string NewFolder(const std::string& dir, const char* name) {
  const std::string path = absl::StrCat(dir, "/", name);
  std::filesystem::create_directories(path);
  return path;
}

}  // namespace

int64_t BytesOnDisk(const std::string& path, const std::string& except) {
  int64_t bytes = 0;
  std::error_code error;  // Files come and go.
  for (std::filesystem::recursive_directory_iterator at(path, error), end; at != end;
       at.increment(error)) {
    struct stat file = {};
    if (::lstat(at->path().c_str(), &file) != 0 || !S_ISREG(file.st_mode)) continue;
    if (except.empty() || !absl::StartsWith(at->path().string(), except + "/"))
      bytes += int64_t{file.st_blocks} * kBlockSize;
  }
  return bytes;
}

absl::StatusOr<std::vector<std::unique_ptr<OtherBackup>>> StartOtherBackups(
    const std::string& dir) {
  std::vector<std::unique_ptr<OtherBackup>> others;
  if (IsInstalled(kRestic)) {
    ASSIGN_OR_RETURN(auto restic, Restic::Start(NewFolder(dir, "restic")));
    others.push_back(std::move(restic));
  }
  if (IsInstalled(kBorg)) {
    ASSIGN_OR_RETURN(auto borg, Borg::Start(NewFolder(dir, "borg"), ""));
    others.push_back(std::move(borg));
    ASSIGN_OR_RETURN(auto with_zstd, Borg::Start(NewFolder(dir, "borg-zstd"), "zstd"));
    others.push_back(std::move(with_zstd));
  }
  return others;
}

}  // namespace backup::bench
