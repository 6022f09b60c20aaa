#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "storage/catalog/transaction.h"
#include "storage/memory/memory_state.h"

namespace backup::storage {

// Works on a state that only it sees. Used by one thread at a time.
class MemoryTransaction final : public Transaction {
 public:
  // `state` must outlive this.
  explicit MemoryTransaction(MemoryState& state) : state_(state) {}

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
  absl::StatusOr<bool> SettleVersion(const Verdict& verdict, absl::Time now) override;

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
  absl::StatusOr<std::vector<StoredChunk>> ListChunks(const ChunkList& content, int64_t offset,
                                                      int limit) override;
  absl::StatusOr<std::optional<StoredChunk>> FindChunk(const ChunkId& id) override;
  absl::StatusOr<std::vector<StoredChunk>> ListInlineChunks(int64_t after, int limit) override;
  absl::StatusOr<int64_t> LastInlineChunk() override;
  absl::StatusOr<int64_t> AppendRecipe(const NewChunks& part, const BlobLease& lease) override;
  absl::Status DropPendingRecipe(int64_t recipe_id) override;
  absl::StatusOr<int64_t> ReleaseRecipes(int limit) override;
  absl::StatusOr<std::vector<StoredChunk>> ListPackChunks(int64_t pack, int after,
                                                          int limit) override;
  absl::StatusOr<std::optional<PackInfo>> FindPack(int64_t pack) override;
  absl::StatusOr<std::vector<PackInfo>> ListPacks(int64_t after, int limit) override;
  absl::StatusOr<std::vector<PackInfo>> ListPacksToRewrite(int64_t small_bytes, int limit) override;
  absl::StatusOr<int64_t> CondemnPacks(const std::vector<int64_t>& packs) override;
  absl::StatusOr<int64_t> RewritePacks(const std::vector<int64_t>& sources,
                                       const std::vector<NewPack>& packs) override;
  absl::StatusOr<int64_t> DamageEpoch() override { return state_.damage_epoch; }
  absl::StatusOr<int64_t> Epoch() override { return state_.epoch; }
  absl::StatusOr<int64_t> OldestEpoch() override;
  absl::Status PublishEpoch(const BlobLease& lease, int64_t epoch) override;
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
  absl::StatusOr<std::optional<ClockNote>> FindClockNote() override { return state_.clock_note; }
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
  absl::StatusOr<std::vector<SizeNote>> ListSizeNotes() override { return state_.size_notes; }
  absl::Status AddSizeNote(const SizeNote& note) override;
  absl::StatusOr<std::vector<JobState>> ListJobs() override;
  absl::Status SaveJob(const JobState& job) override;
  absl::Status ProbeWrite() override { return absl::OkStatus(); }

  // audit.cc
  absl::StatusOr<std::vector<AuditEntry>> ListAuditEntries(int64_t after, const AuditFilter& filter,
                                                           int limit) override;
  absl::StatusOr<std::optional<AuditEntry>> FindNewestAuditEntry() override;
  absl::Status AppendAuditEntry(const AuditEntry& entry, AuditRoom room) override;
  absl::StatusOr<int64_t> DropAuditEntries(int64_t last, int limit) override;

 private:
  // The client, which is not in the trash. Reason CLIENT_NOT_FOUND.
  absl::StatusOr<Client*> Require(const ClientId& id);
  // A file with versions that are not in the trash. Reasons CLIENT_NOT_FOUND, FILE_NOT_FOUND.
  absl::StatusOr<const MemoryState::StoredFile*> RequireFile(const ClientId& client,
                                                             const std::string& file_name);
  Client* NewestNamed(const std::string& name);
  // Notes a contact, as Transaction describes.
  void NoteSeen(Client& client, absl::Time now);
  // The file's newest verified version, if any.
  const MemoryState::KeptVersion* NewestVerified(const MemoryState::StoredFile& file) const;
  const Version* VersionOfUpload(const ClientId& client, const UploadId& upload) const;
  // The version that a verdict is about, if it is still there. Reasons as SettleVersion().
  absl::StatusOr<MemoryState::KeptVersion*> VersionOfVerdict(const Verdict& verdict);
  // The version as it is told: with what is known of damage, and in the trash with its client, too.
  Version Told(const MemoryState::KeptVersion& kept) const;
  bool IsDamaged(const MemoryState::KeptVersion& kept) const;
  // By which time something may be removed: `now`, or the infinite past while the time is not
  // trusted.
  absl::Time RemovalTime(absl::Time now) const {
    return state_.clock_note && state_.clock_note->distrusted_since ? absl::InfinitePast() : now;
  }
  // Whether this version is there, verified, of the same file as `than`, newer and not damaged.
  bool IsReadable(int64_t version_id, const Version& than) const;
  // The quota that a client is held to; null if there is none.
  const QuotaLimits* LimitsOf(const ClientId& client) const;
  // The version, if it has this content; else null.
  MemoryState::KeptVersion* VersionWith(int64_t version_id, const Content& content);
  // Ends the references of content; a blob that was set aside stays so.
  void Drop(const Content& content);
  // Puts it in the place of the version's content. False, and nothing has happened, if it is not
  // whole.
  bool PutInPlace(MemoryState::KeptVersion& version, StorageForm form, const NewContent& content);
  void DropContent(MemoryState::KeptVersion& kept);
  // Removes the version, and its file if it was the last.
  void Remove(int64_t version_id);
  // What a client's versions add up to, after any of them changed.
  void Recount(const ClientId& id);
  // Whether it, or its client, is in the trash.
  bool IsTrashed(const Version& version) const {
    return version.delete_time || state_.clients.at(version.client_id).delete_time;
  }
  bool HasVersions(const MemoryState::StoredFile& file) const;
  // Puts a version that is there into the trash, or removes it. Whether it was there.
  bool Delete(int64_t version_id, const Deletion& deletion);
  bool IsUnmoved(const StoredVersion& stored) const;

  // chunks.cc
  // Whether all that content brings is pending, and all that it refers to is there.
  bool IsWhole(const NewContent& content);
  // Takes what is whole, so that a version may refer to it, or drops it.
  MemoryState::KeptVersion TakeContent(const NewContent& content);
  absl::Status DropBrought(const NewContent& content);
  // Adds its chunks, and references for the steps of its recipe, which it returns.
  MemoryState::Recipe TakeSteps(const NewChunks& chunks);
  // Null if there is no such chunk.
  StoredChunk* ChunkOf(const ChunkId& id);
  // A chunk, new or not, that has only its number and its references, and no place.
  StoredChunk& NewPlace(const ChunkRef& ref);
  // Returns what the store grew by.
  int64_t PutInline(const InlineChunk& inlined);
  void PutPacked(const PackedChunk& packed, const NewPack& pack, int64_t pack_number);
  // Ends a reference.
  void Release(int64_t number);
  // Returns what the store grew by for all of the recipe.
  int64_t Append(int64_t recipe_id, const MemoryState::Recipe& taken);
  int64_t AddPack(const NewPack& pack);
  // In the order of their index.
  std::vector<const StoredChunk*> ChunksOf(int64_t pack) const;
  void DropPackIfEmpty(int64_t pack);
  // With its counts of bytes.
  PackInfo Counted(PackInfo pack) const;
  // At most `room` go, which becomes less by those.
  absl::Status RemoveCondemned(int64_t pack, int64_t& room);

  MemoryState& state_;
};

}  // namespace backup::storage
