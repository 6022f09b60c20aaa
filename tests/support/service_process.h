#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace backup::testing {

// A real backup-service on a free loopback port, with a fresh data directory; ended and cleaned up
// on destruction. Used by one thread at a time.
class ServiceProcess {
 public:
  // Starts $TEST_BIN_DIR/backup-service and returns once it answers on its port; dies if it does
  // not within 20 s. `prefix` is a command that becomes it, such as prlimit(1) with limits.
  explicit ServiceProcess(std::vector<std::string> more_flags = {},
                          std::vector<std::string> prefix = {});
  ~ServiceProcess();
  ServiceProcess(const ServiceProcess&) = delete;
  ServiceProcess& operator=(const ServiceProcess&) = delete;

  const std::string& address() const { return address_; }

 private:
  std::string directory_;
  std::string address_;
  pid_t pid_ = -1;
};

}  // namespace backup::testing
