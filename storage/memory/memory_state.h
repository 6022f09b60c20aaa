#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "storage/catalog/audit.h"
#include "storage/catalog/ban.h"
#include "storage/catalog/quota.h"
#include "storage/catalog/retention.h"
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
    int64_t kept_bytes = 0;
    bool is_marked = false;  // As damaged.
  };
  struct Recipe {
    std::vector<int64_t> chunks;  // Their numbers, in order.
    int64_t kept_bytes = 0;       // What the store grew by.
  };
  struct OwnerEpoch {
    int64_t epoch = 0;
    absl::Time lease_end;
  };

  std::map<ClientId, Client> clients;
  std::vector<ClientId> registrations;  // In order, also of deleted clients.
  std::map<std::pair<ClientId, std::string>, StoredFile> files;
  std::map<int64_t, KeptVersion> versions;
  int64_t next_version_id = 1;
  std::map<BlobId, BlobLease> pending_blobs;
  std::set<BlobId> dropped_blobs;
  std::set<BlobId> set_aside_blobs;
  int64_t damage_epoch = 0;
  int64_t healed_chunks = 0;
  int64_t healed_versions = 0;
  int64_t next_number = 1;  // Of chunks, packs and recipes: none is used twice.
  std::map<int64_t, StoredChunk> chunks;
  std::map<ChunkId, int64_t> chunk_numbers;
  std::map<int64_t, PackInfo> packs;  // Without their counts of bytes.
  std::map<int64_t, Recipe> recipes;
  std::map<int64_t, BlobLease> pending_recipes;
  std::set<int64_t> dropped_recipes;
  int64_t epoch = 0;
  std::map<OwnerId, OwnerEpoch> owner_epochs;
  std::map<std::string, std::string> store_values;
  std::map<std::string, JobState> jobs;
  std::map<PolicyScope, RetentionRules> policies;
  std::map<QuotaScope, QuotaLimits> quotas;
  std::optional<ClockNote> clock_note;
  std::vector<SizeNote> size_notes;  // Oldest first.
  std::map<int64_t, AuditEntry> audit_entries;
  std::map<std::string, Ban> bans;
};

}  // namespace backup::storage
