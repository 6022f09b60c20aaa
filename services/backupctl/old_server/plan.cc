#include "services/backupctl/old_server/plan.h"

#include <fnmatch.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/name_text.h"
#include "base/status_macros.h"

namespace backup::ctl::old_server {
namespace {

// What rows say of a file.
struct Claims {
  std::set<std::pair<ClientId, std::string>> names;  // Who calls it what.
  bool verified = false;
  std::string why;  // Why a row says nothing.

  std::set<ClientId> Clients() const {
    std::set<ClientId> clients;
    for (const auto& [client, name] : names) clients.insert(client);
    return clients;
  }
};

std::optional<ClientId> OwnerByRule(const std::vector<OwnerRule>& rules, const std::string& path) {
  for (const OwnerRule& rule : rules) {
    if (rule.pattern.empty() || ::fnmatch(rule.pattern.c_str(), path.c_str(), 0) == 0)
      return rule.client;
  }
  return std::nullopt;
}

// A file that no row, or rows of several clients, name.
PlannedFile Unowned(const std::string& path, const Claims& claims,
                    const std::vector<OwnerRule>& rules) {
  PlannedFile file;
  file.path = file.name = path;
  if (!claims.names.empty()) file.name = claims.names.begin()->second;
  file.owner = OwnerByRule(rules, path);
  if (file.name.size() > kMaxNameSize) {
    file.why = "its name has more than 255 bytes";
  } else if (file.owner) {
    return file;
  } else if (!claims.names.empty()) {
    const std::set<ClientId> clients = claims.Clients();
    file.claimants.assign(clients.begin(), clients.end());
    file.why = "rows of several clients name it, and it is whose came last: --owner tells";
  } else if (!claims.why.empty()) {
    file.why = absl::StrCat("its row ", claims.why, ": --owner tells whose it is");
  } else {
    file.why = "no row names it: --owner tells whose it is";
  }
  return file;
}

void PlanFile(const std::string& path, const Claims& claims, const Rows& rows,
              const std::vector<OwnerRule>& rules, std::vector<PlannedFile>& files) {
  if (claims.Clients().size() != 1) {
    files.push_back(Unowned(path, claims, rules));
    return;
  }
  for (const auto& [client, name] : claims.names) {
    PlannedFile file;
    file.path = path;
    file.name = name;
    file.owner = client;
    file.owner_by_rule = OwnerByRule(rules, path);
    if (rows.tells_verified && !claims.verified)
      file.note = "its client had not confirmed it at the old server";
    if (!claims.why.empty()) file.note = absl::StrCat("another row that names it ", claims.why);
    files.push_back(std::move(file));
  }
}

}  // namespace

absl::StatusOr<std::vector<PlannedFile>> PlanFiles(const Rows& rows, const Folder& folder,
                                                   const std::vector<OwnerRule>& rules) {
  std::vector<PlannedFile> files;
  std::map<std::string, Claims> claims;  // By path in the folder.
  for (const File& row : rows.files) {
    const absl::StatusOr<std::string> path = folder.Find(row.path);
    if (path.ok()) {
      Claims& claim = claims[*path];
      claim.names.emplace(row.client, row.name);
      claim.verified |= row.verified;
      continue;
    }
    PlannedFile gone;
    gone.path = row.path;
    gone.name = row.name;
    gone.owner = row.client;
    gone.why = std::string(path.status().message());
    files.push_back(std::move(gone));
  }
  for (const LeftOut& row : rows.left_out) {
    if (row.kind != LeftOut::Kind::kFile || row.path.empty()) continue;
    if (const auto path = folder.Find(row.path); path.ok()) claims[*path].why = row.why;
  }
  ASSIGN_OR_RETURN(const std::vector<Folder::Entry> entries, folder.List());
  for (const Folder::Entry& entry : entries) {
    if (entry.why.empty()) {
      PlanFile(entry.path, claims[entry.path], rows, rules, files);
      continue;
    }
    // A row that names it was told already.
    const bool is_told = std::any_of(files.begin(), files.end(), [&](const PlannedFile& file) {
      return !file.why.empty() && file.why == entry.why &&
             (file.path == entry.path || file.path == absl::StrCat("uploaded_files/", entry.path));
    });
    if (is_told) continue;
    PlannedFile other;
    other.path = other.name = entry.path;
    other.why = entry.why;
    files.push_back(std::move(other));
  }
  std::stable_sort(files.begin(), files.end(),
                   [](const PlannedFile& a, const PlannedFile& b) { return a.path < b.path; });
  return files;
}

}  // namespace backup::ctl::old_server
