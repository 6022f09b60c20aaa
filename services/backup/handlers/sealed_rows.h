#pragma once

#include <cstdint>
#include <functional>
#include <set>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "crypto/key_ring.h"
#include "storage/catalog/catalog.h"

// The rows of a catalog that have something that is sealed, page by page, each a read of its own.
namespace backup::handlers {

// Calls `visit` for clients that are not in the trash, or packs, in order, until it returns false.
absl::Status VisitClients(storage::Catalog& catalog,
                          const std::function<bool(const storage::Client&)>& visit);
absl::Status VisitPacks(storage::Catalog& catalog,
                        const std::function<bool(const storage::PackInfo&)>& visit);

// The generations of keys that have sealed the store's secret, clients' session keys, in the trash
// or out of it, and packs, as those say. It reads no blob, so it does not know of versions that are
// kept whole. Errors of Catalog::Read().
absl::StatusOr<std::set<uint32_t>> NamedGenerations(storage::Catalog& catalog);

}  // namespace backup::handlers
