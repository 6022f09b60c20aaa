#include "base/inherited_state.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "base/standard_error.h"
#include "base/unique_fd.h"
#include "gflags/gflags.h"
#include "glog/logging.h"

namespace backup {
namespace {

// The lowest that is not reserved.
constexpr int kFirstConstructor = 101;
constexpr mode_t kUmask = 077;
constexpr rlim_t kThreadStack = 8 << 20;

// What is read or written there fails, as it did before. Before main() and whatever runs before
// that: libraries open descriptors there.
__attribute__((constructor(kFirstConstructor))) void OpenStandardStreams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) < 0)  // The lowest free descriptor is this one.
      static_cast<void>(::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY));
  }
}

void ResetSignals() {
  // What is left as it is, a shell or nohup ignores on purpose.
  for (const int number : {SIGTERM, SIGCHLD}) ::signal(number, SIG_DFL);
  for (const int number : {SIGPIPE, SIGXFSZ}) ::signal(number, SIG_IGN);
  sigset_t none;
  sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
}

void RaiseToHardLimit(__rlimit_resource_t resource) {
  rlimit limit = {};
  if (::getrlimit(resource, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(resource, &limit);
}

void SetLimits() {
  const rlimit none = {0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  RaiseToHardLimit(RLIMIT_NOFILE);
  RaiseToHardLimit(RLIMIT_FSIZE);
  rlimit stack = {};
  if (::getrlimit(RLIMIT_STACK, &stack) == 0) {
    stack.rlim_cur = std::min(stack.rlim_max, kThreadStack);
    ::setrlimit(RLIMIT_STACK, &stack);
  }
  // The C library took the limit at the start of the process for the size of each thread's stack.
  pthread_attr_t attributes;
  if (::pthread_attr_init(&attributes) != 0) return;
  ::pthread_attr_setstacksize(&attributes, kThreadStack);
  ::pthread_setattr_default_np(&attributes);
  ::pthread_attr_destroy(&attributes);
}

// Where the kernel hands cores to a program, it does so whatever the limit is: then without memory.
void EmptyCores() {
  const UniqueFd filter(::open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC));
  if (!filter.valid()) return;
  [[maybe_unused]] const ssize_t written = ::write(filter.get(), "0", 1);
}

// gRPC's settings, some of which trace what it sends; the proxies that it would send backups and
// keys to; and where libcurl would write the keys of its TLS connections.
bool IsUnwanted(absl::string_view name) {
  return absl::StartsWith(name, "GRPC_") || name == "grpc_proxy" || name == "http_proxy" ||
         name == "https_proxy" || name == "SSLKEYLOGFILE";
}

std::vector<std::string>& Dropped() {
  static std::vector<std::string>& names = *new std::vector<std::string>;
  return names;
}

void DropVariables() {
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const absl::string_view text = *variable;
    const absl::string_view name = text.substr(0, text.find('='));
    if (IsUnwanted(name)) Dropped().emplace_back(name);
  }
  for (const std::string& name : Dropped()) ::unsetenv(name.c_str());
}

// glog takes its flags' defaults from the environment: lines would be missing, hold what only
// --debug shows, or go elsewhere, even by mail.
void ResetLogFlags() {
  FLAGS_minloglevel = google::GLOG_INFO;
  FLAGS_v = 0;
  FLAGS_vmodule = "";
  FLAGS_log_prefix = true;
  FLAGS_log_year_in_prefix = true;
  FLAGS_log_utc_time = false;
  FLAGS_logtostdout = false;
  gflags::SetCommandLineOption("alsologtoemail", "");  // It is in no header.
}

// Of them all at the same time. std::thread fails where pthread_create() waits for room
// (rpc/patient_threads.cc).
bool HasRoomForThreads(size_t count) {
  Mutex gate;
  std::vector<std::jthread> threads;
  {
    MutexLock lock(gate);
    try {
      threads.reserve(count);
      while (threads.size() < count) threads.emplace_back([&gate] { MutexLock pass(gate); });
    } catch (const std::exception&) {
    }
  }
  return threads.size() == count;
}

}  // namespace

void TakeOverInheritedState() {
  BoundStandardError();
  ::umask(kUmask);
  ResetSignals();
  SetLimits();
  EmptyCores();
  DropVariables();
  ResetLogFlags();
}

void LogDroppedVariables() {
  LOG_IF(INFO, !Dropped().empty()) << "variables of the environment that have no effect here: "
                                   << absl::StrJoin(Dropped(), ", ");
}

absl::Status CheckLimits(const LeastLimits& least) {
  rlimit descriptors = {};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) == 0 && descriptors.rlim_cur < least.descriptors) {
    return absl::FailedPreconditionError(
        absl::StrCat("only ", descriptors.rlim_cur, " files may be open, ", least.descriptors,
                     " are needed: raise the limit (ulimit -n, LimitNOFILE=)"));
  }
  if (HasRoomForThreads(least.threads)) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "there is no room for ", least.threads,
      " threads: raise the limit of processes (ulimit -u, TasksMax=) or of memory (ulimit -v)"));
}

void IgnoreMeaninglessSignals() {
  // SIGTTOU: else a background process that logs to its terminal would stop.
  for (const int number :
       {SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGSTKFLT, SIGTTOU}) {
    ::signal(number, SIG_IGN);
  }
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) ::signal(number, SIG_IGN);
}

}  // namespace backup
