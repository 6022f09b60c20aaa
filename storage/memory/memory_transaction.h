#pragma once

#include <cstdint>
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
  absl::Status TouchClient(const ClientId& id, absl::Time now) override;
  absl::StatusOr<int64_t> DeleteVersionsOf(const ClientId& id, int limit) override;
  absl::Status DeleteClient(const ClientId& id) override;

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
  absl::StatusOr<std::vector<StoredVersion>> ScanVersions(int64_t after, int limit) override;
  absl::StatusOr<int64_t> ReserveVersionIds(int64_t count) override;
  absl::StatusOr<Version> AddVersion(const Version& version, const Content& content,
                                     int64_t blob_size, const LegacyProfile& observed) override;
  absl::StatusOr<bool> SettleVersion(const Verdict& verdict, absl::Time now) override;
  absl::Status DeleteVersion(const ClientId& client, const std::string& file_name,
                             int64_t version_id) override;

  // blobs.cc
  absl::StatusOr<BlobUse> FindBlob(const BlobId& id) override;
  absl::StatusOr<std::vector<BlobId>> ListDroppedBlobs(const BlobId& after, int limit) override;
  absl::Status AddPendingBlobs(const std::vector<BlobId>& ids, const BlobLease& lease) override;
  absl::Status RenewLeases(const BlobLease& lease) override;
  absl::Status DropPendingBlob(const BlobId& id) override;
  absl::StatusOr<int64_t> DropPendingBlobsOfOthers(const OwnerId& self, absl::Time ended_before,
                                                   int limit) override;
  absl::Status ForgetDroppedBlobs(const std::vector<BlobId>& ids) override;

  // reports.cc
  absl::StatusOr<Counts> Count() override;
  absl::StatusOr<std::optional<absl::Time>> LastVerifiedTime(absl::Time now) override;
  absl::StatusOr<std::vector<Client>> ListStaleClients(absl::Time since, absl::Time now,
                                                       const ClientId& after, int limit) override;
  absl::StatusOr<int64_t> CountStaleClients(absl::Time since, absl::Time now) override;
  absl::StatusOr<std::vector<JobState>> ListJobs() override;
  absl::Status SaveJob(const JobState& job) override;
  absl::Status ProbeWrite() override { return absl::OkStatus(); }

 private:
  // The client. Reason CLIENT_NOT_FOUND.
  absl::StatusOr<Client*> Require(const ClientId& id);
  // Reasons CLIENT_NOT_FOUND, FILE_NOT_FOUND.
  absl::StatusOr<const MemoryState::StoredFile*> RequireFile(const ClientId& client,
                                                             const std::string& file_name);
  Client* NewestNamed(const std::string& name);
  // Notes a contact, as Transaction describes.
  void NoteSeen(Client& client, absl::Time now);
  // The file's newest verified version, if any.
  const StoredVersion* NewestVerified(const MemoryState::StoredFile& file) const;
  const Version* VersionOfUpload(const ClientId& client, const UploadId& upload) const;
  // The version that a verdict is about, if it is still there. Reasons as SettleVersion().
  absl::StatusOr<MemoryState::KeptVersion*> VersionOfVerdict(const Verdict& verdict);
  // Drops the content of a version and takes it out of its client's bytes.
  void DropContent(MemoryState::KeptVersion& kept);
  // Removes the version, and its file if it was the last.
  void Remove(int64_t version_id);

  MemoryState& state_;
};

}  // namespace backup::storage
