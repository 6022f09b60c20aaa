#include "base/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "base/unique_fd.h"
#include "glog/logging.h"

namespace backup {
namespace {

constexpr char kVariable[] = "NOTIFY_SOCKET";
// How the variable begins if the socket has a name, but not in the file system.
constexpr char kAbstract = '@';

}  // namespace

void TellServiceManager(absl::string_view state) {
  const char* const variable = std::getenv(kVariable);
  if (variable == nullptr) return;
  const absl::string_view name = variable;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const bool is_known = !name.empty() && (name[0] == '/' || name[0] == kAbstract);
  if (!is_known || name.size() >= sizeof(address.sun_path)) {
    LOG(WARNING) << kVariable << " is no address of a unix socket: " << name;
    return;
  }
  std::memcpy(address.sun_path, name.data(), name.size());
  if (name[0] == kAbstract) address.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const ssize_t sent = ::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL,
                                reinterpret_cast<const sockaddr*>(&address), size);
  if (sent != std::ssize(state))
    PLOG(WARNING) << "cannot tell the service manager " << state << " through " << name;
}

}  // namespace backup
