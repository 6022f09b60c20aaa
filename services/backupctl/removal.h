#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "backup/v1/catalog.pb.h"
#include "backup/v1/lifecycle.pb.h"
#include "backup/v1/types.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "services/backupctl/connection.h"
#include "services/backupctl/glob.h"
#include "services/backupctl/output.h"

// What commands that delete, and those that take back, have in common.
namespace backup::ctl {

// Which of a client's files are meant: those that one of these names or patterns fits. Used by one
// thread at a time.
class FileChoice {
 public:
  // InvalidArgument: Glob::Parse().
  static absl::StatusOr<FileChoice> Parse(const std::vector<std::string>& names);

  bool Matches(absl::string_view name);
  // Reason FILE_NOT_FOUND if one of them fitted no name so far; `where` says among which.
  absl::Status CheckAllFitted(absl::string_view where) const;

 private:
  std::vector<Glob> patterns_;
  std::vector<bool> fitted_;  // For each of them.
};

// What becomes of what is deleted now, such as ", into the trash for 168h" or ", for good".
absl::StatusOr<std::string> FateOfDeleted(Connection& connection);

// Until when something can be taken back, which as a rule is in the future.
inline std::string UntilText(const google::protobuf::Timestamp& time) {
  return JsonTime(absl::FromUnixSeconds(time.seconds()));
}

// What to say once something was deleted: until when it can be taken back, and with which command.
// `response` has a purge_time, or it is gone for good.
template <typename Response>
std::string DeletedText(absl::string_view what, const Response& response,
                        absl::string_view command) {
  if (!response.has_purge_time()) return absl::StrCat("deleted ", what, ", for good");
  return absl::StrCat("deleted ", what, ": in the trash until ", UntilText(response.purge_time()),
                      "; `", command, "` takes it back");
}

// Calls `use` for each version of a file, newest first.
absl::Status ForEachVersion(Connection& connection, const std::string& client_id,
                            const std::string& file_name,
                            const std::function<void(const v1::FileVersion&)>& use);
// Calls `use` for each of a client's files, in the order of their names.
absl::Status ForEachFile(Connection& connection, const std::string& client_id,
                         const std::function<void(const v1::File&)>& use);
// Calls `use` for each page of what is in the trash; `client_id` empty: of all clients.
absl::Status ForEachTrashPage(Connection& connection, const std::string& client_id,
                              const std::function<void(const v1::ListTrashResponse&)>& use);
// The id of the client that `text` means, be it in the trash: an id, or else a name. Reason
// CLIENT_NOT_FOUND.
absl::StatusOr<std::string> FindClientId(Connection& connection, const std::string& text);

}  // namespace backup::ctl
