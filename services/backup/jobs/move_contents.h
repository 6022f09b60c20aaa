#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/backup/handlers/open_content.h"
#include "services/backup/handlers/upload_file.h"
#include "services/backup/jobs/job.h"
#include "services/backup/jobs/pace.h"
#include "services/backup/jobs/store_anew.h"
#include "storage/catalog/catalog.h"

namespace backup::jobs {

// Keeps the content once of versions that older programs stored whole: it is read, compared with
// its SHA-256 and stored as a new upload would be, in the form that it had; then that takes the
// place of the old. What cannot be read stays as it is, and so does what is marked as damaged.
// Counts versions that it moved. Used by one thread at a time.
class MoveContents final : public Job {
 public:
  static constexpr absl::string_view kName = "move";

  // What is borrowed must outlive this. `bytes_per_second` are read and written; 0: as many as can
  // be.
  MoveContents(const handlers::UploadResources& resources, const handlers::StoredPlaces& places,
               int64_t bytes_per_second)
      : resources_(resources), places_(places), pace_(bytes_per_second) {}

  absl::string_view name() const override { return kName; }
  // The cursor is the last version that was looked at.
  absl::StatusOr<Progress> Step(const std::string& cursor, int64_t budget,
                                const std::stop_token& token) override;

 private:
  struct Moving {
    storage::Content old;
    StoredAnew anew;
  };

  // Nothing if it cannot be read, or is gone.
  absl::StatusOr<std::optional<StoredAnew>> TryStore(const storage::StoredVersion& stored,
                                                     const std::stop_token& token);
  // Returns how many versions were moved.
  absl::StatusOr<int64_t> Replace(std::vector<Moving> moving);

  const handlers::UploadResources& resources_;
  const handlers::StoredPlaces places_;
  Pace pace_;
  std::set<int64_t> unreadable_;  // Versions, as far as there is room for them.
};

}  // namespace backup::jobs
