#pragma once

#include <vector>

#include "base/metrics.h"
#include "storage/catalog/catalog.h"

namespace backup {

// The store's quota and what is used of it, if it has one, and how many clients are beyond a soft
// limit. Returns whether there is any quota.
bool SampleQuotas(storage::Catalog& catalog, std::vector<Sample>& samples);
// The limits that each of these clients is held to, and how many files it has, of those that are
// held to any.
void SampleQuotasOf(storage::Catalog& catalog, const std::vector<storage::Client>& clients,
                    std::vector<Sample>& samples);

}  // namespace backup
