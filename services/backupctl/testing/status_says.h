#pragma once

#include <string>

#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"

namespace backup::ctl::testing {

// Matches a status, or a StatusOr, by its code and its message.
MATCHER_P2(Says, code, message, "") {
  const absl::Status& status = ::backup::testing::StatusOf(arg);
  *result_listener << status;
  return status.code() == code &&
         ::testing::ExplainMatchResult(message, std::string(status.message()), result_listener);
}

}  // namespace backup::ctl::testing
