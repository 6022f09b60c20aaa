#pragma once

#include <cstdint>

#include "storage/catalog/catalog.h"
#include "storage/catalog/stock.h"

namespace backup::handlers {

// Version ids that are reserved by blocks, so that an upload has its own before its transaction.
// `catalog` must outlive it.
storage::Stock<int64_t> NewVersionIds(storage::Catalog& catalog);

}  // namespace backup::handlers
