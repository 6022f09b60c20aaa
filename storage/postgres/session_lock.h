#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/postgres/conninfo.h"

namespace backup::storage {

namespace postgres {
class Connection;
}

// A lock on a catalog in a PostgreSQL database, which lasts as long as the session of a connection
// of its own: whoever ends, however that is, lets go of it. Used by one thread at a time.
class SessionLock {
 public:
  // Takes it, within `patience` if another has it, whose process may just have ended. `conninfo` as
  // for CheckConninfo(). Errors: Aborted, saying who has it; FailedPrecondition, also of a server
  // that is too old, and reason BACKEND_DOWN as of PostgresCatalog::Open().
  static absl::StatusOr<std::unique_ptr<SessionLock>> Take(const std::string& conninfo,
                                                           absl::Duration patience);
  ~SessionLock();

  // OK: it is held now. If its connection was lost it is taken again, so that another may have had
  // it in between. Errors: Aborted if another has it, which may be the session that was lost and
  // that the server has not missed yet; reason BACKEND_DOWN if the server does not answer.
  absl::Status Renew();

 private:
  explicit SessionLock(std::vector<ConnectionParameters> hosts);
  absl::Status TryLock();
  // Who has it, for people.
  std::string Holder();

  const std::vector<ConnectionParameters> hosts_;
  std::unique_ptr<postgres::Connection> connection_;  // Null: there is none.
  bool is_held_ = false;                              // By that.
};

}  // namespace backup::storage
