#include "base/process.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/exit_code.h"
#include "base/inherited_state.h"
#include "base/log_writer.h"
#include "base/standard_output.h"

namespace backup {
namespace {

// Exit code of an interrupted program, as shells use it for SIGINT.
constexpr int kInterruptedExitCode = 130;
// glibc returns blocks above its mmap threshold to the kernel at each free, which halves the speed
// of the byte path; blocks of pieces and messages stay below this one. It is the largest that glibc
// takes (half of its HEAP_MAX_SIZE).
constexpr int kAllocatorThreshold = 32 << 20;
constexpr mode_t kReadableByAll = 0644;
// What --debug shows: call traces (1) and hex dumps (2).
constexpr int kDebugVerbosity = 2;

// What the thread of HandleSignals() waits for. SIGXCPU comes again each second.
sigset_t HandledSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGQUIT, SIGXCPU, SIGHUP}) sigaddset(&signals, number);
  return signals;
}

void HandleSignals(StopRequest& stop, const ReloadRequest& reload, LogWriter& log) {
  std::thread([&stop, &reload, &log] {
    const sigset_t signals = HandledSignals();
    bool is_last = false;
    while (true) {
      int number = 0;
      sigwait(&signals, &number);
      if (number == SIGHUP) {
        log.ReopenFile();
        LOG(INFO) << "SIGHUP: certificates and policies are read again";
        reload.Request();
        continue;
      }
      if (is_last && number != SIGXCPU) break;
      is_last |= number != SIGXCPU;
      stop.Request(strsignal(number));
    }
    log.WaitUntilWritten(LogWriter::kLastWait);
    _exit(kInterruptedExitCode);
  }).detach();  // Waits for signals as long as the process lives.
}

// For the rest of the process, whose exit() waits a moment for the last lines.
LogWriter& StartLog() {
  LogWriter& log = *new LogWriter(STDERR_FILENO);
  log.TakeOver();
  const auto flush = [](int, void* writer) {
    static_cast<LogWriter*>(writer)->WaitUntilWritten(LogWriter::kLastWait);
  };
  ::on_exit(flush, &log);
  return log;
}

std::vector<std::string> Environment() {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) variables.push_back(*variable);
  return variables;
}

}  // namespace

void StopRequest::Request(absl::string_view reason) {
  MutexLock lock(mutex_);
  if (requested_) return;
  requested_ = true;
  reason_ = std::string(reason);
  changed_.NotifyAll();
}

bool StopRequest::requested() const {
  MutexLock lock(mutex_);
  return requested_;
}

bool StopRequest::WaitFor(absl::Duration timeout) const {
  const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout);
  MutexLock lock(mutex_);
  while (!requested_) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= left.zero()) return false;
    changed_.WaitFor(mutex_, absl::FromChrono(left));
  }
  return true;
}

std::string StopRequest::Wait() const {
  MutexLock lock(mutex_);
  while (!requested_) changed_.Wait(mutex_);
  return reason_;
}

ReloadRequest::Handler::Handler(ReloadRequest& owner, std::function<void()> reload)
    : owner_(owner) {
  MutexLock lock(owner_.mutex_);
  owner_.reload_ = std::move(reload);
}

ReloadRequest::Handler::~Handler() {
  MutexLock lock(owner_.mutex_);
  owner_.reload_ = nullptr;
}

void ReloadRequest::Request() const {
  MutexLock lock(mutex_);
  if (reload_) reload_();
}

Process StartProcess(const ProgramText& program, int& argc, char**& argv, StopRequest& stop) {
  TakeOverInheritedState();
  IgnoreMeaninglessSignals();
  // Before the first thread, for all of them.
  const sigset_t signals = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // Without it the C library looks at /etc/localtime again for each line of the log.
  setenv("TZ", ":/etc/localtime", /*overwrite=*/0);
  TuneLibraries();
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;  // As long as nobody knows whether there is room for a thread.
  if (const absl::Status checked = CheckLimits(kDaemonLimits); !checked.ok())
    std::exit(Refuse(checked));
  LogWriter& log = StartLog();
  absl::StatusOr<std::vector<Setting>> settings =
      LoadConfiguration(program, argc, argv, Environment());
  if (!settings.ok()) std::exit(Refuse(settings.status()));
  if (PrintConfigurationOnly()) {
    std::cout << ConfigurationText(*settings);
    ExitAfterOutput();
  }
  log.TakeOver();  // Again: glog has flags of its own, which may have been given.
  ReloadRequest& reload = *new ReloadRequest;
  HandleSignals(stop, reload, log);
  return {*std::move(settings), log, reload};
}

void TuneLibraries() {
  CHECK_EQ(mallopt(M_MMAP_THRESHOLD, kAllocatorThreshold), 1);
  CHECK_EQ(mallopt(M_TRIM_THRESHOLD, kAllocatorThreshold), 1);
  // Debian builds Abseil with its search for deadlocks on: a graph of all mutexes behind one lock,
  // which costs gRPC, full of them, a tenth of its time.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

void SetDebugLogging() {
  FLAGS_minloglevel = google::GLOG_INFO;
  FLAGS_v = kDebugVerbosity;
}

void SetQuietLogging() { FLAGS_minloglevel = google::GLOG_ERROR; }

int LeaveNoPortFiles(int exit_code, const std::vector<std::string>& paths) {
  if (exit_code == 0 || exit_code == kExitInUse) return exit_code;
  for (const std::string& path : paths) ::unlink(path.c_str());
  return exit_code;
}

absl::Status WriteFileAtomically(const std::string& path, absl::string_view text) {
  const std::string beside = absl::StrCat(path, ".new");
  std::ofstream out(beside, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  if (!out || ::chmod(beside.c_str(), kReadableByAll) != 0 ||
      ::rename(beside.c_str(), path.c_str()) != 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot write ", path,
                            " (does its folder exist, and may this user write there?)"));
  }
  return absl::OkStatus();
}

}  // namespace backup
