#include "base/boot_clock.h"

#include <ctime>
#include <fstream>

namespace backup {

absl::Duration SystemBootClock::Uptime() const {
  timespec uptime = {};
  ::clock_gettime(CLOCK_BOOTTIME, &uptime);  // Cannot fail where there is this clock.
  return absl::DurationFromTimespec(uptime);
}

std::string SystemBootClock::BootId() const {
  std::string id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
  return id;
}

}  // namespace backup
