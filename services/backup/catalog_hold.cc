#include "services/backup/catalog_hold.h"

#include <optional>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/escaping.h"
#include "base/status_macros.h"
#include "crypto/random.h"
#include "glog/logging.h"

namespace backup {
namespace {

constexpr size_t kIdSize = 16;  // Before it is written in hex.
// The server needs a moment to see that a process is gone.
constexpr absl::Duration kPatience = absl::Seconds(5);

}  // namespace

CatalogHold::CatalogHold(std::unique_ptr<storage::SessionLock> lock)
    : lock_(std::move(lock)), id_(absl::BytesToHexString(crypto::RandomBytes(kIdSize))) {}

absl::StatusOr<std::unique_ptr<CatalogHold>> CatalogHold::Take(const std::string& conninfo) {
  ASSIGN_OR_RETURN(std::unique_ptr<storage::SessionLock> lock,
                   storage::SessionLock::Take(conninfo, kPatience));
  return absl::WrapUnique(new CatalogHold(std::move(lock)));
}

absl::Status CatalogHold::Note(storage::Catalog& catalog) {
  return catalog.Run([this](storage::Transaction& transaction) {
    return transaction.SetStoreValue(kCatalogHolderValue, id_);
  });
}

bool CatalogHold::IsLost(storage::Catalog& catalog) {
  const absl::Status renewed = lock_->Renew();
  LOG_IF(WARNING, !renewed.ok() && was_held_)
      << "the lock on the catalog is lost, and tried again: " << renewed.message();
  LOG_IF(INFO, renewed.ok() && !was_held_) << "the lock on the catalog is held again";
  was_held_ = renewed.ok();
  const absl::StatusOr<std::optional<std::string>> holder = catalog.Read(
      [](storage::Snapshot& snapshot) { return snapshot.FindStoreValue(kCatalogHolderValue); });
  return holder.ok() && *holder != id_;
}

}  // namespace backup
