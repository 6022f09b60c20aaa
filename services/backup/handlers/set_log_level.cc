#include "services/backup/handlers/set_log_level.h"

#include <string>

#include "base/error.h"
#include "glog/logging.h"
#include "services/backup/limits.h"

namespace backup::handlers {
namespace {

// As --debug: call traces and hex dumps.
constexpr int kDebugVerbosity = 2;

}  // namespace

absl::StatusOr<v1::SetLogLevelResponse> SetLogLevel(const v1::SetLogLevelRequest& request) {
  const std::string& pattern = request.module_pattern();
  if (pattern.empty() || pattern.size() > kMaxModulePatternSize) {
    return MakeError(Reason::kInvalidField, "module_pattern must name a source file, or be *",
                     "module_pattern");
  }
  const bool everything = pattern == "*";
  switch (request.level()) {
    case v1::LOG_LEVEL_DEBUG:
    case v1::LOG_LEVEL_INFO: {
      const int verbosity = request.level() == v1::LOG_LEVEL_DEBUG ? kDebugVerbosity : 0;
      FLAGS_minloglevel = google::GLOG_INFO;
      if (everything) FLAGS_v = verbosity;
      if (!everything) google::SetVLOGLevel(pattern.c_str(), verbosity);
      return v1::SetLogLevelResponse();
    }
    case v1::LOG_LEVEL_WARNING:
    case v1::LOG_LEVEL_ERROR:
      if (!everything) {
        return MakeError(Reason::kInvalidField,
                         "levels above INFO can only be set for everything (*)", "module_pattern");
      }
      FLAGS_v = 0;
      FLAGS_minloglevel =
          request.level() == v1::LOG_LEVEL_WARNING ? google::GLOG_WARNING : google::GLOG_ERROR;
      return v1::SetLogLevelResponse();
    default:
      return MakeError(Reason::kInvalidField, "level must be one of the named levels", "level");
  }
}

}  // namespace backup::handlers
