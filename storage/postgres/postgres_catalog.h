#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/bulk_throttle.h"
#include "storage/catalog/catalog.h"
#include "storage/storage_metrics.h"

namespace backup::storage {

// The catalog in a PostgreSQL database (docs/adr/0051-a-catalog-on-postgresql.md), which any number
// of services may have open at once: one writing connection of each with group commit, and a
// bounded pool of reading ones. Thread-safe.
class PostgresCatalog final : public Catalog {
 public:
  struct Options {
    int max_readers = 16;  // Connections; more reads at once wait.
    // How long a read waits for one of them, and a new connection for the server's answer.
    absl::Duration reader_wait = absl::Seconds(5);
    absl::Duration connect_timeout = absl::Seconds(5);
    // How long a statement waits for the server's answer. A commit that waits for longer is lost
    // sight of: the connection is given up, and its outcome is unknown.
    absl::Duration answer_timeout = absl::Seconds(30);
    std::shared_ptr<BulkThrottle> throttle = nullptr;  // Told how long commits take.
  };

  // Connects, and migrates the database to the newest schema, or waits until another service did.
  // `conninfo` as for CheckConninfo() (conninfo.h). Unimplemented if it is of a newer schema;
  // FailedPrecondition for what somebody must put right first: a password, a database that is not
  // there, a right that is missing; reason BACKEND_DOWN if no server that can write answers. No
  // error text holds a password.
  static absl::StatusOr<std::unique_ptr<PostgresCatalog>> Open(const std::string& conninfo,
                                                               const StorageMetrics& metrics,
                                                               const Options& options);
  // Finishes what waits.
  ~PostgresCatalog() override;

  void Submit(Work work, Done done) override;
  absl::Status damage() const override;
  int64_t changes() const override;
  bool is_elsewhere() const override { return true; }
  absl::StatusOr<int64_t> SizeBytes() override;

 private:
  class Impl;

  explicit PostgresCatalog(std::unique_ptr<Impl> impl);
  absl::Status ReadSnapshot(const std::function<absl::Status(Snapshot&)>& read) override;

  const std::unique_ptr<Impl> impl_;
};

}  // namespace backup::storage
