#include "tests/support/service_process.h"

#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "glog/logging.h"

namespace backup::testing {
namespace {

constexpr std::chrono::seconds kStartDeadline(20);

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

}  // namespace

ServiceProcess::ServiceProcess(std::vector<std::string> more_flags,
                               std::vector<std::string> prefix) {
  const char* bin_dir = getenv("TEST_BIN_DIR");
  CHECK(bin_dir != nullptr) << "TEST_BIN_DIR must name the folder of the programs";
  char pattern[] = "/tmp/service_process.XXXXXX";
  directory_ = CHECK_NOTNULL(mkdtemp(pattern));
  const std::string port_file = absl::StrCat(directory_, "/port");
  std::vector<std::string> args = std::move(prefix);
  for (const std::string& arg :
       {absl::StrCat(bin_dir, "/backup-service"), absl::StrCat("--data_dir=", directory_, "/data"),
        std::string("--listen=127.0.0.1:0"), absl::StrCat("--bound_port_file=", port_file),
        std::string("--idle_shutdown=0s")}) {
    args.push_back(arg);
  }
  args.insert(args.end(), more_flags.begin(), more_flags.end());
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  CHECK_EQ(posix_spawnp(&pid_, argv[0], nullptr, nullptr, argv.data(), environ), 0);
  const auto deadline = std::chrono::steady_clock::now() + kStartDeadline;
  std::string port;
  while ((port = FirstLine(port_file)).empty()) {
    CHECK(std::chrono::steady_clock::now() < deadline) << "backup-service does not start";
    CHECK_EQ(waitpid(pid_, nullptr, WNOHANG), 0) << "backup-service ended";
    absl::SleepFor(absl::Milliseconds(10));
  }
  address_ = absl::StrCat("127.0.0.1:", port);
}

ServiceProcess::~ServiceProcess() {
  kill(pid_, SIGTERM);
  waitpid(pid_, nullptr, 0);
  std::filesystem::remove_all(directory_);
}

}  // namespace backup::testing
