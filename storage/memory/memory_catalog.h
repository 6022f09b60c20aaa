#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "storage/catalog.h"

namespace backup::storage {

// A catalog in memory, for tests. Thread-safe.
class MemoryCatalog final : public Catalog {
 public:
  void Start(std::function<void()> work, std::function<void(const absl::Status&)> done) override {
    work();
    done(absl::OkStatus());
  }
  absl::StatusOr<Client> RegisterClient(const std::string& name, const ClientId& new_id,
                                        DuplicateNames policy, absl::Time now) override;
  absl::StatusOr<Client> FindClient(const ClientId& id) override;
  absl::StatusOr<Client> FindClientByName(const std::string& name) override;
  absl::StatusOr<std::vector<Client>> ListClients(const ClientId& after, int limit) override;
  absl::StatusOr<std::vector<BlobId>> DeleteClient(const ClientId& id) override;
  absl::StatusOr<Client> SetClientKey(const ClientId& id, const KeyGrant& grant, Rekey policy,
                                      absl::Time now) override;
  absl::StatusOr<Client> UpdateLegacyProfile(const ClientId& id,
                                             const LegacyProfile& observed) override;
  absl::Status TouchClient(const ClientId& id, absl::Time now) override;
  absl::StatusOr<int64_t> AllocateVersionId() override;
  absl::StatusOr<Version> AddVersion(const Version& version, const Content& content,
                                     const LegacyProfile& observed) override;
  absl::StatusOr<std::optional<Version>> FindUpload(const ClientId& client,
                                                    const UploadId& upload) override;
  absl::StatusOr<Settlement> SettleVersion(const ClientId& client, const std::string& file_name,
                                           Outcome outcome, Learning learning,
                                           absl::Time now) override;
  absl::StatusOr<StoredVersion> FindVersion(const ClientId& client, const std::string& file_name,
                                            int64_t version_id, bool with_content) override;
  absl::StatusOr<std::vector<File>> ListFiles(const ClientId& client, const std::string& after,
                                              int limit) override;
  absl::StatusOr<std::vector<Version>> ListVersions(const ClientId& client,
                                                    const std::string& file_name, int64_t before,
                                                    int limit) override;
  absl::StatusOr<std::vector<BlobId>> DeleteVersion(const ClientId& client,
                                                    const std::string& file_name,
                                                    int64_t version_id) override;
  absl::StatusOr<std::vector<StoredVersion>> ScanVersions(int64_t after, int limit) override;
  absl::StatusOr<bool> HasBlob(const BlobId& id) override;
  absl::StatusOr<Counts> Count() override;
  absl::StatusOr<std::vector<Client>> ListStaleClients(absl::Time since, const ClientId& after,
                                                       int limit) override;
  absl::StatusOr<int64_t> CountStaleClients(absl::Time since) override;
  absl::Status ProbeWrite() override { return absl::OkStatus(); }

 private:
  using FileKey = std::pair<ClientId, std::string>;

  // The client. Reason CLIENT_NOT_FOUND.
  absl::StatusOr<Client*> Require(const ClientId& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The ids of a file's versions, at least one. Reasons CLIENT_NOT_FOUND, FILE_NOT_FOUND.
  absl::StatusOr<const std::set<int64_t>*> RequireFile(const ClientId& client,
                                                       const std::string& file_name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Client* NewestNamed(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The file's newest version in `state`, if any.
  StoredVersion* NewestIn(const std::set<int64_t>& version_ids, VersionState state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes a version that is going out of its client's bytes.
  void Forget(const Version& version) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Removes the version, and its file if it was the last; returns the blob it had.
  std::vector<BlobId> Remove(int64_t version_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  std::map<ClientId, Client> clients_ ABSL_GUARDED_BY(mutex_);
  std::vector<ClientId> registrations_
      ABSL_GUARDED_BY(mutex_);  // In order, also of deleted clients.
  std::map<FileKey, std::set<int64_t>> files_ ABSL_GUARDED_BY(mutex_);
  std::map<int64_t, StoredVersion> versions_ ABSL_GUARDED_BY(mutex_);
  int64_t next_version_id_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace backup::storage
