#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace backup::storage {

// The numbers are those of the database and of proto/backup/v1/admin.proto: never change one.
enum class BanSource : int {
  kOperator = 1,
  kBridge = 2,  // It earned its ban there.
};

// That whoever connects from a network is turned away by bridges, and for how long. One that has
// ended is remembered for a while, as the next one of the same network is longer.
struct Ban {
  std::string network;    // As IpNetwork::text() has it. At most one ban is of the same.
  absl::Time start_time;  // Whole microseconds.
  absl::Time end_time;    // Whole microseconds, or the infinite future: until it is lifted.
  BanSource source = BanSource::kOperator;
  std::string author;   // Who: as in the audit log.
  std::string reason;   // For people.
  int64_t strikes = 0;  // How often it was banned by bridges in a row, this time counted.

  bool operator==(const Ban&) const = default;
};

}  // namespace backup::storage
