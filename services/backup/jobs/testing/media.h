#pragma once

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "services/backup/jobs/testing/chunk_world.h"
#include "storage/local/local_blob_store.h"
#include "storage/memory/memory_blob_store.h"
#include "storage/memory/memory_catalog.h"
#include "storage/sqlite/sqlite_catalog.h"
#include "storage/testing/memory_folder.h"

namespace backup::jobs {

enum class On { kMemory, kDisk };

// Where a test's state is, and in which form.
struct Places {
  On on;
  storage::StorageForm form;
};
inline auto AllPlaces() {
  using storage::StorageForm;
  return ::testing::Values(
      Places{On::kMemory, StorageForm::kPlain}, Places{On::kMemory, StorageForm::kSealed},
      Places{On::kDisk, StorageForm::kPlain}, Places{On::kDisk, StorageForm::kSealed});
}

// Makes media that end with it. Used by one thread at a time.
class TestMedia {
 public:
  Medium Make(On on) {
    Medium medium = MakeQuickly(on);
    if (on == On::kDisk) {
      medium.blobs =
          *storage::LocalBlobStore::Open(absl::StrCat(folder_.path(), "/", count_, ".store"));
    }
    return medium;
  }
  // With the blobs in memory in any case: a blob store makes hundreds of folders.
  Medium MakeQuickly(On on) {
    Medium medium;
    medium.blobs = std::make_unique<storage::MemoryBlobStore>();
    if (on == On::kMemory) {
      medium.catalog = std::make_unique<storage::MemoryCatalog>();
    } else {
      medium.catalog =
          *storage::SqliteCatalog::Open(absl::StrCat(folder_.path(), "/", ++count_, ".db"));
    }
    return medium;
  }

 private:
  const storage::MemoryFolder folder_;
  int count_ = 0;
};

}  // namespace backup::jobs
