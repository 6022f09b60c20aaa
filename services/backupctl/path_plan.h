#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "services/backupctl/safe_path.h"

namespace backup::ctl {

// Where a file is put.
struct PlannedPath {
  std::string path;      // Relative, and safe.
  bool renamed = false;  // It is not what the file's name says.
};

// Finds a path for each of many files, one after another, so that no two get the same and none lies
// in the way of another's folder. The same names in the same order get the same paths. Costs a few
// bytes of memory for each file and folder. Used by one thread at a time.
class PathPlan {
 public:
  // Whether a file can be put at `path` as far as it lies with what is there already.
  using Fits = std::function<absl::StatusOr<bool>(const std::string& path)>;

  explicit PathPlan(const NameRules& rules) : rules_(rules) {}

  // A path for the next file. AlreadyExists if there is none; else what `fits` failed with.
  absl::StatusOr<PlannedPath> Add(absl::string_view name, const Fits& fits);

 private:
  size_t KeyOf(absl::string_view path) const;
  bool IsFree(absl::string_view path) const;
  void Take(absl::string_view path);

  const NameRules rules_;
  // Keys. That two paths have the same one is improbable, and then one of them gets another name.
  absl::flat_hash_set<size_t> files_;
  absl::flat_hash_set<size_t> folders_;
};

}  // namespace backup::ctl
