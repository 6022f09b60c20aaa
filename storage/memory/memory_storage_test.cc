#include "storage/memory/memory_blob_store.h"
#include "storage/memory/memory_catalog.h"
#include "storage/testing/blob_store_contract.h"
#include "storage/testing/catalog_contract.h"
#include "storage/testing/repeating_catalog.h"

namespace backup::storage {
namespace {

std::unique_ptr<Catalog> MakeCatalog() { return std::make_unique<MemoryCatalog>(); }
std::unique_ptr<Catalog> MakeRepeatingCatalog() {
  return std::make_unique<RepeatingCatalog>(std::make_unique<MemoryCatalog>());
}

INSTANTIATE_CATALOG_CONTRACT(Memory, MakeCatalog);
INSTANTIATE_CATALOG_CONTRACT(Repeating, MakeRepeatingCatalog);

INSTANTIATE_TEST_SUITE_P(Memory, BlobStoreContract,
                         ::testing::Values([] { return std::make_unique<MemoryBlobStore>(); }));

}  // namespace
}  // namespace backup::storage
