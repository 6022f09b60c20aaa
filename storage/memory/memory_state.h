#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "storage/catalog/types.h"

namespace backup::storage {

// All that a MemoryCatalog holds. Copying it is how a transaction begins.
struct MemoryState {
  struct StoredFile {
    std::set<int64_t> versions;   // Never empty.
    int64_t last_version_id = 0;  // Of the version that was added last, which may be gone.
  };
  struct KeptVersion {
    StoredVersion stored;
    int64_t blob_size = 0;
  };

  std::map<ClientId, Client> clients;
  std::vector<ClientId> registrations;  // In order, also of deleted clients.
  std::map<std::pair<ClientId, std::string>, StoredFile> files;
  std::map<int64_t, KeptVersion> versions;
  int64_t next_version_id = 1;
  std::map<BlobId, BlobLease> pending_blobs;
  std::set<BlobId> dropped_blobs;
  std::map<std::string, JobState> jobs;
};

}  // namespace backup::storage
