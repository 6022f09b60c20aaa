#pragma once

#include <memory>

#include "storage/testing/contract/audit.h"
#include "storage/testing/contract/bans.h"
#include "storage/testing/contract/blobs.h"
#include "storage/testing/contract/chunks.h"
#include "storage/testing/contract/clients.h"
#include "storage/testing/contract/damage.h"
#include "storage/testing/contract/packs.h"
#include "storage/testing/contract/quotas.h"
#include "storage/testing/contract/recipes.h"
#include "storage/testing/contract/reports.h"
#include "storage/testing/contract/retention.h"
#include "storage/testing/contract/transactions.h"
#include "storage/testing/contract/trash.h"
#include "storage/testing/contract/verdicts.h"
#include "storage/testing/contract/versions.h"

// Tests what storage/catalog promises on the catalogs that `make` makes, which must be empty.
#define INSTANTIATE_CATALOG_CONTRACT(name, make)                             \
  INSTANTIATE_TEST_SUITE_P(name, CatalogContract, ::testing::Values(make));  \
  INSTANTIATE_TEST_SUITE_P(name, CatalogVerdicts, ::testing::Values(make));  \
  INSTANTIATE_TEST_SUITE_P(name, CatalogBlobs, ::testing::Values(make));     \
  INSTANTIATE_TEST_SUITE_P(name, CatalogTrash, ::testing::Values(make));     \
  INSTANTIATE_TEST_SUITE_P(name, CatalogRetention, ::testing::Values(make)); \
  INSTANTIATE_TEST_SUITE_P(name, CatalogQuotas, ::testing::Values(make));    \
  INSTANTIATE_TEST_SUITE_P(name, CatalogChunks, ::testing::Values(make));    \
  INSTANTIATE_TEST_SUITE_P(name, CatalogRecipes, ::testing::Values(make));   \
  INSTANTIATE_TEST_SUITE_P(name, CatalogPacks, ::testing::Values(make));     \
  INSTANTIATE_TEST_SUITE_P(name, CatalogDamage, ::testing::Values(make));    \
  INSTANTIATE_TEST_SUITE_P(name, CatalogAudit, ::testing::Values(make));     \
  INSTANTIATE_TEST_SUITE_P(name, CatalogBans, ::testing::Values(make))
