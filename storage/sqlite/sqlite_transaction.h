#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "storage/catalog/transaction.h"
#include "storage/seen_times.h"
#include "storage/space_reserve.h"
#include "storage/sqlite/chunk_rows.h"
#include "storage/sqlite/database.h"
#include "storage/sqlite/rows.h"
#include "storage/sqlite/trash_tally.h"

namespace backup::storage {

// What a work or a read does in the transaction that is open on a connection. Used by one thread at
// a time.
class SqliteTransaction final : public Transaction {
 public:
  // All of it must outlive this. While the `reserve`, if there is one, forbids it, nothing grows.
  explicit SqliteTransaction(Database& database, DamagedChunks::Recipes recipes,
                             const SpaceReserve* reserve = nullptr)
      : database_(database), recipes_(recipes), reserve_(reserve) {}

  // What TouchClient() noted and nobody has written yet.
  const SeenTimes::Times& seen() const { return seen_; }
  // Rows that it changed and that say nothing of what is kept: of leases, epochs, jobs, times.
  int64_t passing_changes() const { return passing_changes_; }

  // clients.cc
  absl::StatusOr<Client> FindClient(const ClientId& id) override;
  absl::StatusOr<Client> FindClientByName(const std::string& name) override;
  absl::StatusOr<std::vector<Client>> ListClients(const ClientId& after, int limit) override;
  absl::StatusOr<Client> RegisterClient(const std::string& name, const ClientId& new_id,
                                        DuplicateNames policy, absl::Time now) override;
  absl::Status AddClient(const Client& client) override;
  absl::StatusOr<Client> SetClientKey(const ClientId& id, const KeyGrant& grant, Rekey policy,
                                      absl::Time now) override;
  absl::StatusOr<Client> UpdateLegacyProfile(const ClientId& id,
                                             const LegacyProfile& observed) override;
  absl::StatusOr<bool> ResealSessionKey(const ClientId& id, const std::string& before,
                                        const std::string& sealed) override;
  absl::Status TouchClient(const ClientId& id, absl::Time now) override;

  // versions.cc
  absl::StatusOr<std::optional<Version>> FindUpload(const ClientId& client,
                                                    const UploadId& upload) override;
  absl::StatusOr<StoredVersion> FindVersion(const ClientId& client, const std::string& file_name,
                                            int64_t version_id, bool with_content) override;
  absl::StatusOr<std::vector<File>> ListFiles(const ClientId& client, const std::string& after,
                                              int limit) override;
  absl::StatusOr<std::vector<Version>> ListVersions(const ClientId& client,
                                                    const std::string& file_name, int64_t before,
                                                    int limit) override;
  absl::StatusOr<int64_t> NextVersionId() override;
  absl::StatusOr<std::vector<StoredVersion>> ScanVersions(int64_t after, int limit) override;
  absl::StatusOr<int64_t> ReserveVersionIds(int64_t count) override;
  absl::StatusOr<Version> AddVersion(const Version& version, const NewContent& content,
                                     const LegacyProfile& observed) override;
  absl::StatusOr<bool> ReplaceContent(int64_t version_id, const Content& old,
                                      const NewContent& content) override;
  absl::StatusOr<std::vector<StoredVersion>> ListUnmovedVersions(int64_t after, int limit) override;

  // trash.cc
  absl::StatusOr<Client> FindTrashedClient(const ClientId& id) override;
  absl::StatusOr<Client> FindTrashedClientByName(const std::string& name) override;
  absl::StatusOr<std::vector<Client>> ListTrashedClients(const TrashPosition<ClientId>& after,
                                                         int limit) override;
  absl::StatusOr<std::vector<Version>> ListTrashedVersions(const TrashFilter& filter,
                                                           const TrashPosition<int64_t>& after,
                                                           int limit) override;
  absl::Status DeleteVersion(const ClientId& client, const std::string& file_name,
                             int64_t version_id, const Deletion& deletion) override;
  absl::StatusOr<int64_t> DeleteVersions(const std::vector<int64_t>& ids,
                                         const Deletion& deletion) override;
  absl::Status DeleteClient(const ClientId& id, absl::Time delete_time) override;
  absl::StatusOr<Version> UndeleteVersion(const ClientId& client, const std::string& file_name,
                                          int64_t version_id) override;
  absl::StatusOr<int64_t> UndeleteVersions(const std::vector<int64_t>& ids) override;
  absl::StatusOr<Client> UndeleteClient(const ClientId& id, DuplicateNames policy) override;
  absl::StatusOr<int64_t> PurgeVersions(const std::vector<int64_t>& ids,
                                        absl::Time deleted_by) override;
  absl::StatusOr<PurgedClient> PurgeClient(const ClientId& id, absl::Time deleted_by,
                                           int limit) override;

  // verdicts.cc
  absl::StatusOr<bool> SettleVersion(const Verdict& verdict, absl::Time now) override;

  // damage.cc
  absl::Status MarkDamaged(int64_t chunk, int64_t pack) override;
  absl::Status MarkWhole(int64_t chunk, int64_t pack) override;
  absl::StatusOr<bool> MarkVersionDamaged(int64_t version_id, const Content& content) override;
  absl::StatusOr<bool> MarkVersionWhole(int64_t version_id, const Content& content) override;
  absl::StatusOr<bool> HealVersion(int64_t version_id, const Content& old, StorageForm form,
                                   const NewContent& content) override;
  absl::StatusOr<int64_t> DiscardSetAside(int limit) override;

  // blobs.cc
  absl::StatusOr<BlobUse> FindBlob(const BlobId& id) override;
  absl::StatusOr<std::vector<BlobId>> ListDroppedBlobs(const BlobId& after, int limit) override;
  absl::Status AddPendingBlobs(const std::vector<BlobId>& ids, const BlobLease& lease) override;
  absl::Status RenewLeases(const BlobLease& lease) override;
  absl::Status DropPendingBlob(const BlobId& id) override;
  absl::StatusOr<int64_t> DropPendingBlobsOfOthers(const OwnerId& self, absl::Time ended_before,
                                                   int limit) override;
  absl::Status ForgetPending() override;
  absl::Status ForgetDroppedBlobs(const std::vector<BlobId>& ids) override;

  // chunks.cc
  absl::StatusOr<std::optional<StoredChunk>> FindChunk(const ChunkId& id) override;
  absl::StatusOr<std::vector<StoredChunk>> ListInlineChunks(int64_t after, int limit) override;
  absl::StatusOr<int64_t> LastInlineChunk() override;

  // recipes.cc
  absl::StatusOr<std::vector<StoredChunk>> ListChunks(const ChunkList& content, int64_t offset,
                                                      int limit) override;
  absl::StatusOr<int64_t> AppendRecipe(const NewChunks& part, const BlobLease& lease) override;
  absl::Status DropPendingRecipe(int64_t recipe_id) override;
  absl::StatusOr<int64_t> ReleaseRecipes(int limit) override;

  // packs.cc
  absl::StatusOr<std::vector<StoredChunk>> ListPackChunks(int64_t pack, int after,
                                                          int limit) override;
  absl::StatusOr<std::optional<PackInfo>> FindPack(int64_t pack) override;
  absl::StatusOr<std::vector<PackInfo>> ListPacks(int64_t after, int limit) override;
  absl::StatusOr<std::vector<PackInfo>> ListPacksToRewrite(int64_t small_bytes, int limit) override;
  absl::StatusOr<int64_t> CondemnPacks(const std::vector<int64_t>& packs) override;
  absl::StatusOr<int64_t> RewritePacks(const std::vector<int64_t>& sources,
                                       const std::vector<NewPack>& packs) override;

  // epochs.cc
  absl::StatusOr<int64_t> DamageEpoch() override;
  absl::StatusOr<int64_t> Epoch() override;
  absl::StatusOr<int64_t> OldestEpoch() override;
  absl::Status PublishEpoch(const BlobLease& lease, int64_t epoch) override;

  // store_values.cc
  absl::StatusOr<std::optional<std::string>> FindStoreValue(const std::string& name) override;
  absl::Status SetStoreValue(const std::string& name, const std::string& value) override;
  absl::StatusOr<std::string> AddStoreValue(const std::string& name,
                                            const std::string& value) override;

  // retention.cc
  absl::StatusOr<std::optional<RetentionPolicy>> FindPolicy(const PolicyScope& scope) override;
  absl::StatusOr<std::vector<RetentionPolicy>> ListPolicies(const std::optional<PolicyScope>& after,
                                                            int limit) override;
  absl::StatusOr<std::vector<RetentionPolicy>> ListPoliciesFor(const ClientId& client) override;
  absl::StatusOr<AgesPage> ListAges(const AgesPlace& after, int limit) override;
  absl::StatusOr<std::optional<absl::Time>> FileRetainedUntil(
      const ClientId& client, const std::string& file_name) override;
  absl::StatusOr<std::optional<ClockNote>> FindClockNote() override;
  absl::Status SetPolicy(const RetentionPolicy& policy) override;
  absl::StatusOr<bool> DeletePolicy(const PolicyScope& scope) override;
  absl::StatusOr<int64_t> ExpireVersions(const std::vector<Expiring>& expiring,
                                         const Deletion& deletion) override;
  absl::Status SaveClockNote(const ClockNote& note) override;

  // bans.cc
  absl::StatusOr<std::optional<Ban>> FindBan(const std::string& network) override;
  absl::StatusOr<std::vector<Ban>> ListBans(absl::Time time, const std::string& after,
                                            int limit) override;
  absl::Status SetBan(const Ban& ban) override;
  absl::StatusOr<bool> DeleteBan(const std::string& network) override;
  absl::StatusOr<int64_t> DropEndedBans(absl::Time time) override;

  // quotas.cc
  absl::StatusOr<std::optional<QuotaLimits>> FindQuota(const QuotaScope& scope) override;
  absl::StatusOr<std::vector<Quota>> ListQuotas(const std::optional<QuotaScope>& after,
                                                int limit) override;
  absl::StatusOr<std::vector<QuotaUse>> ListQuotasFor(const ClientId& client,
                                                      const std::string& file_name) override;
  absl::StatusOr<std::optional<Client>> FindClientBeyond(const QuotaLimits& limits) override;
  absl::StatusOr<int64_t> CountClientsBeyondSoftLimits() override;
  absl::Status SetQuota(const Quota& quota) override;
  absl::StatusOr<bool> DeleteQuota(const QuotaScope& scope) override;

  // reports.cc
  absl::StatusOr<Counts> Count() override;
  absl::StatusOr<std::optional<absl::Time>> LastVerifiedTime(absl::Time now) override;
  absl::StatusOr<std::vector<Client>> ListStaleClients(absl::Time since, absl::Time now,
                                                       const ClientId& after, int limit) override;
  absl::StatusOr<int64_t> CountStaleClients(absl::Time since, absl::Time now) override;
  absl::StatusOr<std::vector<SizeNote>> ListSizeNotes() override;
  absl::Status AddSizeNote(const SizeNote& note) override;

  // jobs.cc
  absl::StatusOr<std::vector<JobState>> ListJobs() override;
  absl::Status SaveJob(const JobState& job) override;
  absl::Status ProbeWrite() override;

  // audit.cc
  absl::StatusOr<std::vector<AuditEntry>> ListAuditEntries(int64_t after, const AuditFilter& filter,
                                                           int limit) override;
  absl::StatusOr<std::optional<AuditEntry>> FindNewestAuditEntry() override;
  absl::Status AppendAuditEntry(const AuditEntry& entry, AuditRoom room) override;
  absl::StatusOr<int64_t> DropAuditEntries(int64_t last, int limit) override;

 private:
  struct Found {
    int64_t version_id = 0;
    VersionState state = VersionState::kReceived;
    ChecksumKind checksum_kind = ChecksumKind::kCksumOfPlaintext;
  };

  // While it lives, what is changed is passing.
  class Passing {
   public:
    explicit Passing(SqliteTransaction& transaction)
        : transaction_(transaction), before_(transaction.database_.total_changes()) {}
    ~Passing() {
      transaction_.passing_changes_ += transaction_.database_.total_changes() - before_;
    }
    Passing(const Passing&) = delete;
    Passing& operator=(const Passing&) = delete;

   private:
    SqliteTransaction& transaction_;
    const int64_t before_;
  };

  using ChunkRows = std::map<ChunkId, ChunkRow>;

  // Reason STORAGE_FULL if nothing may grow. What makes room, and what it needs, does not ask.
  absl::Status CheckGrowth() const {
    return reserve_ == nullptr ? absl::OkStatus() : reserve_->CheckGrowth();
  }

  // The client of that name that registered last.
  absl::StatusOr<std::optional<Client>> NewestNamed(const std::string& name);
  // Adds a client without a key. `create_time` also tells which of a name's clients registered
  // last, so it must be above theirs.
  absl::StatusOr<Client> InsertClient(const std::string& name, const ClientId& id,
                                      absl::Time create_time);
  // The file's id; adds the file if it is new.
  absl::StatusOr<int64_t> SelectOrInsertFile(const ClientId& client, const std::string& name);
  absl::Status InsertVersion(int64_t file_id, const Version& version,
                             const ContentReference& reference);
  // Puts `content`, kept in `form`, in the place of the version's, which is not marked any more.
  // Reason BACKEND_DOWN.
  absl::Status PutInPlace(int64_t version_id, StorageForm form, const NewContent& content);
  // Puts what is inline in its place; nothing of any other content.
  absl::Status InsertInline(int64_t version_id, const NewContent& content);
  // Reason BACKEND_DOWN unless it is pending.
  absl::Status CheckPendingBlob(const BlobId& id);
  // Turns a pending blob into one that something refers to. Reason BACKEND_DOWN.
  absl::Status TakePendingBlob(const BlobId& id);

  // new_content.cc: takes what content brings, so that a version may refer to it, or drops it.
  // Reason BACKEND_DOWN, which leaves everything as it was.
  absl::StatusOr<ContentReference> TakeContent(const NewContent& content);
  absl::Status DropContent(const NewContent& content);
  absl::StatusOr<ContentReference> TakeChunks(const NewChunks& chunks);
  // Adds the chunks to the catalog and a reference for each step of the recipe.
  struct Taken {
    std::vector<RecipeEntry> entries;  // Of the recipe.
    int64_t kept_bytes = 0;            // That the store grew by.
  };
  absl::StatusOr<Taken> TakeSteps(const NewChunks& chunks);
  // The rows of all that is named, as far as there are any. Reason BACKEND_DOWN.
  absl::StatusOr<ChunkRows> CheckChunks(const NewChunks& chunks);
  // Return what the store grew by; `rows` has what they put down.
  absl::StatusOr<int64_t> PutInline(const InlineChunk& chunk, ChunkRows& rows,
                                    ChunkChanges& changes);
  // Whether the chunk may stay where it is.
  absl::StatusOr<bool> IsUsable(const ChunkRow& row, const InlineChunk& brought);
  absl::StatusOr<int64_t> PutPack(const NewPack& pack, ChunkRows& rows, ChunkChanges& changes);

  // chunks.cc: `row` is changed as the chunk's row is.
  absl::StatusOr<std::optional<ChunkRow>> SelectChunkRow(const ChunkId& id);
  absl::StatusOr<std::optional<ChunkRow>> SelectChunkRow(int64_t number);
  // Adds a chunk without a reference, or gives one another place.
  absl::Status InsertChunk(const PackedChunk& chunk, const NewPack& pack, int64_t pack_id,
                           ChunkRow& row);
  absl::Status MoveChunk(const PackedChunk& chunk, const NewPack& pack, int64_t pack_id,
                         ChunkRow& row, ChunkChanges& changes);
  absl::Status InsertInlineChunk(const InlineChunk& chunk, ChunkRow& row);
  absl::Status MoveInline(const InlineChunk& chunk, ChunkRow& row, ChunkChanges& changes);
  // Notes that a damaged chunk is right from now on, if somebody needs it.
  absl::Status CountHealed(const ChunkRow& row);
  // Adds references, or takes them away if `count` is negative.
  absl::Status AddReferences(int64_t count, ChunkRow& row, ChunkChanges& changes);

  // trash.cc: whether the version was there, and not in the trash.
  absl::StatusOr<bool> Trash(int64_t version_id, absl::Time delete_time);
  absl::StatusOr<bool> Delete(int64_t version_id, const Deletion& deletion);
  absl::Status Remove(int64_t version_id);
  // Of versions that go into the trash at this time.
  absl::StatusOr<TrashTally> OpenTally(absl::Time delete_time);
  // A version that is neither in the trash nor to be kept beyond `now`.
  absl::StatusOr<std::optional<CountedVersion>> FindRemovable(int64_t version_id, absl::Time now);
  // Whether the client was deleted, then or before.
  absl::StatusOr<bool> IsTrashed(const ClientId& id, absl::Time deleted_by);

  // packs.cc
  absl::StatusOr<int64_t> InsertPack(const NewPack& pack);
  absl::StatusOr<bool> HasPack(int64_t pack_id);
  // Adds a pack with what of it is still in `sources`.
  absl::Status PutRewritten(const NewPack& pack, const std::vector<int64_t>& sources,
                            ChunkChanges& changes);
  // Chunks that a condemned pack had when it was condemned, and that nothing refers to, go; if
  // others lost their last reference since then, it is condemned again. At most `room` go, which
  // becomes less by those.
  absl::Status RemoveCondemned(int64_t pack_id, int64_t& room);

  // damage.cc
  absl::Status SetDamaged(int64_t chunk, int64_t pack, bool is_damaged);
  // Whether the version has this content; none, if its bytes are missing.
  absl::StatusOr<bool> HasContent(int64_t version_id, const Content& content);
  absl::Status CountHealedVersion();

  // recipes.cc
  absl::StatusOr<int64_t> InsertRecipe();
  // Appends to a recipe; returns what the store grew by for all of it.
  absl::StatusOr<int64_t> AppendEntries(int64_t recipe_id, const Taken& taken);
  // Reason BACKEND_DOWN unless it is pending.
  absl::Status CheckPendingRecipe(int64_t recipe_id);
  absl::Status ReleaseEntries(const std::vector<RecipeEntry>& entries);
  // After its last part.
  absl::Status ForgetRecipe(int64_t recipe_id);

  // retention.cc: by which time something may be removed: `now`, or the infinite past while the
  // time is not trusted.
  absl::StatusOr<absl::Time> RemovalTime(absl::Time now);
  // Versions below `before` of a file, at most `limit`, newest first.
  absl::StatusOr<std::vector<VersionAge>> AgesOf(DamagedChunks& damaged, int64_t file_id,
                                                 int64_t before, int limit);
  // A version that was found readable, and its file.
  struct KnownReadable {
    int64_t version_id = 0;
    int64_t file_id = 0;
    bool operator==(const KnownReadable&) const = default;
  };
  // Whether a version that might be removed stays, as Transaction::ExpireVersions() says. `known`
  // spares looking at what the one before was spared for.
  absl::StatusOr<bool> IsSpared(const Expiring& expiring, const CountedVersion& version,
                                std::optional<KnownReadable>& known);
  // Whether this verified version is there, and known to be readable without its recipe.
  absl::StatusOr<bool> IsReadable(int64_t version_id, int64_t file_id);

  // quotas.cc
  struct FileRow {
    Usage used_by_client;
    bool is_there = false;  // Also if all its versions are in the trash.
    bool counts = false;    // One is not.
  };
  // Nothing if the client is not there.
  absl::StatusOr<std::optional<FileRow>> FindFileRow(const ClientId& client,
                                                     const std::string& file_name);
  absl::StatusOr<Usage> UsedByStore();

  // The version that a verdict is about, which names an upload or does not, if it is still there.
  // Reasons as SettleVersion().
  absl::StatusOr<std::optional<Found>> VersionOfUpload(const Verdict& verdict);
  absl::StatusOr<std::optional<Found>> LastVersion(const Verdict& verdict);
  // Does to a version in state kReceived what the outcome says.
  absl::Status ApplyOutcome(int64_t version_id, Outcome outcome, absl::Time now);

  Database& database_;
  const DamagedChunks::Recipes recipes_;
  const SpaceReserve* const reserve_;
  SeenTimes::Times seen_;
  int64_t passing_changes_ = 0;
};

}  // namespace backup::storage
