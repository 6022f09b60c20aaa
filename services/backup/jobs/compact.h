#pragma once

#include <string>

#include "services/backup/jobs/job.h"
#include "storage/catalog/catalog.h"

namespace backup::jobs {

// Gives room that the catalog does not use back to the file system. Counts pages of the catalog.
// Used by one thread at a time.
class Compact final : public Job {
 public:
  static constexpr absl::string_view kName = "compact";

  // `catalog` must outlive this.
  explicit Compact(storage::Catalog& catalog) : catalog_(catalog) {}

  absl::string_view name() const override { return kName; }
  // A step is as long as the catalog says, whatever the budget; there is no cursor.
  absl::StatusOr<Progress> Step(const std::string& cursor, int64_t budget,
                                const std::stop_token& token) override;

 private:
  storage::Catalog& catalog_;
};

}  // namespace backup::jobs
