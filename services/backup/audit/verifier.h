#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "services/backup/audit/chain.h"
#include "storage/catalog/audit.h"

namespace backup::audit {

// Something that is not as it was written.
struct Finding {
  int64_t first = 0;  // The entries that it is about.
  int64_t last = 0;
  std::string what;  // "missing", "altered", ...: a sentence without a subject.

  bool operator==(const Finding&) const = default;
};

// What a verification found.
struct Report {
  // How many findings are named one by one.
  static constexpr size_t kMaxFindings = 1000;

  int64_t entries = 0;  // That were looked at.
  int64_t removed = 0;  // All up to this number were removed by age.
  std::optional<Head> head;
  std::vector<Finding> findings;
  int64_t finding_count = 0;
  // Entries that are not there since an older state was put in place by somebody who has the key.
  std::vector<Finding> lost;
};

// Whether an entry says that another state was put in place: numbers may be missing before it.
bool IsOtherState(const storage::AuditEntry& entry);

// Compares a whole audit log with what it must be. Used by one thread at a time.
class Verifier {
 public:
  // `chain` must outlive this. `removed` is what the catalog says was removed by age, as it is
  // kept; nothing if it says nothing.
  Verifier(const Chain& chain, const std::optional<std::string>& removed);

  // The next one, in the order of numbers.
  void Add(const storage::AuditEntry& entry);
  // A head that was written down elsewhere; before any entry.
  void Expect(const Head& head) { expected_.insert_or_assign(head.number, head); }
  // The end, where the catalog keeps this signed head, if it keeps any.
  Report Finish(const std::optional<std::string>& head);

 private:
  void Find(int64_t first, int64_t last, absl::string_view what);
  void CompareWithExpected(const storage::AuditEntry& entry);
  void CheckEnd(const std::optional<Head>& head);

  const Chain& chain_;
  Report report_;
  std::map<int64_t, Head> expected_;  // By number, those that are still to come.
  // Of the one before: that of what was removed, or Origin(), at first.
  std::string before_;
  int64_t last_number_ = 0;
  std::optional<Head> removed_;
};

}  // namespace backup::audit
