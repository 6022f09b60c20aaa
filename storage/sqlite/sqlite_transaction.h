#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "storage/catalog/transaction.h"
#include "storage/space_reserve.h"
#include "storage/sqlite/database.h"
#include "storage/sqlite/seen_times.h"

namespace backup::storage {

// What a work or a read does in the transaction that is open on a connection. Used by one thread at
// a time.
class SqliteTransaction final : public Transaction {
 public:
  // All of it must outlive this. While the `reserve`, if there is one, forbids it, nothing grows.
  explicit SqliteTransaction(Database& database, const SpaceReserve* reserve = nullptr)
      : database_(database), reserve_(reserve) {}

  // What TouchClient() noted and nobody has written yet.
  const SeenTimes::Times& seen() const { return seen_; }

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
  absl::Status DeleteVersion(const ClientId& client, const std::string& file_name,
                             int64_t version_id) override;

  // verdicts.cc
  absl::StatusOr<bool> SettleVersion(const Verdict& verdict, absl::Time now) override;

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

  // jobs.cc
  absl::StatusOr<std::vector<JobState>> ListJobs() override;
  absl::Status SaveJob(const JobState& job) override;
  absl::Status ProbeWrite() override;

 private:
  struct Found {
    int64_t version_id = 0;
    VersionState state = VersionState::kReceived;
    ChecksumKind checksum_kind = ChecksumKind::kCksumOfPlaintext;
  };

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
  absl::Status InsertVersion(int64_t file_id, const Version& version, const Content& content,
                             int64_t blob_size);
  // Turns a pending blob into one that a version refers to. Reason BACKEND_DOWN.
  absl::Status TakePendingBlob(const BlobId& id);
  // The version that a verdict is about, which names an upload or does not, if it is still there.
  // Reasons as SettleVersion().
  absl::StatusOr<std::optional<Found>> VersionOfUpload(const Verdict& verdict);
  absl::StatusOr<std::optional<Found>> LastVersion(const Verdict& verdict);
  // Does to a version in state kReceived what the outcome says.
  absl::Status ApplyOutcome(int64_t version_id, Outcome outcome, absl::Time now);

  Database& database_;
  const SpaceReserve* const reserve_;
  SeenTimes::Times seen_;
};

}  // namespace backup::storage
