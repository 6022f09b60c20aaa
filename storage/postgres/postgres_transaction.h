#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/catalog/recipe_entries.h"
#include "storage/catalog/transaction.h"
#include "storage/postgres/chunk_rows.h"
#include "storage/postgres/connection.h"
#include "storage/postgres/rows.h"
#include "storage/postgres/totals.h"
#include "storage/seen_times.h"

namespace backup::storage::postgres {

// What the works of one transaction share. Used by one thread at a time.
struct BatchState {
  Totals totals;  // That are not written yet.
  // Whether there is any quota, as far as it was asked: another service may set one meanwhile,
  // which counts from the next transaction on.
  std::optional<bool> has_quotas;
};

// What a work or a read does in the transaction that is open on a connection. Several services do
// so at the same time, so whoever decides by what it reads has locked that: a client's row stands
// for all that the client has, chunks are locked in the order of their ids, then packs. Used by one
// thread at a time.
class PostgresTransaction final : public Transaction {
 public:
  // All of it must outlive this. `state` is null of a transaction that only reads.
  PostgresTransaction(Connection& connection, DamagedChunks::Recipes recipes,
                      BatchState* state = nullptr)
      : connection_(connection), recipes_(recipes), state_(state) {}

  // What TouchClient() noted and nobody has written yet.
  const SeenTimes::Times& seen() const { return seen_; }
  // Notes a contact of the client as Transaction describes; nothing happens if there is no such
  // client.
  absl::Status NoteSeen(const ClientId& id, absl::Time now);
  // What the catalog's tables take, with their indices.
  absl::StatusOr<int64_t> SizeBytes();

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

  // recipes.cc
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

  // packs.cc and damage.cc: counted
  absl::StatusOr<int64_t> DamageEpoch() override;
  absl::StatusOr<int64_t> Epoch() override;
  absl::StatusOr<int64_t> OldestEpoch() override;
  absl::Status PublishEpoch(const BlobLease& lease, int64_t epoch) override;

  // audit.cc
  absl::StatusOr<std::vector<AuditEntry>> ListAuditEntries(int64_t after, const AuditFilter& filter,
                                                           int limit) override;
  absl::StatusOr<std::optional<AuditEntry>> FindNewestAuditEntry() override;
  absl::Status AppendAuditEntry(const AuditEntry& entry, AuditRoom room) override;
  absl::StatusOr<int64_t> DropAuditEntries(int64_t last, int limit) override;

  // jobs.cc
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

 private:
  // The version that a verdict is about.
  struct Found {
    int64_t version_id = 0;
    int64_t size_bytes = 0;
    VersionState state = VersionState::kReceived;
    ChecksumKind checksum_kind = ChecksumKind::kCksumOfPlaintext;
  };
  // What changes of a client beside what requests tell of it.
  struct ClientChange {
    std::optional<absl::Time> verified = std::nullopt;
    std::optional<absl::Time> retain_until = std::nullopt;
    int64_t files = 0;
    int64_t trash_files = 0;
    int64_t versions = 0;
    int64_t verified_versions = 0;
    int64_t stored_bytes = 0;
    int64_t kept_bytes = 0;
  };
  // What is asked of what new content brings and names, before it is known whether it is taken.
  struct ContentQueries {
    size_t blobs = 0;  // That must be pending.
    std::optional<Query> pending;
    std::optional<Query> recipe;
    std::optional<Query> chunks;
    std::vector<std::string> brought;  // Ids of chunks.
  };
  using ChunkRows = std::map<ChunkId, ChunkRow>;
  struct Taken {
    std::vector<RecipeEntry> entries;  // Of the recipe.
    int64_t kept_bytes = 0;            // That the store grew by.
    int64_t recipe_size = 0;           // Of what the recipe had before,
    int64_t recipe_kept_bytes = 0;     // and what the store grew by for that.
  };
  struct ClockState {
    std::optional<absl::Time> newest;
    bool is_distrusted = false;
  };

  Totals& totals() { return state_->totals; }

  // clients.cc
  absl::StatusOr<Client> SelectClient(const ClientId& id);
  // The same, and it is locked.
  absl::StatusOr<Client> LockClient(const ClientId& id);
  // Locks the clients that these versions are of. Costs no round trip.
  absl::Status LockOwners(const std::vector<int64_t>& versions);
  // Others who register this name wait. Costs no round trip.
  absl::Status LockName(const std::string& name);
  absl::StatusOr<std::optional<Client>> NewestNamed(const std::string& name);
  // Behind the name's last registration, also of one in the trash, since which the clock may have
  // been set back.
  absl::StatusOr<absl::Time> RegistrationTime(const std::string& name, absl::Time wanted);
  absl::StatusOr<Client> InsertClient(const std::string& name, const ClientId& id,
                                      absl::Time create_time);
  absl::Status MendRegistration(const ClientId& id, absl::Time now);
  // Notes a contact in `client`, for UpdateClient().
  absl::Status SetSeen(Client& client, absl::Time now);
  // Stores what requests change of a client, in one statement.
  absl::Status UpdateClient(const Client& client, const ClientChange& change);

  // versions.cc
  absl::StatusOr<int64_t> SelectFileId(const ClientId& client, const std::string& file_name);
  absl::Status InsertVersion(const Version& version, const ContentReference& reference);
  absl::Status PutInPlace(int64_t version_id, StorageForm form, const NewContent& content);
  absl::Status InsertInline(int64_t version_id, const NewContent& content);
  absl::StatusOr<std::vector<StoredVersion>> ReadStoredVersions(Query& query);

  // new_content.cc: takes what content brings, so that a version may refer to it, or drops it.
  // Reason BACKEND_DOWN, which leaves everything as it was.
  std::unique_ptr<ContentQueries> AskForContent(const NewContent& content);
  absl::StatusOr<ContentReference> TakeContent(ContentQueries& queries, const NewContent& content);
  absl::Status DropContent(ContentQueries& queries, const NewContent& content);
  // Adds a row for each chunk that is brought and new. Costs no round trip.
  absl::Status InsertNewRows(const ContentQueries& queries);
  // Takes those back that have no place.
  absl::Status ForgetNewRows(const ContentQueries& queries);
  absl::Status CheckPending(ContentQueries& queries);
  absl::StatusOr<ContentReference> TakeChunks(ContentQueries& queries, const NewChunks& chunks);
  absl::StatusOr<Taken> TakeSteps(ContentQueries& queries, const NewChunks& chunks);
  absl::StatusOr<ChunkRows> CheckChunks(ContentQueries& queries, const NewChunks& chunks);
  absl::StatusOr<bool> IsUsable(const ChunkRow& row, const InlineChunk& brought);
  absl::StatusOr<int64_t> PutPack(const NewPack& pack, ChunkRows& rows, ChunkChanges& changes);
  absl::StatusOr<int64_t> InsertPack(const NewPack& pack);

  // recipes.cc
  absl::StatusOr<int64_t> InsertRecipe();
  absl::Status AppendEntries(int64_t recipe_id, const Taken& taken);
  absl::Status ReleaseEntries(const std::vector<RecipeEntry>& entries);
  absl::Status ForgetRecipe(int64_t recipe_id);

  // packs.cc
  absl::StatusOr<std::vector<ChunkRow>> LockChunks(const std::vector<std::string>& ids);
  absl::StatusOr<std::vector<int64_t>> PacksThere(const std::vector<int64_t>& packs);
  absl::Status RemoveCondemned(int64_t pack_id, int64_t& room);

  // damage.cc
  absl::Status SetDamaged(int64_t chunk, int64_t pack, bool is_damaged);
  // Whether the version has this content; none, if its bytes are missing. It is locked.
  absl::StatusOr<bool> HasContent(int64_t version_id, const Content& content);

  // trash.cc: of those of these versions that are not in it.
  absl::StatusOr<int64_t> Delete(const std::vector<int64_t>& ids, const Deletion& deletion,
                                 const ClockState& clock);

  // retention.cc
  absl::StatusOr<ClockState> ReadClock();

  // quotas.cc
  absl::StatusOr<Usage> UsedByStore();

  // verdicts.cc
  absl::Status ApplyOutcome(const Found& version, Outcome outcome, absl::Time now);

  Connection& connection_;
  const DamagedChunks::Recipes recipes_;
  BatchState* const state_;
  SeenTimes::Times seen_;
};

}  // namespace backup::storage::postgres
