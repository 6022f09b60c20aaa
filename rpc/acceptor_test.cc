#include "rpc/acceptor.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "base/unique_fd.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::rpc {
namespace {

using ::testing::StartsWith;
using testing::StatusIs;

class AcceptorTest : public ::testing::Test {
 protected:
  AcceptorTest() {
    std::string pattern = absl::StrCat(::testing::TempDir(), "acceptor_test.XXXXXX");
    folder_ = mkdtemp(pattern.data());
    path_ = absl::StrCat(folder_, "/socket");
  }
  ~AcceptorTest() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
  std::string path_;
};

TEST_F(AcceptorTest, TellsThePortItWasGiven) {
  const auto acceptor = Acceptor::Listen("127.0.0.1:0");
  ASSERT_OK(acceptor);
  EXPECT_GT((*acceptor)->bound_port(), 0);
  EXPECT_EQ((*acceptor)->bound_address(), absl::StrCat("127.0.0.1:", (*acceptor)->bound_port()));
  EXPECT_FALSE(Acceptor::Listen((*acceptor)->bound_address()).ok());
}

TEST_F(AcceptorTest, RefusesWhatIsNoAddress) {
  for (const char* address : {"", "localhost", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
                              "127.0.0.1:http", "unix:"}) {
    EXPECT_THAT(Acceptor::Listen(address), StatusIs(absl::StatusCode::kInvalidArgument)) << address;
  }
}

TEST_F(AcceptorTest, TakesTheSocketOfAProcessThatIsGone) {
  const std::string address = absl::StrCat("unix:", path_);
  {
    const auto acceptor = Acceptor::Listen(address);
    ASSERT_OK(acceptor);
    // A killed process leaves its socket: a second name of it outlives the first.
    std::filesystem::create_hard_link(path_, path_ + ".left");
  }
  std::filesystem::rename(path_ + ".left", path_);
  EXPECT_OK(Acceptor::Listen(address));
}

TEST_F(AcceptorTest, LeavesTheSocketOfALivingProcessAlone) {
  const std::string address = absl::StrCat("unix:", path_);
  const auto acceptor = Acceptor::Listen(address);
  ASSERT_OK(acceptor);
  EXPECT_THAT(Acceptor::Listen(address), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_TRUE(std::filesystem::is_socket(path_));
}

TEST_F(AcceptorTest, NeverDeletesAFileThatIsNoSocket) {
  std::ofstream(path_) << "precious";
  EXPECT_THAT(Acceptor::Listen(absl::StrCat("unix:", path_)),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_TRUE(std::filesystem::is_regular_file(path_));
}

TEST_F(AcceptorTest, RemovesItsOwnSocketWhenItStops) {
  const auto acceptor = Acceptor::Listen(absl::StrCat("unix:", path_));
  ASSERT_OK(acceptor);
  (*acceptor)->Stop();
  EXPECT_FALSE(std::filesystem::exists(path_));
}

// Keeps the connections it is handed open.
class HoldingAcceptor final : public grpc::experimental::ExternalConnectionAcceptor {
 public:
  void HandleNewConnection(NewConnectionParameters* parameters) override {
    const UniqueFd& held = held_.emplace_back(parameters->fd);
    EXPECT_EQ(::send(held.get(), "!", 1, MSG_NOSIGNAL), 1);
  }

 private:
  std::vector<UniqueFd> held_;
};

// Connects, and returns what came first: "!" from HoldingAcceptor, or "" if the connection was
// closed.
std::string Greeting(int port, UniqueFd& connection) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  connection = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(connection.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  constexpr int kTimeoutMs = 30'000;
  pollfd wait = {connection.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&wait, 1, kTimeoutMs), 1);
  char byte = 0;
  return ::recv(connection.get(), &byte, 1, MSG_DONTWAIT) == 1 ? std::string(1, byte) : "";
}

TEST(AcceptorLimit, LeavesTheLastDescriptorsToTheProcess) {
  constexpr int kLimit = 64;
  constexpr int kFirstReserved = 48;  // A quarter of so low a limit is reserved.
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit low = {kLimit, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  {
    const auto acceptor = Acceptor::Listen("127.0.0.1:0");
    ASSERT_OK(acceptor);
    const int port = (*acceptor)->bound_port();
    (*acceptor)->Start(std::make_unique<HoldingAcceptor>());
    UniqueFd first;
    UniqueFd second;
    EXPECT_EQ(Greeting(port, first), "!");
    std::vector<UniqueFd> others;
    do {
      others.emplace_back(::dup(first.get()));
    } while (others.back().get() < kFirstReserved - 1);
    EXPECT_EQ(Greeting(port, second), "");
    others.clear();
    EXPECT_EQ(Greeting(port, second), "!");
  }
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST(IsLocalAddress, BelievesOnlyWhatCannotLeadElsewhere) {
  for (const char* local : {"127.0.0.1:0", "127.8.9.10:50051", "localhost:50051", "[::1]:50051",
                            "unix:/run/backup.sock"}) {
    EXPECT_TRUE(IsLocalAddress(local)) << local;
  }
  for (const char* remote : {"0.0.0.0:50051", ":50051", "[::]:50051", "127.example.com:50051",
                             "localhost.example.com:50051", "10.0.0.1:50051", "1.2.7.0:1", ""}) {
    EXPECT_FALSE(IsLocalAddress(remote)) << remote;
  }
}

}  // namespace
}  // namespace backup::rpc
