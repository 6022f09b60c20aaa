#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "storage/catalog/catalog.h"

namespace backup::storage {

// Runs every work twice on the catalog behind it, as a catalog may whose transactions are retried:
// what the first run did is undone. For tests of what is submitted. Thread-safe.
class RepeatingCatalog final : public Catalog {
 public:
  explicit RepeatingCatalog(std::unique_ptr<Catalog> catalog) : catalog_(std::move(catalog)) {}

  void Submit(Work work, Done done) override {
    auto shared_work = std::make_shared<const Work>(std::move(work));
    catalog_->Submit(
        [shared_work](Transaction& transaction) -> absl::Status {
          (*shared_work)(transaction).IgnoreError();
          return absl::AbortedError("undone on purpose");
        },
        [](const absl::Status&) {});
    catalog_->Submit(
        [shared_work](Transaction& transaction) { return (*shared_work)(transaction); },
        std::move(done));
  }

 private:
  absl::Status ReadSnapshot(const std::function<absl::Status(Snapshot&)>& read) override {
    return catalog_->Read([&](Snapshot& snapshot) { return read(snapshot); });
  }

  const std::unique_ptr<Catalog> catalog_;
};

}  // namespace backup::storage
