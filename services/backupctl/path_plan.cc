#include "services/backupctl/path_plan.h"

#include <vector>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "base/name_text.h"
#include "base/status_macros.h"

namespace backup::ctl {
namespace {

constexpr int kMaxNumber = 1000;

// Calls `use` with each folder that `path` leads through, until it returns false.
template <typename Use>
bool ForEachFolder(absl::string_view path, const Use& use) {
  for (size_t end = path.find('/'); end != absl::string_view::npos; end = path.find('/', end + 1)) {
    if (!use(path.substr(0, end))) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<PlannedPath> PathPlan::Add(absl::string_view name, const Fits& fits) {
  std::vector<std::string> paths = SafePaths(name, rules_);
  const std::string last = paths.back();
  for (int number = 2; number <= kMaxNumber; ++number) {
    for (const std::string& path : paths) {
      if (!IsFree(path)) continue;
      ASSIGN_OR_RETURN(const bool is_fit, fits(path));
      if (!is_fit) continue;
      Take(path);
      return PlannedPath{path, path != NaturalPath(name)};
    }
    paths = {NumberedPath(last, number, rules_)};
  }
  return absl::AlreadyExistsError(absl::StrCat("every place for ", NameToText(name), " is taken"));
}

size_t PathPlan::KeyOf(absl::string_view path) const {
  return rules_.portable ? absl::HashOf(FoldCase(path)) : absl::HashOf(path);
}

bool PathPlan::IsFree(absl::string_view path) const {
  const size_t key = KeyOf(path);
  return !files_.contains(key) && !folders_.contains(key) &&
         ForEachFolder(path,
                       [&](absl::string_view folder) { return !files_.contains(KeyOf(folder)); });
}

void PathPlan::Take(absl::string_view path) {
  files_.insert(KeyOf(path));
  ForEachFolder(path, [&](absl::string_view folder) {
    folders_.insert(KeyOf(folder));
    return true;
  });
}

}  // namespace backup::ctl
