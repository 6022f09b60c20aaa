#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <utility>

#include "services/backup/audit/audit_log.h"
#include "storage/catalog/audit.h"
#include "storage/catalog/catalog.h"

namespace backup::audit {

// The catalog for one call that is to be told of in the audit log: what is done by the first
// transaction is told by an entry in that transaction, and nothing by those after it, which do more
// of the same. Works must run one after the other. Thread-safe like the catalog behind it.
class AuditedCatalog final : public storage::Catalog {
 public:
  // Both must outlive this. Without a log it only passes on.
  AuditedCatalog(storage::Catalog& catalog, const AuditLog* log, storage::AuditEntry entry)
      : catalog_(catalog), log_(log), entry_(std::move(entry)) {}

  void Submit(Work work, Done done) override {
    if (log_ == nullptr || is_told_) return catalog_.Submit(std::move(work), std::move(done));
    catalog_.Submit(
        [this, work = std::move(work)](storage::Transaction& transaction) -> absl::Status {
          const absl::Status result = work(transaction);
          return result.ok() ? Tell(transaction) : result;
        },
        [this, done = std::move(done)](const absl::Status& committed) {
          if (committed.ok()) is_told_ = true;
          done(committed);
        });
  }
  absl::Status damage() const override { return catalog_.damage(); }
  int64_t changes() const override { return catalog_.changes(); }

  // The same in a transaction of somebody who does not use this catalog, which is to be told of by
  // NoteTold() if it was committed.
  absl::Status Tell(storage::Transaction& transaction) const {
    if (log_ == nullptr) return absl::OkStatus();
    return log_->Append(transaction, entry_, storage::AuditRoom::kAlways);
  }
  void NoteTold() { is_told_ = true; }

  const storage::AuditEntry& entry() const { return entry_; }
  bool is_told() const { return is_told_; }

 private:
  absl::Status ReadSnapshot(const std::function<absl::Status(storage::Snapshot&)>& read) override {
    return catalog_.Read([&](storage::Snapshot& snapshot) { return read(snapshot); });
  }

  storage::Catalog& catalog_;
  const AuditLog* const log_;
  const storage::AuditEntry entry_;
  std::atomic<bool> is_told_ = false;
};

}  // namespace backup::audit
