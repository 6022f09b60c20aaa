#include "bridge/self_backup.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/periodic_task.h"
#include "base/process.h"
#include "base/status_macros.h"
#include "bridge/request/random_ids.h"

extern char** environ;

namespace backup::bridge {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kPollInterval = absl::Milliseconds(50);

absl::StatusOr<std::vector<std::string>> FilesBelow(const std::string& directory) {
  std::vector<std::string> files;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->is_regular_file(error)) files.push_back(fs::absolute(entry->path(), error).string());
  }
  if (error)
    return absl::UnavailableError(absl::StrCat("cannot list ", directory, ": ", error.message()));
  if (files.empty()) return absl::NotFoundError(absl::StrCat("there are no files in ", directory));
  std::sort(files.begin(), files.end());
  return files;
}

absl::StatusOr<std::string> MakeTemporaryDirectory() {
  std::error_code error;
  std::string path = (fs::temp_directory_path(error) / "backup-self-test-XXXXXX").string();
  if (error || ::mkdtemp(path.data()) == nullptr)
    return absl::ErrnoToStatus(errno, "cannot make a temporary folder");
  return path;
}

// Without a shell, with the signals as a program expects them, whatever this process blocks or
// ignores.
absl::StatusOr<pid_t> Spawn(const std::string& program, std::vector<std::string> arguments) {
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  const absl::Cleanup destroy = [&] { posix_spawnattr_destroy(&attributes); };
  sigset_t none;
  sigset_t ignored;
  sigemptyset(&none);
  sigemptyset(&ignored);
  sigaddset(&ignored, SIGPIPE);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &ignored);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  arguments.insert(arguments.begin(), program);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error =
      ::posix_spawn(&pid, program.c_str(), nullptr, &attributes, argv.data(), environ);
  if (error != 0) return absl::ErrnoToStatus(error, absl::StrCat("cannot run ", program));
  return pid;
}

// Waits for the child; kills it when `limit` has passed or `token` was stopped.
absl::Status WaitForChild(pid_t pid, absl::Duration limit, const std::stop_token& token) {
  const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(limit);
  int status = 0;
  while (::waitpid(pid, &status, WNOHANG) == 0) {
    if (WaitFor(token, kPollInterval) && std::chrono::steady_clock::now() < end) continue;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, &status, 0);
    return absl::CancelledError(token.stop_requested() ? "this program ends" : "it took too long");
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::UnknownError(
      WIFEXITED(status) ? absl::StrCat("the client ended with exit code ", WEXITSTATUS(status))
                        : absl::StrCat("the client was ended by signal ", WTERMSIG(status)));
}

}  // namespace

absl::Status BackUpDirectory(const SelfBackupOptions& options, const std::stop_token& token) {
  ASSIGN_OR_RETURN(const std::vector<std::string> files, FilesBelow(options.directory));
  ASSIGN_OR_RETURN(const std::string directory, MakeTemporaryDirectory());
  const absl::Cleanup remove = [&] {
    std::error_code ignored;  // What cannot be removed is left to the system.
    fs::remove_all(directory, ignored);
  };
  // Names are unique, and this client's identity is thrown away: so it has a new name each time.
  std::string transfer = absl::StrCat(options.address, "\nself-test-", NewRequestId(), "\n");
  for (const std::string& file : files) absl::StrAppend(&transfer, file, "\n");
  RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(directory, "/transfer.info"), transfer));
  ASSIGN_OR_RETURN(const pid_t pid,
                   Spawn(options.legacy_client, {absl::StrCat("--dir=", directory), "--quiet"}));
  return WaitForChild(pid, options.time_limit, token);
}

SelfBackup::SelfBackup(SelfBackupOptions options)
    : thread_([options = std::move(options)](std::stop_token token) {
        const absl::Status outcome = BackUpDirectory(options, token);
        if (outcome.ok()) {
          LOG_CRITICAL << "self-test: " << options.directory << " was backed up through "
                       << options.address;
        } else {
          LOG_CRITICAL << "self-test failed: backing up " << options.directory << " through "
                       << options.address << ": " << outcome.message();
        }
      }) {}

}  // namespace backup::bridge
