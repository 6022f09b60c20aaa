#include "services/backup/audit/actions.h"

#include <utility>

namespace backup::audit {
namespace {

// What changes something, or hands content or conversations out. Not what clients do by the bridge,
// nor what only tells. Of "SyncBans" only what earned a ban.
constexpr std::pair<absl::string_view, absl::string_view> kActions[] = {
    {"AddBan", "ban add"},
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
    {"RemoveBan", "ban remove"},
    {"ResumeRetention", "retention resume"},
    {"RetireKey", "key retire"},
    {"RewrapKeys", "key rewrap"},
    {"RotateKey", "key rotate"},
    {"SetLogLevel", "log level"},
    {"SetPolicy", "policy set"},
    {"SetQuota", "quota set"},
    {"StartScrub", "scrub start"},
    {"SyncBans", "ban earn"},
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
