#include "base/clock.h"
#include "storage/memory/memory_blob_store.h"
#include "storage/memory/memory_catalog.h"
#include "storage/testing/blob_store_contract.h"
#include "storage/testing/catalog_contract.h"

namespace backup::storage {
namespace {

INSTANTIATE_TEST_SUITE_P(Memory, CatalogContract,
                         ::testing::Values([] { return std::make_unique<MemoryCatalog>(); }));

INSTANTIATE_TEST_SUITE_P(Memory, BlobStoreContract, ::testing::Values([] {
                           static const SystemClock clock;
                           return std::make_unique<MemoryBlobStore>(clock);
                         }));

}  // namespace
}  // namespace backup::storage
