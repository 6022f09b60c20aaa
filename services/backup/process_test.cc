// The real program: how it starts, refuses to start, and survives running out of file descriptors.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "backup/v1/admin.grpc.pb.h"
#include "base/unique_fd.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"
#include "tests/support/service_process.h"

namespace backup {
namespace {

using testing::ServiceProcess;

// Runs the program until it ends; its exit code.
int ExitCodeOf(std::vector<std::string> args) {
  args.insert(args.begin(), absl::StrCat(getenv("TEST_BIN_DIR"), "/backup-service"));
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  EXPECT_EQ(posix_spawn(&pid, argv[0], nullptr, nullptr, argv.data(), environ), 0);
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

class ExitCodeTest : public ::testing::Test {
 protected:
  ExitCodeTest() {
    std::string pattern = absl::StrCat(::testing::TempDir(), "process_test.XXXXXX");
    folder_ = mkdtemp(pattern.data());
    data_dir_ = absl::StrCat("--data_dir=", folder_, "/data");
  }
  ~ExitCodeTest() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
  std::string data_dir_;
};

TEST_F(ExitCodeTest, IsTwoForWrongUsage) {
  EXPECT_EQ(ExitCodeOf({}), 2);
  EXPECT_EQ(ExitCodeOf({data_dir_, "--no_such_flag"}), 2);
  EXPECT_EQ(ExitCodeOf({data_dir_, "stray"}), 2);
  for (const char* flag :
       {"--at_rest=folded", "--idle_shutdown=soon", "--idle_shutdown=-1s",
        "--corrupt_checksums=maybe", "--rekey=x", "--unknown_key=x", "--duplicate_names=x",
        "--grpc_reflection=x", "--inline_blob_limit=-1"}) {
    EXPECT_EQ(ExitCodeOf({data_dir_, flag}), 2) << flag;
  }
}

TEST_F(ExitCodeTest, IsZeroForHelpAndVersion) {
  EXPECT_EQ(ExitCodeOf({"--help"}), 0);
  EXPECT_EQ(ExitCodeOf({"--version"}), 0);
}

TEST_F(ExitCodeTest, IsTenForABadConfiguration) {
  EXPECT_EQ(ExitCodeOf({data_dir_, "--listen=0.0.0.0:0"}), 10);
  EXPECT_EQ(ExitCodeOf({data_dir_, "--listen=nonsense"}), 10);
  EXPECT_EQ(ExitCodeOf({"--data_dir=/dev/null/data", "--listen=127.0.0.1:0"}), 10);
}

TEST_F(ExitCodeTest, IsElevenWhileAnotherHoldsTheDataDirectory) {
  std::filesystem::create_directory(folder_ + "/data");
  const UniqueFd lock(::open((folder_ + "/data/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::flock(lock.get(), LOCK_EX | LOCK_NB), 0);
  EXPECT_EQ(ExitCodeOf({data_dir_, "--listen=127.0.0.1:0"}), 11);
}

TEST_F(ExitCodeTest, IsThirteenForTheDataOfANewerProgram) {
  const std::vector<std::string> flags = {data_dir_, "--listen=127.0.0.1:0",
                                          "--idle_shutdown=100ms"};
  ASSERT_EQ(ExitCodeOf(flags), 0);
  // SQLite's file format: the user version, which holds our schema, is the 4 bytes at offset 60.
  std::fstream catalog(folder_ + "/data/catalog.db",
                       std::ios::in | std::ios::out | std::ios::binary);
  catalog.seekp(60).write("\x00\x00\x00\x7F", 4);
  catalog.close();
  EXPECT_EQ(ExitCodeOf(flags), 13);
}

TEST_F(ExitCodeTest, IsZeroAfterAnIdleShutdown) {
  EXPECT_EQ(ExitCodeOf({data_dir_, "--listen=127.0.0.1:0", "--idle_shutdown=100ms"}), 0);
}

// Connects to a loopback port.
UniqueFd Connect(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  return fd;
}

// How many connections were closed without a word, once there are `enough`; fewer if that takes too
// long.
int CountRefused(const std::vector<UniqueFd>& connections, int enough) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::vector<pollfd> waits;
  for (const UniqueFd& connection : connections) waits.push_back({connection.get(), POLLIN, 0});
  int refused = 0;
  while (refused < enough && std::chrono::steady_clock::now() < deadline) {
    ::poll(waits.data(), waits.size(), 1000);
    for (pollfd& wait : waits) {
      if (wait.fd < 0 || wait.revents == 0) continue;
      char byte = 0;
      if (::recv(wait.fd, &byte, 1, MSG_DONTWAIT) <= 0) ++refused;
      wait.fd = -1;  // Seen: refused, or greeted by gRPC.
    }
  }
  return refused;
}

TEST(Flood, OfConnectionsDoesNotLeaveTheServiceDeaf) {
  constexpr int kFew = 64;
  constexpr int kConnections = 150;
  constexpr int kRounds = 3;
  // The hard limit too: the service raises the other itself.
  const ServiceProcess service({}, {"prlimit", absl::StrCat("--nofile=", kFew, ":", kFew)});
  int port = 0;
  ASSERT_TRUE(absl::SimpleAtoi(service.address().substr(service.address().find(':') + 1), &port));
  for (int round = 0; round < kRounds; ++round) {
    std::vector<UniqueFd> connections;
    for (int i = 0; i < kConnections; ++i) connections.push_back(Connect(port));
    // More cannot be open at once, so the rest must have met a service without descriptors.
    EXPECT_GE(CountRefused(connections, kConnections - kFew), kConnections - kFew);
  }
  const auto stub = v1::AdminService::NewStub(
      grpc::CreateChannel(service.address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext call;
  call.set_wait_for_ready(true);
  call.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  v1::GetStatusResponse status;
  const grpc::Status answer = stub->GetStatus(&call, {}, &status);
  EXPECT_TRUE(answer.ok()) << answer.error_message();
}

}  // namespace
}  // namespace backup
