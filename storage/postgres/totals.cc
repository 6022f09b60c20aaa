#include "storage/postgres/totals.h"

#include <utility>

namespace backup::storage::postgres {

absl::Status Totals::Write(Connection& connection) {
  const auto sums = std::exchange(sums_, {});
  if (sums == decltype(sums_){}) return absl::OkStatus();
  Query update = connection.Prepare(
      "UPDATE totals SET clients = clients + $1, files = files + $2, versions = versions + $3, "
      "verified_versions = verified_versions + $4, stored_bytes = stored_bytes + $5, "
      "blob_bytes = blob_bytes + $6, chunks = chunks + $7, unique_bytes = unique_bytes + $8, "
      "compressed_bytes = compressed_bytes + $9, waiting_bytes = waiting_bytes + $10, "
      "packs = packs + $11, pack_bytes = pack_bytes + $12, "
      "pack_live_bytes = pack_live_bytes + $13, unmoved_versions = unmoved_versions + $14, "
      "healed_chunks = healed_chunks + $15, healed_versions = healed_versions + $16, "
      "trash_files = trash_files + $17 WHERE shard = shard()");
  static_assert(static_cast<size_t>(Total::kCount) == 17);
  for (const int64_t sum : sums) update.Bind(sum);
  return update.Passing().Run();
}

}  // namespace backup::storage::postgres
