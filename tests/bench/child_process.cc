#include "tests/bench/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/bench/timing.h"

namespace backup::bench {
namespace {

constexpr pid_t kNone = -1;
constexpr double kKibibytesPerMebibyte = 1024;
// Lets the kernel end a program when the thread that started it is gone, however that ended.
constexpr const char* kEndWithParent[] = {"/usr/bin/setpriv", "--pdeathsig=TERM", "--"};

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

// Of a process alone, or with those that it has started and that have ended.
double CpuSecondsOf(pid_t pid, bool with_ended_children) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string line;
  std::getline(file, line);
  // The program's name, in parentheses, may hold spaces; user and system time are the 12th and 13th
  // field behind it, and behind these the same of such children.
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double all_ticks = 0;
  double ticks = 0;
  for (int i = 0; i < (with_ended_children ? 4 : 2) && fields >> ticks; ++i) all_ticks += ticks;
  return all_ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace

absl::StatusOr<ChildProcess> ChildProcess::Start(std::vector<std::string> args,
                                                 const std::string& stdout_path,
                                                 const std::string& stderr_path) {
  args.insert(args.begin(), std::begin(kEndWithParent), std::end(kEndWithParent));
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC;
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, stdout_path.c_str(), kFlags, 0600);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, stderr_path.c_str(), kFlags, 0600);
  pid_t pid = kNone;
  const int error = posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return absl::NotFoundError(absl::StrCat("cannot start ", args[0], ": ", strerror(error)));
  }
  return ChildProcess(pid);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, kNone)) {}

ChildProcess::~ChildProcess() {
  if (pid_ == kNone) return;
  kill(pid_, SIGTERM);
  waitpid(pid_, nullptr, 0);
}

double ChildProcess::CpuSeconds() const {
  return CpuSecondsOf(pid_, /*with_ended_children=*/false);
}

double ChildProcess::CpuSecondsWithChildren() const {
  double seconds = CpuSecondsOf(pid_, /*with_ended_children=*/true);
  std::ifstream children(absl::StrCat("/proc/", pid_, "/task/", pid_, "/children"));
  for (pid_t child = 0; children >> child;) seconds += CpuSecondsOf(child, true);
  return seconds;
}

double ChildProcess::StatusMebibytes(absl::string_view field) const {
  return ProcNumber("status", field) / kKibibytesPerMebibyte;
}

absl::Status ChildProcess::ResetPeakResident() {
  std::ofstream file(absl::StrCat("/proc/", pid_, "/clear_refs"));
  file << "5" << std::flush;  // proc(5): the peak becomes what is resident.
  if (file) return absl::OkStatus();
  return absl::InternalError("the peak of a process's memory cannot be reset");
}

double ChildProcess::WrittenMegabytes() const {
  return ProcNumber("io", "write_bytes:") / kBytesPerMegabyte;
}

double ChildProcess::ReadMegabytes() const {
  return ProcNumber("io", "read_bytes:") / kBytesPerMegabyte;
}

double ChildProcess::ProcNumber(absl::string_view name, absl::string_view field) const {
  std::ifstream file(absl::StrCat("/proc/", pid_, "/", name));
  std::string word;
  while (file >> word) {
    double number = 0;
    if (word == field && file >> number) return number;
  }
  return 0;
}

bool ChildProcess::HasEnded() {
  if (pid_ != kNone && waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = kNone;
  return pid_ == kNone;
}

int ChildProcess::WaitForEnd(double* cpu_seconds) {
  int status = 0;
  rusage usage = {};
  wait4(std::exchange(pid_, kNone), &status, 0, &usage);
  *cpu_seconds = Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace backup::bench
