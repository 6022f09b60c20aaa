#include "services/backupctl/standard_output.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>

#include "base/status_macros.h"

namespace backup::ctl {
namespace {

constexpr int kPollMilliseconds = 100;  // How long an interrupt waits at most to be noticed.

[[noreturn]] void EndByBrokenPipe() {
  std::signal(SIGPIPE, SIG_DFL);
  std::raise(SIGPIPE);
  ::_exit(128 + SIGPIPE);  // The signal is blocked.
}

}  // namespace

absl::StatusOr<std::unique_ptr<StandardOutput>> StandardOutput::Open(const Interrupt& interrupt) {
  if (::isatty(STDOUT_FILENO) == 1) {
    return absl::InvalidArgumentError(
        "standard output is a terminal, which files could confuse: send it to a file or a program");
  }
  // A pipe that is ready takes PIPE_BUF bytes without waiting; a file never waits.
  struct stat info;
  const bool is_file = ::fstat(STDOUT_FILENO, &info) == 0 && S_ISREG(info.st_mode);
  const size_t write_size = is_file ? kMaxPieceSize : PIPE_BUF;
  return std::unique_ptr<StandardOutput>(new StandardOutput(interrupt, write_size));
}

absl::Status StandardOutput::Write(absl::string_view piece) {
  while (!piece.empty()) {
    RETURN_IF_ERROR(interrupt_.Check());
    pollfd ready = {STDOUT_FILENO, POLLOUT, 0};
    if (::poll(&ready, 1, kPollMilliseconds) == 0) continue;
    const ssize_t written =
        ::write(STDOUT_FILENO, piece.data(), std::min(piece.size(), write_size_));
    if (written < 0 && errno == EPIPE) EndByBrokenPipe();
    if (written < 0 && errno != EINTR && errno != EAGAIN)
      return absl::ErrnoToStatus(errno, "cannot write to standard output");
    if (written > 0) piece.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

}  // namespace backup::ctl
