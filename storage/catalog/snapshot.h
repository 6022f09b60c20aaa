#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/ids.h"
#include "storage/catalog/audit.h"
#include "storage/catalog/ban.h"
#include "storage/catalog/quota.h"
#include "storage/catalog/retention.h"
#include "storage/catalog/types.h"

namespace backup::storage {

// One state of a catalog, to be read from: all that is asked of one snapshot is true at the same
// moment. Any method may fail with reason STORAGE_IO, BACKEND_DOWN or STATE_CORRUPT beside those it
// names. What is in the trash, and all that belongs to a client in the trash, is not there for any
// method that does not speak of it. Used by one thread at a time, within the function that it is
// given to.
class Snapshot {
 public:
  // Bytes of a pack that are not alive and not worth a rewrite, beside its footer.
  static constexpr int64_t kSmallWaste = 16 << 10;
  // Small packs whose footers are so large are not worth being merged: few have room in one pack.
  static constexpr int64_t kLargeFooter = 128 << 10;
  // So many chunks of a pack, or more.
  static constexpr int64_t kManyChunks = 256;
  // Of SizeNote: 32 days with one every six hours.
  static constexpr int kMaxSizeNotes = 128;

  virtual ~Snapshot() = default;

  // Clients.

  // Reason CLIENT_NOT_FOUND.
  virtual absl::StatusOr<Client> FindClient(const ClientId& id) = 0;
  // The client of that name that registered last. Reason CLIENT_NOT_FOUND.
  virtual absl::StatusOr<Client> FindClientByName(const std::string& name) = 0;
  // At most `limit` clients with ids above `after`, in order.
  virtual absl::StatusOr<std::vector<Client>> ListClients(const ClientId& after, int limit) = 0;

  // Versions.

  // The version that an upload id made, if any.
  virtual absl::StatusOr<std::optional<Version>> FindUpload(const ClientId& client,
                                                            const UploadId& upload) = 0;
  // One version; version_id 0 means the newest verified one. `with_content` false leaves content
  // empty. Reasons CLIENT_NOT_FOUND, FILE_NOT_FOUND, VERSION_NOT_FOUND.
  virtual absl::StatusOr<StoredVersion> FindVersion(const ClientId& client,
                                                    const std::string& file_name,
                                                    int64_t version_id, bool with_content) = 0;
  // At most `limit` files with names above `after` (bytewise), in order. Reason CLIENT_NOT_FOUND.
  virtual absl::StatusOr<std::vector<File>> ListFiles(const ClientId& client,
                                                      const std::string& after, int limit) = 0;
  // At most `limit` versions with ids below `before` (0: no bound), newest first. Reasons as
  // FindVersion().
  virtual absl::StatusOr<std::vector<Version>> ListVersions(const ClientId& client,
                                                            const std::string& file_name,
                                                            int64_t before, int limit) = 0;
  // The first version id that was never reserved.
  virtual absl::StatusOr<int64_t> NextVersionId() = 0;
  // At most `limit` versions of all clients with ids above `after`, in order, with content; also
  // those in the trash.
  virtual absl::StatusOr<std::vector<StoredVersion>> ScanVersions(int64_t after, int limit) = 0;

  // Trash.

  // The client in the trash with that id, unless it is half purged (Transaction::PurgeClient).
  // Reason CLIENT_NOT_FOUND.
  virtual absl::StatusOr<Client> FindTrashedClient(const ClientId& id) = 0;
  // The client in the trash of that name that was deleted last, and is not half purged. Reason
  // CLIENT_NOT_FOUND.
  virtual absl::StatusOr<Client> FindTrashedClientByName(const std::string& name) = 0;
  // At most `limit` clients in the trash, in the order in which they were deleted, behind `after`:
  // those that are half purged first, whose delete_time is the epoch.
  virtual absl::StatusOr<std::vector<Client>> ListTrashedClients(
      const TrashPosition<ClientId>& after, int limit) = 0;
  // The same of versions that were deleted on their own, whatever became of their clients; those of
  // one file newest first, with ids below that of `after` (0: no bound), whatever its time is.
  virtual absl::StatusOr<std::vector<Version>> ListTrashedVersions(
      const TrashFilter& filter, const TrashPosition<int64_t>& after, int limit) = 0;

  // Blobs. Content in the trash is kept as all content is: what refers to it there counts.

  virtual absl::StatusOr<BlobUse> FindBlob(const BlobId& id) = 0;
  // At most `limit` blobs that are to be deleted, with ids above `after`, in order.
  virtual absl::StatusOr<std::vector<BlobId>> ListDroppedBlobs(const BlobId& after, int limit) = 0;

  // Chunks and packs.

  // At most `limit` chunks of a content, in order, from the one on that holds the byte at `offset`;
  // none if that is the content's end. Chunks whose row is gone, which cannot be, are
  // STATE_CORRUPT.
  virtual absl::StatusOr<std::vector<StoredChunk>> ListChunks(const ChunkList& content,
                                                              int64_t offset, int limit) = 0;
  // The chunk, if an upload may refer to it from now on: it is in a pack, also without a reference,
  // not known to be damaged, and not condemned. What is in the catalog goes with its last
  // reference, so that whoever has its bytes brings them.
  virtual absl::StatusOr<std::optional<StoredChunk>> FindChunk(const ChunkId& id) = 0;
  // At most `limit` chunks of a pack, with an index above `after` (-1: all), in order, whatever
  // their state.
  virtual absl::StatusOr<std::vector<StoredChunk>> ListPackChunks(int64_t pack, int after,
                                                                  int limit) = 0;
  // At most `limit` chunks that are kept in the catalog, with numbers above `after`, in order of
  // these, with their payload and whatever their state.
  virtual absl::StatusOr<std::vector<StoredChunk>> ListInlineChunks(int64_t after, int limit) = 0;
  // The number of the last of them; 0 if there is none.
  virtual absl::StatusOr<int64_t> LastInlineChunk() = 0;
  // The pack with that number, if there is one.
  virtual absl::StatusOr<std::optional<PackInfo>> FindPack(int64_t pack) = 0;
  // At most `limit` packs with numbers above `after`, in order; nobody counts their chunks.
  virtual absl::StatusOr<std::vector<PackInfo>> ListPacks(int64_t after, int limit) = 0;
  // At most `limit` packs, whichever, that RewritePacks() would do good: those of which, without
  // the footer, less than two thirds, by more than kSmallWaste, or nothing is alive, that hold what
  // waits to be compressed, or that are smaller than `small_bytes`, with a footer below
  // kLargeFooter; condemned ones first, then those of which nothing is alive. None that has a
  // damaged chunk with a reference, which nobody can take along.
  virtual absl::StatusOr<std::vector<PackInfo>> ListPacksToRewrite(int64_t small_bytes,
                                                                   int limit) = 0;
  // Counts how often a chunk was found damaged (Transaction::MarkDamaged), whatever became of it:
  // as long as it is the same, no version that could be read was found not to be but for those that
  // are marked themselves. Takes as long however much is damaged.
  virtual absl::StatusOr<int64_t> DamageEpoch() = 0;
  // Counts how often packs were condemned.
  virtual absl::StatusOr<int64_t> Epoch() = 0;
  // The smallest epoch that an owner has published (Transaction::PublishEpoch); the infinite number
  // (INT64_MAX) without owners.
  virtual absl::StatusOr<int64_t> OldestEpoch() = 0;
  // At most `limit` versions with ids above `after`, in order, with content, whose content is a
  // blob or inline and not in a client's form; also those in the trash.
  virtual absl::StatusOr<std::vector<StoredVersion>> ListUnmovedVersions(int64_t after,
                                                                         int limit) = 0;
  // What is kept under this name for the store as a whole, as it was given: keys are sealed by
  // whoever keeps them.
  virtual absl::StatusOr<std::optional<std::string>> FindStoreValue(const std::string& name) = 0;

  // Retention.

  virtual absl::StatusOr<std::optional<RetentionPolicy>> FindPolicy(const PolicyScope& scope) = 0;
  // At most `limit` policies behind `after`, if that is given: the store's first, then those of
  // clients in the order of ids, then of patterns, each client's own one first.
  virtual absl::StatusOr<std::vector<RetentionPolicy>> ListPolicies(
      const std::optional<PolicyScope>& after, int limit) = 0;
  // The store's, and all that are for the client or its files.
  virtual absl::StatusOr<std::vector<RetentionPolicy>> ListPoliciesFor(const ClientId& client) = 0;
  // Versions of all files behind `after`; looks at `limit` files and versions at most.
  virtual absl::StatusOr<AgesPage> ListAges(const AgesPlace& after, int limit) = 0;
  // The latest time until which nobody may remove a version of the file; unset if there is none.
  // Reasons CLIENT_NOT_FOUND, FILE_NOT_FOUND.
  virtual absl::StatusOr<std::optional<absl::Time>> FileRetainedUntil(
      const ClientId& client, const std::string& file_name) = 0;
  // What SaveClockNote() kept; unset before the first time.
  virtual absl::StatusOr<std::optional<ClockNote>> FindClockNote() = 0;

  // Quotas.

  virtual absl::StatusOr<std::optional<QuotaLimits>> FindQuota(const QuotaScope& scope) = 0;
  // At most `limit` quotas behind `after`, if that is given: the store's, every client's, then
  // those of clients in the order of ids.
  virtual absl::StatusOr<std::vector<Quota>> ListQuotas(const std::optional<QuotaScope>& after,
                                                        int limit) = 0;
  // The limits that a file of a client is held to: the client's own, or else every client's, and
  // the store's, as far as there are any. None of a client that is not there. Takes as long however
  // much is stored.
  virtual absl::StatusOr<std::vector<QuotaUse>> ListQuotasFor(const ClientId& client,
                                                              const std::string& file_name) = 0;
  // A client without a quota of its own, if there is any, that uses more than these hard limits.
  // Looks at all clients.
  virtual absl::StatusOr<std::optional<Client>> FindClientBeyond(const QuotaLimits& limits) = 0;
  // How many clients use more than a soft limit that they are held to. Looks at all clients.
  virtual absl::StatusOr<int64_t> CountClientsBeyondSoftLimits() = 0;

  // Reports.

  virtual absl::StatusOr<Counts> Count() = 0;
  // When a client last verified a file, if ever; what is in the future of `now` does not count.
  virtual absl::StatusOr<std::optional<absl::Time>> LastVerifiedTime(absl::Time now) = 0;
  // At most `limit` clients with ids above `after`, in order, that did not verify a file between
  // `since` and `now`; of those that never did, the registration counts. What is in the future
  // (IsInFuture) is not known to be recent.
  virtual absl::StatusOr<std::vector<Client>> ListStaleClients(absl::Time since, absl::Time now,
                                                               const ClientId& after,
                                                               int limit) = 0;
  // How many clients ListStaleClients() would list without limit. With the infinite past for
  // `since`: how many of these times are in the future.
  virtual absl::StatusOr<int64_t> CountStaleClients(absl::Time since, absl::Time now) = 0;
  // What AddSizeNote() kept, oldest first.
  virtual absl::StatusOr<std::vector<SizeNote>> ListSizeNotes() = 0;

  // Jobs.

  // All jobs of which something was saved, by name.
  virtual absl::StatusOr<std::vector<JobState>> ListJobs() = 0;

  // The audit log.

  // At most `limit` entries with numbers above `after` that the filter lets through, in order.
  // Looks at all behind `after` until it has them.
  virtual absl::StatusOr<std::vector<AuditEntry>> ListAuditEntries(int64_t after,
                                                                   const AuditFilter& filter,
                                                                   int limit) = 0;
  // That with the highest number; unset if there is none.
  virtual absl::StatusOr<std::optional<AuditEntry>> FindNewestAuditEntry() = 0;

  // Bans.

  // Also one that has ended.
  virtual absl::StatusOr<std::optional<Ban>> FindBan(const std::string& network) = 0;
  // At most `limit` bans that end after `time`, of networks behind `after` in the order of bytes.
  virtual absl::StatusOr<std::vector<Ban>> ListBans(absl::Time time, const std::string& after,
                                                    int limit) = 0;
};

}  // namespace backup::storage
