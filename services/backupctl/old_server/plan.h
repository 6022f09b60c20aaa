#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "services/backupctl/old_server/folder.h"
#include "services/backupctl/old_server/rows.h"

// Which file is whose, and what it is called.
namespace backup::ctl::old_server {

// What an operator says of files whose owner no row tells.
struct OwnerRule {
  ClientId client;
  std::string pattern;  // Of paths in the folder, as fnmatch(3) has it; empty: all.
};

struct PlannedFile {
  std::string path;  // In the folder; or, if it is not there, as the old server wrote it.
  std::string name;  // What it is called at the service; raw bytes.
  std::optional<ClientId> owner;
  std::optional<ClientId> owner_by_rule;  // Whose it is if that client is not taken over.
  std::vector<ClientId> claimants;  // If rows of several clients name it, and no rule decides.
  std::string note;                 // What is to be told of it; or empty.
  std::string why;                  // Why it is left out; or empty.
};

// All files that are in the folder or in a row, in the order of their paths. Errors of
// Folder::List().
absl::StatusOr<std::vector<PlannedFile>> PlanFiles(const Rows& rows, const Folder& folder,
                                                   const std::vector<OwnerRule>& rules);

}  // namespace backup::ctl::old_server
