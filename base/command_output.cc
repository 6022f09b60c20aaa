#include "base/command_output.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <optional>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/printable.h"
#include "base/secret_bytes.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"

extern char** environ;

namespace backup {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

// Of what it complains about, the end is told.
constexpr size_t kMaxComplaint = 500;
constexpr int kPollMillis = 10;
// So many hex digits in a row may be half of a key of 32 bytes.
constexpr size_t kLeastKeyDigits = 32;

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};

absl::StatusOr<Pipe> MakePipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "cannot make a pipe");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// In a process group of its own, with the signals as a program expects them.
absl::StatusOr<pid_t> Spawn(std::vector<std::string> words, int out, int err) {
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  const absl::Cleanup destroy = [&] {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  };
  sigset_t none;
  sigset_t ignored;
  sigemptyset(&none);
  sigemptyset(&ignored);
  sigaddset(&ignored, SIGPIPE);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &ignored);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error = ::posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  if (error != 0) return absl::ErrnoToStatus(error, absl::StrCat("cannot run ", words[0]));
  return pid;
}

int MillisUntil(SteadyTime end) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
  return static_cast<int>(std::max<int64_t>(0, left.count()));
}

// Hides what may be a key, or a part of one: long runs of hex digits, and, if the beginning is
// missing, whatever run it begins with.
std::string WithoutKeys(absl::string_view text, bool is_cut) {
  std::string hidden;
  size_t begin = 0;
  while (begin < text.size()) {
    size_t end = begin;
    while (end < text.size() && absl::ascii_isxdigit(static_cast<unsigned char>(text[end]))) ++end;
    const bool is_key = end - begin >= kLeastKeyDigits || (is_cut && begin == 0 && end > begin);
    if (end == begin) ++end;
    absl::StrAppend(&hidden, is_key ? "[hidden]" : text.substr(begin, end - begin));
    begin = end;
  }
  return hidden;
}

// A program that runs; killed and waited for at the end.
class Command {
 public:
  Command(pid_t pid, UniqueFd out, UniqueFd err, SteadyTime end, size_t max_bytes)
      : pid_(pid), out_(std::move(out)), err_(std::move(err)), end_(end), max_bytes_(max_bytes) {
    output_.reserve(max_bytes + kBuffer);  // What it says is nowhere else in memory.
  }
  ~Command() {
    // Whatever it says may be, or have in it, what nobody else is to see.
    Wipe(output_);
    Wipe(complaint_);
    if (status_) return;
    ::kill(-pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  // Until both ends of it are closed.
  absl::Status ReadAll() {
    while (out_.valid() || err_.valid()) {
      if (MillisUntil(end_) == 0) return absl::DeadlineExceededError("it took too long");
      pollfd polled[] = {{out_.get(), POLLIN, 0}, {err_.get(), POLLIN, 0}};
      const int ready = ::poll(polled, std::size(polled), MillisUntil(end_));
      if (ready < 0 && errno == EINTR) continue;
      if (ready <= 0) return absl::DeadlineExceededError("it took too long");
      if (polled[0].revents != 0) ReadSome(out_, output_);
      if (polled[1].revents != 0) ReadSome(err_, complaint_);
      if (output_.size() > max_bytes_) return absl::ResourceExhaustedError("it says too much");
      if (complaint_.size() > kMaxComplaint) {
        complaint_.erase(0, complaint_.size() - kMaxComplaint);
        is_cut_ = true;
      }
    }
    return absl::OkStatus();
  }

  absl::Status WaitForEnd() {
    int status = 0;
    pid_t ended = 0;
    while ((ended = ::waitpid(pid_, &status, WNOHANG)) == 0) {
      if (MillisUntil(end_) == 0) return absl::DeadlineExceededError("it took too long");
      ::poll(nullptr, 0, kPollMillis);
    }
    status_ = status;
    if (ended < 0) return absl::InternalError("nobody knows how it ended");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
    return absl::FailedPreconditionError(
        WIFEXITED(status) ? absl::StrCat("it ended with exit code ", WEXITSTATUS(status))
                          : absl::StrCat("it was ended by signal ", WTERMSIG(status)));
  }

  std::string TakeOutput() { return std::move(output_); }
  // In one line; empty if it said nothing.
  std::string Complaint() const {
    const std::string text = WithoutKeys(complaint_, is_cut_);
    const absl::string_view stripped = absl::StripAsciiWhitespace(text);
    return stripped.empty() ? std::string() : absl::StrCat(": ", Printable(stripped));
  }

 private:
  static constexpr size_t kBuffer = 512;

  static void ReadSome(UniqueFd& file, std::string& text) {
    const size_t size = text.size();
    text.resize(size + kBuffer);
    const ssize_t read = ::read(file.get(), text.data() + size, kBuffer);
    text.resize(size + static_cast<size_t>(std::max<ssize_t>(read, 0)));
    if (read == 0 || (read < 0 && errno != EINTR)) file = UniqueFd();
  }

  const pid_t pid_;
  UniqueFd out_;
  UniqueFd err_;
  const SteadyTime end_;
  const size_t max_bytes_;
  std::string output_;
  std::string complaint_;
  bool is_cut_ = false;
  std::optional<int> status_;  // Once it was waited for.
};

}  // namespace

absl::StatusOr<std::string> CommandOutput(const std::vector<std::string>& words,
                                          absl::Duration deadline, size_t max_bytes) {
  if (words.empty()) return absl::InvalidArgumentError("there is no command");
  ASSIGN_OR_RETURN(Pipe out, MakePipe());
  ASSIGN_OR_RETURN(Pipe err, MakePipe());
  ASSIGN_OR_RETURN(const pid_t pid, Spawn(words, out.write_end.get(), err.write_end.get()));
  out.write_end = UniqueFd();
  err.write_end = UniqueFd();
  Command command(pid, std::move(out.read_end), std::move(err.read_end),
                  std::chrono::steady_clock::now() + absl::ToChronoMilliseconds(deadline),
                  max_bytes);
  absl::Status status = command.ReadAll();
  if (status.ok()) status = command.WaitForEnd();
  if (status.ok()) return command.TakeOutput();
  return absl::Status(status.code(),
                      absl::StrCat(words[0], ": ", status.message(), command.Complaint()));
}

}  // namespace backup
