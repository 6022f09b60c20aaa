#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "content/dictionary.h"
#include "content/store_keys.h"
#include "services/backup/jobs/job.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/chunk.h"

namespace backup::jobs {

// Trains a dictionary for small contents with a sample of those that the catalog has, and keeps it
// if others of the sample become so much smaller with it that it pays (docs/adr/0033). Looks also
// for dictionaries that other services kept. Since a store may have few of them, it trains the next
// one only when as many contents came as there were before. Counts dictionaries that it kept. Holds
// the sample in memory, which is bounded, and never waits for the catalog's writer but to keep a
// dictionary. Used by one thread at a time.
class Train final : public Job {
 public:
  static constexpr absl::string_view kName = "train";

  struct Options {
    // Of the contents that it looks at, and for which the dictionary is: kPlain or kSealed.
    storage::StorageForm form = storage::StorageForm::kPlain;
    int level = 3;  // zstd's, with which the dictionary is used.
    // With fewer contents it does not begin.
    int64_t min_contents = 256;
  };

  // What is borrowed must outlive this.
  Train(storage::Catalog& catalog, const content::StoreKeys& keys,
        content::Dictionaries& dictionaries, const Options& options)
      : catalog_(catalog), keys_(keys), dictionaries_(dictionaries), options_(options) {}

  absl::string_view name() const override { return kName; }
  // One step is a run, whatever the budget; there is no cursor. To stop takes as long as to train:
  // about a second.
  absl::StatusOr<Progress> Step(const std::string& cursor, int64_t budget,
                                const std::stop_token& token) override;

 private:
  // Contents at random.
  struct Sample {
    std::vector<std::string> training;
    std::vector<std::string> held_out;  // Which no dictionary has seen.
    int64_t size_bytes = 0;             // Of both.

    int64_t count() const { return std::ssize(training) + std::ssize(held_out); }
  };

  absl::StatusOr<Sample> TakeSample(int64_t last_chunk, const std::stop_token& token);
  // Nothing if it is not to be looked at, or cannot be read.
  std::optional<std::string> ContentOf(const storage::StoredChunk& chunk);
  // Whether new content should be compressed with `bytes`, a dictionary, rather than as it is now;
  // logs why.
  absl::StatusOr<bool> Pays(const std::string& bytes, const Sample& sample,
                            const content::Dictionary* current) const;
  // Returns whether it is kept: another service may have been faster.
  absl::StatusOr<bool> Keep(uint32_t id, int64_t last_chunk, std::string bytes);

  storage::Catalog& catalog_;
  const content::StoreKeys& keys_;
  content::Dictionaries& dictionaries_;
  const Options options_;
  int64_t tried_up_to_ = 0;  // The last chunk when training came to nothing.
};

}  // namespace backup::jobs
