#include "base/flag_validators.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/config.h"
#include "glog/logging.h"

namespace backup {

bool ValidateDuration(const char* /*flag*/, const std::string& value) {
  absl::Duration duration;
  return (absl::ParseDuration(value, &duration) && duration >= absl::ZeroDuration()) ||
         MustBe("a duration like 30s, 5m or 0s");
}

absl::Duration DurationFlag(const std::string& value) {
  absl::Duration duration;
  CHECK(absl::ParseDuration(value, &duration));  // The validator saw to it.
  return duration;
}

bool ValidateTristate(const char* /*flag*/, const std::string& value) {
  return IsOneOf(value, {"auto", "true", "false"});
}

bool TristateFlag(const std::string& value, bool automatic) {
  return value == "auto" ? automatic : value == "true";
}

bool ValidateNetworks(const char* /*flag*/, const std::string& value) {
  const absl::StatusOr<IpNetworks> networks = IpNetworks::Parse(value);
  return networks.ok() || MustBe(absl::StrCat("networks like 10.0.0.0/8 with commas between, and ",
                                              networks.status().message()));
}

IpNetworks NetworksFlag(const std::string& value) {
  absl::StatusOr<IpNetworks> networks = IpNetworks::Parse(value);
  CHECK(networks.ok()) << networks.status();  // The validator saw to it.
  return *std::move(networks);
}

bool ValidateNotNegative(const char* /*flag*/, int64_t value) {
  return value >= 0 || MustBe("0 or more");
}

bool ValidatePositive(const char* /*flag*/, int32_t value) {
  return value > 0 || MustBe("1 or more");
}

bool IsOneOf(const std::string& value, std::initializer_list<const char*> allowed) {
  return std::find(allowed.begin(), allowed.end(), value) != allowed.end() ||
         MustBe(absl::StrCat("one of: ", absl::StrJoin(allowed, ", ")));
}

}  // namespace backup
