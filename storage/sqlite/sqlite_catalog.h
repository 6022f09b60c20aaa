#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "storage/catalog.h"
#include "storage/sqlite/database.h"
#include "storage/sqlite/write_queue.h"

namespace backup::storage {

// The catalog in one SQLite file: write-ahead log, every commit synced, one writing connection
// behind a WriteQueue and a few read-only ones that never checkpoint (this SQLite has a defect when
// several connections do). Only one process may have it open. Thread-safe.
class SqliteCatalog final : public Catalog {
 public:
  // Opens or makes the catalog and migrates it. Unimplemented if it is of a newer schema.
  static absl::StatusOr<std::unique_ptr<SqliteCatalog>> Open(const std::string& path,
                                                             const StorageMetrics& metrics = {});
  ~SqliteCatalog() override;

  void Start(std::function<void()> work, std::function<void(const absl::Status&)> done) override;
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
  absl::Status ProbeWrite() override;

 private:
  SqliteCatalog(std::string path, std::unique_ptr<Database> writer, const StorageMetrics& metrics)
      : path_(std::move(path)),
        metrics_(metrics),
        writes_(std::move(writer), WriteQueue::kMaxWaiting, metrics) {}

  using SeenTimes = std::map<ClientId, absl::Time>;

  // Runs `work`, a callable that takes a Database& and returns an absl::StatusOr, on the writer or
  // on a reader; within started work on the writer, and without waiting.
  template <typename Work>
  auto Write(const Work& work);
  template <typename Work>
  auto Read(const Work& work);

  void RememberSeen(const ClientId& id, absl::Time time);
  // Puts them before the next work that waits for the writer, and so, as a rule, in its commit.
  void StartNotingSeen();

  absl::StatusOr<std::unique_ptr<Database>> TakeReader();
  void GiveBack(std::unique_ptr<Database> reader);

  const std::string path_;
  const StorageMetrics metrics_;
  WriteQueue
      writes_;  // Before the readers: the last connection to close must be able to empty the log.
  Mutex mutex_;
  std::vector<std::unique_ptr<Database>> idle_readers_ ABSL_GUARDED_BY(mutex_);
  // When clients were seen without anything else to write: goes along with the next transaction.
  SeenTimes seen_ ABSL_GUARDED_BY(mutex_);
  int64_t next_version_id_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t version_ids_end_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace backup::storage
