#include "services/backup/audit/verifier.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "services/backup/audit/actions.h"

namespace backup::audit {

bool IsOtherState(const storage::AuditEntry& entry) {
  return entry.action == kStateRestored || entry.action == kStateRebuilt ||
         entry.action == kStateAccepted;
}

Verifier::Verifier(const Chain& chain, const std::optional<std::string>& removed)
    : chain_(chain), before_(Chain::Origin()) {
  if (!removed) return;
  removed_ = chain.Read(HeadKind::kRemoved, *removed);
  if (!removed_) {
    Find(0, 0, "what is noted of those that were removed by age is altered");
  } else {
    before_ = removed_->chain;
    last_number_ = report_.removed = removed_->number;
  }
}

void Verifier::Find(int64_t first, int64_t last, absl::string_view what) {
  std::vector<Finding>& findings = report_.findings;
  const bool goes_on = !findings.empty() && findings.back().what == what &&
                       findings.back().last + 1 == first && first > 0;
  if (goes_on) {
    findings.back().last = last;
    return;
  }
  ++report_.finding_count;
  if (findings.size() < Report::kMaxFindings) findings.push_back({first, last, std::string(what)});
}

void Verifier::Add(const storage::AuditEntry& entry) {
  ++report_.entries;
  const int64_t next = last_number_ + 1;
  const bool holds = chain_.Link(before_, entry) == entry.chain;
  if (entry.number > next && holds && IsOtherState(entry)) {
    report_.lost.push_back(
        {next, entry.number - 1,
         absl::StrCat("lost by ", entry.action, ", which entry ", entry.number, " tells of")});
  } else if (entry.number > next) {
    Find(next, entry.number - 1, "missing");
  } else if (entry.number < next) {
    Find(entry.number, entry.number, "was removed by age, and is there again");
  }
  // Behind a missing one nobody knows what was before it, but for one that begins anew.
  if (!holds && chain_.Link(Chain::Origin(), entry) == entry.chain) {
    Find(entry.number, entry.number, "begins anew: what was noted of those before it was gone");
  } else if (!holds && entry.number <= next) {
    Find(entry.number, entry.number, "altered, or not in its place");
  }
  CompareWithExpected(entry);
  before_ = entry.chain;
  last_number_ = entry.number;
}

void Verifier::CompareWithExpected(const storage::AuditEntry& entry) {
  while (!expected_.empty() && expected_.begin()->first <= entry.number) {
    const Head expected = expected_.begin()->second;
    expected_.erase(expected_.begin());
    const bool was_removed = removed_ && expected.number <= removed_->number;
    if (expected.number == entry.number && expected.chain != entry.chain) {
      Find(entry.number, entry.number, "another one than a head says that was written down");
    } else if (expected.number < entry.number && !was_removed) {
      Find(expected.number, expected.number,
           "not there, though a head says so that was written down");
    }
  }
}

void Verifier::CheckEnd(const std::optional<Head>& head) {
  if (!head) {
    if (last_number_ > 0 || removed_) Find(0, 0, "the signed head is missing, or altered");
    return;
  }
  if (head->number > last_number_) {
    Find(last_number_ + 1, head->number, "missing");
  } else if (head->number < last_number_) {
    Find(head->number + 1, last_number_, "not in the signed head, which is an older one");
  } else if (head->chain != before_) {
    Find(last_number_, last_number_, "another one than the signed head says");
  }
}

Report Verifier::Finish(const std::optional<std::string>& head) {
  if (head) report_.head = chain_.Read(HeadKind::kNewest, *head);
  CheckEnd(report_.head);
  for (const auto& [number, expected] : expected_) {
    const bool was_removed = removed_ && number <= removed_->number;
    if (!was_removed) Find(number, number, "missing, though a head says so that was written down");
  }
  return std::move(report_);
}

}  // namespace backup::audit
