#include <limits>

#include "base/status_macros.h"
#include "storage/sqlite/rows.h"
#include "storage/sqlite/sqlite_transaction.h"

namespace backup::storage {

absl::StatusOr<int64_t> SqliteTransaction::Epoch() {
  Query query = database_.Prepare("SELECT epoch FROM totals");
  RETURN_IF_ERROR(query.Step().status());
  return query.Int(0);
}

absl::StatusOr<int64_t> SqliteTransaction::OldestEpoch() {
  // Of a few owners, one for each process that runs or crashed lately.
  Query query = database_.Prepare("SELECT min(epoch) FROM owner_epochs");
  RETURN_IF_ERROR(query.Step().status());
  return query.IsNull(0) ? std::numeric_limits<int64_t>::max() : query.Int(0);
}

absl::Status SqliteTransaction::PublishEpoch(const BlobLease& lease, int64_t epoch) {
  const Passing passing(*this);
  return database_.Prepare("INSERT OR REPLACE INTO owner_epochs VALUES (?, ?, ?)")
      .BindBlob(lease.owner.bytes())
      .Bind(epoch)
      .Bind(StoredEnd(lease))
      .Run();
}

}  // namespace backup::storage
