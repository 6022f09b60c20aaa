#include "services/backup/handlers/store_keys.h"

#include <optional>
#include <string>

#include "base/status_macros.h"

namespace backup::handlers {

using content::StoreKeys;

absl::StatusOr<std::unique_ptr<StoreKeys>> OpenStoreKeys(storage::Catalog& catalog,
                                                         const crypto::KeyRing& master_key) {
  const std::string name(StoreKeys::kName);
  ASSIGN_OR_RETURN(
      std::optional<std::string> sealed,
      catalog.Read([&](storage::Snapshot& snapshot) { return snapshot.FindStoreValue(name); }));
  if (!sealed) {
    const std::string made = StoreKeys::NewSealedSecret(master_key);
    ASSIGN_OR_RETURN(sealed, catalog.Run([&](storage::Transaction& transaction) {
      return transaction.AddStoreValue(name, made);
    }));
  }
  return StoreKeys::Open(*sealed, master_key);
}

}  // namespace backup::handlers
