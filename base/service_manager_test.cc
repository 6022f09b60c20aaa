#include "base/service_manager.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/unique_fd.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

// The manager's side: a datagram socket that the environment names as `variable`.
class Manager {
 public:
  explicit Manager(const std::string& variable)
      : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, variable.data(), variable.size());
    if (variable[0] == '@') address.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + variable.size());
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), size), 0) << variable;
    ::setenv("NOTIFY_SOCKET", variable.c_str(), /*overwrite=*/1);
  }
  ~Manager() { ::unsetenv("NOTIFY_SOCKET"); }

  // The next datagram; empty if there is none.
  std::string Heard() const {
    char datagram[100];
    const ssize_t size = ::recv(fd_.get(), datagram, sizeof(datagram), 0);
    return size < 0 ? "" : std::string(datagram, static_cast<size_t>(size));
  }

 private:
  const UniqueFd fd_;
};

TEST(ServiceManager, IsToldInOneDatagramEach) {
  std::string folder = absl::StrCat(::testing::TempDir(), "service_manager_test.XXXXXX");
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string path = absl::StrCat(folder, "/notify");
  {
    const Manager manager(path);
    TellServiceManager("READY=1");
    TellServiceManager("STOPPING=1");
    EXPECT_EQ(manager.Heard(), "READY=1");
    EXPECT_EQ(manager.Heard(), "STOPPING=1");
    EXPECT_EQ(manager.Heard(), "");
  }
  ::unlink(path.c_str());
  ::rmdir(folder.c_str());
}

TEST(ServiceManager, MayHaveAnAbstractAddress) {
  const Manager manager(absl::StrCat("@service_manager_test.", ::getpid()));
  TellServiceManager("READY=1");
  EXPECT_EQ(manager.Heard(), "READY=1");
}

TEST(ServiceManager, ThatIsNotThereIsNoHarm) {
  TellServiceManager("READY=1");
  for (const std::string& variable :
       {std::string(), std::string("nonsense"), std::string("/no/such/socket"),
        std::string("@nobody listens here"), "/" + std::string(200, 'x')}) {
    ::setenv("NOTIFY_SOCKET", variable.c_str(), /*overwrite=*/1);
    TellServiceManager("READY=1");
  }
  ::unsetenv("NOTIFY_SOCKET");
}

}  // namespace
}  // namespace backup
