#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/catalog/catalog.h"
#include "storage/postgres/session_lock.h"

namespace backup {

// The name of the store value that the note is.
inline constexpr char kCatalogHolderValue[] = "catalog.holder";

// One service at a time uses a catalog that is elsewhere: each keeps in memory what only it may
// change, and jobs of two would undo each other's work. Nothing but a session of the database
// server holds it, so that whoever ends lets go of it, and a note in the catalog tells whether
// another had it while a session was lost. Used by one thread at a time.
class CatalogHold {
 public:
  // Errors as of SessionLock::Take(): Aborted if another service holds it.
  static absl::StatusOr<std::unique_ptr<CatalogHold>> Take(const std::string& conninfo);

  // Notes that it is this service's from now on; before anything else is written.
  absl::Status Note(storage::Catalog& catalog);
  // Whether another service has noted that since: this one may write nothing more. False while
  // nobody can tell. Takes the lock again if the server lost it.
  bool IsLost(storage::Catalog& catalog);

 private:
  explicit CatalogHold(std::unique_ptr<storage::SessionLock> lock);

  const std::unique_ptr<storage::SessionLock> lock_;
  const std::string id_;
  bool was_held_ = true;  // When it was last looked.
};

}  // namespace backup
