#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/backup/retention/evaluation.h"
#include "services/backup/retention/policies.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/retention.h"

namespace backup::retention {

struct JudgedVersion {
  storage::VersionAge age;
  Verdict verdict;
  int64_t readable = 0;               // Evaluation::readable() then,
  bool readable_has_own_key = false;  // and this of it.
};

// Some versions of one file, newest first.
struct JudgedFile {
  ClientId client;
  std::string file_name;     // Raw bytes.
  int64_t damage_epoch = 0;  // Snapshot::DamageEpoch() when its first version was looked at.
  std::vector<JudgedVersion> versions;
};

// Judges all versions of a catalog, in the order of storage::AgesPlace, page by page: each page is
// read as the catalog is then, and files whose versions are on several are judged by the policy of
// the first. Used by one thread at a time.
class Walk {
 public:
  // Behind `begin`. `instead` is taken for the policy of its scope.
  Walk(const Conditions& conditions, storage::AgesPlace begin,
       std::optional<storage::RetentionPolicy> instead = std::nullopt);

  // Looks at the next `limit` files and versions at most. Errors are of the catalog.
  absl::StatusOr<std::vector<JudgedFile>> Next(storage::Catalog& catalog, int limit);
  bool is_done() const { return !place_.has_value(); }
  // Behind it everything is to be judged yet, if a later walk begins there: the last file that is
  // behind this one as a whole. Unset: there is none, or it is done.
  const std::optional<storage::AgesPlace>& resume_place() const { return resume_place_; }

 private:
  // Of the file that the last page ended in.
  struct Current {
    ClientId client;
    std::string file_name;
    int64_t damage_epoch;
    Evaluation evaluation;
  };

  absl::Status JudgePage(storage::Snapshot& snapshot, const storage::AgesPage& page,
                         std::vector<JudgedFile>& judged);
  bool IsCurrent(const storage::FileAges& file) const;
  // Makes `file` the current one, if it is another.
  absl::Status Enter(storage::Snapshot& snapshot, const storage::FileAges& file);

  const Conditions conditions_;
  const std::optional<storage::RetentionPolicy> instead_;
  std::optional<storage::AgesPlace> place_;  // Unset: at the end.
  std::optional<storage::AgesPlace> resume_place_;
  int64_t damage_epoch_ = 0;  // Of the last page.
  std::optional<Current> current_;
  // Of the client that was met last on the current page.
  std::optional<ClientId> policies_client_;
  ClientPolicies policies_;
};

}  // namespace backup::retention
