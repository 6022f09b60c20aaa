#include "services/backup/handlers/version_ids.h"

#include <numeric>
#include <vector>

#include "base/status_macros.h"

namespace backup::handlers {
namespace {

constexpr int64_t kBlock = 1024;

absl::StatusOr<std::vector<int64_t>> Reserve(storage::Transaction& transaction) {
  ASSIGN_OR_RETURN(const int64_t first, transaction.ReserveVersionIds(kBlock));
  std::vector<int64_t> ids(kBlock);
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

}  // namespace

storage::Stock<int64_t> NewVersionIds(storage::Catalog& catalog) {
  return storage::Stock<int64_t>(catalog, Reserve, kBlock / 2);
}

}  // namespace backup::handlers
