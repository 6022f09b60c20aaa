#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "base/secret_bytes.h"
#include "services/backup/audit/chain.h"
#include "services/backup/audit/verifier.h"
#include "storage/catalog/catalog.h"

namespace backup::audit {

// The names under which the catalog keeps the signed heads (Snapshot::FindStoreValue).
inline constexpr char kHeadName[] = "audit.head";
inline constexpr char kRemovedName[] = "audit.removed";

// Where the newest head is kept outside the catalog: beside the file of key generations.
std::string HeadPath(const std::string& generations_file);

// Of something that nobody asked for, which went well.
storage::AuditEntry EntryOfService(absl::string_view action, absl::string_view detail,
                                   absl::Time now);

// Adds an entry to the log in this transaction, behind all that are there: its number, chain and,
// to microseconds, its time are made here. After damage the new entry does not hold together with
// those before it, which a verification tells for ever. With `at_least` its number is above that
// too. Errors of the transaction.
absl::Status Append(const Chain& chain, storage::Transaction& transaction,
                    storage::AuditEntry entry, storage::AuditRoom room, int64_t at_least = 0);

// The newest signed head that the catalog has, if it has one that is right.
absl::StatusOr<std::optional<Head>> FindHead(const Chain& chain, storage::Snapshot& snapshot);

// Notes in a catalog that nobody uses that another state was put in its place, by `action`, and
// what the file says from now on, whatever it said: entries between are lost, and may be.
absl::Status NoteOtherState(const Chain& chain, storage::Catalog& catalog, const std::string& path,
                            absl::string_view action, absl::string_view detail, absl::Time now);

// The audit log of a running service. Thread-safe.
class AuditLog {
 public:
  // Entries that one transaction removes, and that a verification reads at once.
  static constexpr int kPage = 1000;

  // Opens the log of this catalog, which must outlive it. A log that is not as the catalog's head
  // or the file `path` says it was left is no error: the service's work goes on, an entry and the
  // service's log tell of it, and is_damaged() is true. Errors of the catalog.
  static absl::StatusOr<std::unique_ptr<AuditLog>> Open(storage::Catalog& catalog, SecretBytes key,
                                                        const std::string& path, absl::Time now);

  const Chain& chain() const { return chain_; }
  // As above.
  absl::Status Append(storage::Transaction& transaction, storage::AuditEntry entry,
                      storage::AuditRoom room) const {
    return audit::Append(chain_, transaction, std::move(entry), room);
  }

  // Writes the newest head down in the file, and into the service's log, unless that was done. Not
  // if the catalog lacks what was written down last: then is_damaged() is true, and the file, which
  // shows it to the next start, stays.
  absl::Status NoteHead() { return NoteHead(Told::kYes); }
  // Removes entries from before `before`, oldest first, as far as they hold together: what is
  // damaged stays, and all that is behind it. Returns how many.
  absl::StatusOr<int64_t> RemoveBefore(absl::Time before, const std::stop_token& token);

  // Reads all of it. `heads`: heads that were written down elsewhere, signed. `progress` is called
  // now and then with how many were looked at; an error of it ends the verification, which
  // begins again if entries are removed meanwhile. Errors of the catalog; reason INVALID_FIELD if
  // one of `heads` is none of this store's.
  absl::StatusOr<Report> Verify(const std::vector<std::string>& heads,
                                const std::function<absl::Status(int64_t)>& progress);
  // The same with the head in the file, for is_damaged(); tells the service's log.
  void Check(const std::stop_token& token);

  // Whether the start, a NoteHead(), or the last Check() found something.
  bool is_damaged() const { return was_damaged_ || check_failed_; }
  // The number of the newest entry that was written down; 0 if none is.
  int64_t noted_number() const { return noted_number_; }

 private:
  // Whether the service's log is told.
  enum class Told { kNo, kYes };

  absl::Status NoteHead(Told told);
  AuditLog(storage::Catalog& catalog, SecretBytes key, std::string path)
      : catalog_(catalog), chain_(std::move(key)), path_(std::move(path)) {}

  // Begins a log, or goes on with one; returns what is not as it was left.
  absl::StatusOr<std::vector<std::string>> Begin(storage::Transaction& transaction,
                                                 absl::Time now) const;

  // Some entries, and what the catalog kept at the same moment.
  struct Page {
    std::vector<storage::AuditEntry> entries;
    std::optional<std::string> head;
    std::optional<std::string> removed;
  };
  absl::StatusOr<Page> ReadPage(int64_t after);
  // Nothing if entries were removed meanwhile.
  absl::StatusOr<std::optional<Report>> VerifyOnce(
      const std::vector<Head>& heads, const std::function<absl::Status(int64_t)>& progress);
  // At most a page of them; returns how many.
  absl::StatusOr<int64_t> RemoveSome(storage::Transaction& transaction, absl::Time before) const;

  storage::Catalog& catalog_;
  const Chain chain_;
  const std::string path_;
  std::atomic<bool> was_damaged_ = false;  // At the start, or when a head was noted.
  std::atomic<bool> check_failed_ = false;
  std::atomic<int64_t> noted_number_ = 0;
  Mutex file_mutex_;
  std::optional<Head> noted_ ABSL_GUARDED_BY(file_mutex_);   // By this process, in the file
  std::optional<Head> logged_ ABSL_GUARDED_BY(file_mutex_);  // and in the log.
};

}  // namespace backup::audit
