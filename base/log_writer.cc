#include "base/log_writer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/printable.h"
#include "base/unique_fd.h"

namespace backup {
namespace {

constexpr MetricName kLostLines{"backup_log_lines_lost_total",
                                "Lines of the log that nobody took in time, or that could not be "
                                "written"};

// Written at once: as many whole lines as a pipe takes without another writer's in between.
constexpr size_t kBatchSize = PIPE_BUF;
// How long a line waits for others: a write for each would cost more than most of what they tell.
constexpr absl::Duration kGatherTime = absl::Milliseconds(10);

// A write that takes longer is waiting for a reader.
constexpr std::chrono::seconds kStuckAfter(1);

// As glog colours them.
constexpr absl::string_view kYellow = "\033[0;33m";
constexpr absl::string_view kRed = "\033[0;31m";
constexpr absl::string_view kNoColor = "\033[m";

bool ShowsColors(int fd) {
  const char* const terminal = std::getenv("TERM");
  return ::isatty(fd) != 0 && terminal != nullptr && absl::string_view(terminal) != "dumb";
}

// Whether the next write will not wait.
bool HasRoom(int fd) {
  pollfd room = {fd, POLLOUT, 0};
  return ::poll(&room, 1, 0) > 0 && (room.revents & POLLOUT) != 0;
}

// The error met, if any.
int WriteAll(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written >= 0) {
      bytes.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EAGAIN) {  // Others who have this file open may have made it non-blocking.
      pollfd room = {fd, POLLOUT, 0};
      ::poll(&room, 1, -1);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

// Of the file behind `fd`, if lines are appended to it; else empty.
std::string PathOfFile(int fd) {
  struct stat info = {};
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_APPEND) == 0 || ::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
    return "";
  std::error_code ignored;
  return std::filesystem::read_symlink(absl::StrCat("/proc/self/fd/", fd), ignored).string();
}

}  // namespace

LogWriter::LogWriter(int fd, size_t max_queued_bytes)
    : fd_(fd),
      max_queued_bytes_(max_queued_bytes),
      has_colors_(ShowsColors(fd)),
      path_(PathOfFile(fd)),
      thread_([this] { Run(); }) {}

LogWriter::~LogWriter() {
  {
    MutexLock lock(mutex_);
    ending_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void LogWriter::TakeOver() {
  FLAGS_logtostderr = false;
  FLAGS_logtostdout = false;
  FLAGS_alsologtostderr = false;
  FLAGS_stderrthreshold = google::NUM_SEVERITIES;
  // Lines of all severities come to the file of the lowest; the other files are turned off.
  for (int severity = google::GLOG_WARNING; severity < google::NUM_SEVERITIES; ++severity)
    google::SetLogDestination(severity, "");
  if (!std::exchange(has_taken_over_, true)) google::base::SetLogger(google::GLOG_INFO, this);
}

bool LogWriter::WaitUntilWritten(absl::Duration timeout) {
  const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout);
  MutexLock lock(mutex_);
  ++waiters_;
  changed_.NotifyAll();
  while (!lines_.empty() || queued_bytes_ > 0) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= left.zero()) break;
    written_.WaitFor(mutex_, absl::FromChrono(left));
  }
  --waiters_;
  return lines_.empty() && queued_bytes_ == 0;
}

void LogWriter::Write(bool /*force_flush*/, time_t /*time*/, const char* message,
                      size_t message_size) {
  if (message_size == 0) {
    if (is_fatal_) WriteLastLines();
    return;
  }
  // Whatever a line quotes, it steers no terminal that shows the log.
  std::string line = PrintableLines(absl::string_view(message, message_size));
  const char severity = line[0];
  const bool has_color = has_colors_ && severity != 'I';
  if (has_color) line = absl::StrCat(severity == 'W' ? kYellow : kRed, line, kNoColor);
  Queue(std::move(line), severity == 'F');
}

void LogWriter::Queue(std::string line, bool is_fatal) {
  MutexLock lock(mutex_);
  if (is_fatal) {
    is_fatal_ = true;
    fatal_line_ = line;
  }
  const bool was_empty = lines_.empty();
  const size_t bytes_before = queued_bytes_;
  if (queued_bytes_ + line.size() <= max_queued_bytes_ || is_fatal) {
    queued_bytes_ += line.size();
    lines_.push_back(std::move(line));
  } else {
    ++lost_lines_;
    if (untold_losses_++ == 0) lines_.emplace_back();
  }
  if (was_empty || (bytes_before < kBatchSize && queued_bytes_ >= kBatchSize)) changed_.NotifyAll();
}

void LogWriter::WriteLastLines() {
  const bool is_written = WaitUntilWritten(kLastWait);
  if (!is_written && HasRoom(fd_)) {
    MutexLock lock(mutex_);
    WriteAll(fd_, absl::string_view(fatal_line_).substr(0, kBatchSize));
  }
  if (is_written && HasRoom(fd_)) return;
  // glog writes a stack trace next, and must not wait for a reader that is not there.
  const UniqueFd nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  ::dup2(nowhere.get(), fd_);
}

void LogWriter::Run() {
  Batch batch;
  while (NextBatch(batch)) batch.error = WriteAll(fd_, batch.text);
}

bool LogWriter::NextBatch(Batch& batch) {
  MutexLock lock(mutex_);
  Settle(batch);
  if (lines_.empty()) written_.NotifyAll();
  while (lines_.empty()) {
    if (ending_) return false;
    changed_.Wait(mutex_);
  }
  if (queued_bytes_ < kBatchSize && waiters_ == 0 && !ending_)
    changed_.WaitFor(mutex_, kGatherTime);
  if (unwritten_ > 0) AddLossLine(std::exchange(unwritten_, 0), batch);
  while (!lines_.empty()) {
    const std::string& line = lines_.front();
    if (!batch.text.empty() && batch.text.size() + line.size() > kBatchSize) break;
    if (line.empty()) {
      AddLossLine(std::exchange(untold_losses_, 0), batch);
    } else {
      batch.text += line;
      ++batch.lines;
    }
    lines_.pop_front();
  }
  write_began_ = std::chrono::steady_clock::now();
  return true;
}

void LogWriter::Settle(Batch& batch) {
  queued_bytes_ -= batch.text.size();
  if (batch.error != 0) {
    lost_lines_ += batch.lines;
    unwritten_ += batch.lines + batch.told_losses;
  }
  error_ = batch.error;
  write_began_.reset();
  batch = Batch();
}

void LogWriter::AddLossLine(int64_t losses, Batch& batch) {
  const absl::Time now = SystemClock().Now();
  const std::string line =
      absl::StrCat("W", absl::FormatTime("%Y%m%d %H:%M:%E6S", now, absl::LocalTimeZone()), " ",
                   absl::Dec(::gettid(), absl::kSpacePad5), " log_writer.cc:", __LINE__, "] ",
                   losses, " log lines were lost: nobody took them\n");
  queued_bytes_ += line.size();
  batch.text += line;
  batch.told_losses += losses;
}

absl::Status LogWriter::Check() const {
  MutexLock lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  const int64_t lost = lost_lines_;
  if (write_began_ && now - *write_began_ > kStuckAfter) {
    return absl::UnavailableError(
        absl::StrCat("nobody takes the log from standard error: ", queued_bytes_, " bytes wait, ",
                     lost, " lines were lost so far"));
  }
  if (error_ == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("the log cannot be written to standard error (",
                                             std::strerror(error_), "): ", lost,
                                             " lines were lost so far"));
}

void LogWriter::ReopenFile() {
  if (path_.empty()) return;
  struct stat now = {};
  const UniqueFd file(
      ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid() || ::fstat(fd_, &now) != 0 || ::fchmod(file.get(), now.st_mode & 0777) != 0 ||
      ::dup2(file.get(), fd_) < 0) {
    PLOG(ERROR) << "the log goes on in the file that was " << path_ << ", which cannot be opened";
  }
}

Probe LogProbe(const LogWriter& log) {
  return {"log", [&log] { return log.Check(); }, Probe::Kind::kNote};
}

void AddLogMetrics(Metrics& metrics, const LogWriter& log) {
  metrics.AddCollector([&log] {
    return std::vector<Sample>{
        {kLostLines, {}, static_cast<double>(log.lost_lines()), Sample::Kind::kCounter}};
  });
}

}  // namespace backup
