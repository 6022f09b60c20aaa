#include "services/backup/audit/actions.h"

#include <utility>

namespace backup::audit {
namespace {

// What changes something, or hands content or conversations out. Not what clients do by the bridge,
// nor what only tells.
constexpr std::pair<absl::string_view, absl::string_view> kActions[] = {
    {"BackUpState", "state backup"},
    {"DeleteClient", "client delete"},
    {"DeleteFile", "file delete"},
    {"DeletePolicy", "policy delete"},
    {"DeleteQuota", "quota delete"},
    {"DeleteVersion", "version delete"},
    {"DiscardDamaged", "damaged discard"},
    {"DownloadFile", "version download"},
    {"EmptyTrash", "trash empty"},
    {"ImportClient", "client import"},
    {"PauseScrub", "scrub pause"},
    {"ResumeRetention", "retention resume"},
    {"RetireKey", "key retire"},
    {"RewrapKeys", "key rewrap"},
    {"RotateKey", "key rotate"},
    {"SetLogLevel", "log level"},
    {"SetPolicy", "policy set"},
    {"SetQuota", "quota set"},
    {"StartScrub", "scrub start"},
    {"TraceClient", "client trace"},
    {"UndeleteClient", "client undelete"},
    {"UndeleteFile", "file undelete"},
    {"UndeleteVersion", "version undelete"},
};

}  // namespace

absl::string_view ActionOf(absl::string_view rpc) {
  for (const auto& [method, action] : kActions) {
    if (method == rpc) return action;
  }
  return "";
}

}  // namespace backup::audit
