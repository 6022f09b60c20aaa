#include "services/backup/audit/audit_log.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/durable_file.h"
#include "base/error.h"
#include "base/low_priority_thread.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "services/backup/audit/actions.h"

namespace backup::audit {
namespace {

using storage::AuditEntry;
using storage::AuditRoom;
using storage::Snapshot;
using storage::Transaction;

// Two numbers of 20 digits and two values of 64 at most.
constexpr size_t kMaxHeadSize = 256;

// To what the catalog keeps, which is what was signed.
absl::Time WholeMicros(absl::Time time) { return absl::FromUnixMicros(absl::ToUnixMicros(time)); }

// Durable.
absl::Status WriteHead(const std::string& path, absl::string_view text) {
  if (ReplaceFile(path, absl::StrCat(text, "\n"))) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
}

std::string ReadHeadFile(const std::string& path) {
  return ReadSmallFile(path, kMaxHeadSize).value_or("");
}

// What is wrong, of the newest entries, as far as it can be seen at a glance.
std::vector<std::string> CompareEnd(const std::optional<Head>& head,
                                    const std::optional<AuditEntry>& newest) {
  if (!newest) return {};
  if (!head) return {"the signed head is missing, or altered"};
  if (head->number != newest->number || head->chain != newest->chain) {
    return {absl::StrCat("the signed head is of entry ", head->number, ", the newest is ",
                         newest->number,
                         head->number == newest->number ? ", but another one" : "")};
  }
  return {};
}

// What is not as it was when `noted` was written down, as far as it can be seen at a glance; empty
// if all is.
absl::StatusOr<std::string> CompareWithNoted(Snapshot& snapshot, const std::optional<Head>& head,
                                             const Head& noted) {
  if (!head || head->number < noted.number) {
    return absl::StrCat("entries up to ", noted.number, " were there, the catalog knows of ",
                        head ? head->number : 0);
  }
  ASSIGN_OR_RETURN(const std::vector<AuditEntry> found,
                   snapshot.ListAuditEntries(noted.number - 1, {}, 1));
  // It may have been removed by age.
  const bool is_there = !found.empty() && found[0].number == noted.number;
  if (!is_there || found[0].chain == noted.chain) return "";
  return absl::StrCat("entry ", noted.number, " is another one than it was");
}

}  // namespace

AuditEntry EntryOfService(absl::string_view action, absl::string_view detail, absl::Time now) {
  AuditEntry entry;
  entry.time = now;
  entry.actor = kService;
  entry.action = std::string(action);
  entry.outcome = kOk;
  entry.detail = std::string(detail);
  return entry;
}

std::string HeadPath(const std::string& generations_file) { return generations_file + ".audit"; }

absl::StatusOr<std::optional<Head>> FindHead(const Chain& chain, Snapshot& snapshot) {
  ASSIGN_OR_RETURN(const std::optional<std::string> text, snapshot.FindStoreValue(kHeadName));
  return text ? chain.Read(HeadKind::kNewest, *text) : std::nullopt;
}

absl::Status Append(const Chain& chain, Transaction& transaction, AuditEntry entry, AuditRoom room,
                    int64_t at_least) {
  ASSIGN_OR_RETURN(const std::optional<Head> head, FindHead(chain, transaction));
  ASSIGN_OR_RETURN(const std::optional<AuditEntry> newest, transaction.FindNewestAuditEntry());
  entry.time = WholeMicros(entry.time);
  entry.number = std::max({head ? head->number : 0, newest ? newest->number : 0, at_least}) + 1;
  // Of a head that is not right nothing is known: what follows begins anew, for all to see.
  entry.chain = chain.Link(head ? head->chain : Chain::Origin(), entry);
  RETURN_IF_ERROR(transaction.AppendAuditEntry(entry, room));
  return transaction.SetStoreValue(kHeadName, chain.Sign(HeadKind::kNewest, chain.HeadOf(entry)));
}

absl::Status NoteOtherState(const Chain& chain, storage::Catalog& catalog, const std::string& path,
                            absl::string_view action, absl::string_view detail, absl::Time now) {
  const std::optional<Head> in_file = chain.Read(HeadKind::kNewest, ReadHeadFile(path));
  ASSIGN_OR_RETURN(
      const std::optional<Head> head,
      catalog.Run([&](Transaction& transaction) -> absl::StatusOr<std::optional<Head>> {
        RETURN_IF_ERROR(Append(chain, transaction, EntryOfService(action, detail, now),
                               AuditRoom::kAlways, in_file ? in_file->number : 0));
        return FindHead(chain, transaction);
      }));
  return WriteHead(path, chain.Sign(HeadKind::kNewest, *head));
}

absl::StatusOr<std::unique_ptr<AuditLog>> AuditLog::Open(storage::Catalog& catalog, SecretBytes key,
                                                         const std::string& path, absl::Time now) {
  auto log = absl::WrapUnique(new AuditLog(catalog, std::move(key), path));
  ASSIGN_OR_RETURN(const std::vector<std::string> wrong, catalog.Run([&](Transaction& transaction) {
    return log->Begin(transaction, now);
  }));
  log->was_damaged_ = !wrong.empty();
  for (const std::string& each : wrong) {
    LOG(ERROR) << "the audit log is not as it was left: " << each
               << ": `backupctl audit verify` tells more (docs/operations.md)";
  }
  // The log is told later: a start that is refused has one line.
  const absl::Status noted = log->NoteHead(Told::kNo);
  LOG_IF(WARNING, !noted.ok()) << "cannot note how far the audit log is: " << noted;
  return log;
}

absl::StatusOr<std::vector<std::string>> AuditLog::Begin(Transaction& transaction,
                                                         absl::Time now) const {
  ASSIGN_OR_RETURN(const std::optional<Head> head, FindHead(chain_, transaction));
  ASSIGN_OR_RETURN(const std::optional<AuditEntry> newest, transaction.FindNewestAuditEntry());
  const std::string text = ReadHeadFile(path_);
  const std::optional<Head> in_file = chain_.Read(HeadKind::kNewest, text);
  std::vector<std::string> wrong = CompareEnd(head, newest);
  if (!text.empty() && !in_file)
    wrong.push_back(absl::StrCat(path_, " is altered, or another store's"));
  if (in_file) {
    ASSIGN_OR_RETURN(const std::string changed, CompareWithNoted(transaction, head, *in_file));
    if (!changed.empty()) {
      wrong.push_back(changed);
      // What comes goes on from what was there, for all to see.
      RETURN_IF_ERROR(
          transaction.SetStoreValue(kHeadName, chain_.Sign(HeadKind::kNewest, *in_file)));
    }
  }
  if (!wrong.empty()) {
    RETURN_IF_ERROR(Append(transaction,
                           EntryOfService(kDamageFound, absl::StrJoin(wrong, "; "), now),
                           AuditRoom::kAlways));
  } else if (!head) {
    RETURN_IF_ERROR(Append(transaction, EntryOfService(kBegun, "", now), AuditRoom::kAlways));
  }
  return wrong;
}

absl::Status AuditLog::NoteHead(Told told) {
  MutexLock lock(file_mutex_);
  const std::optional<Head> noted = noted_;
  std::optional<Head> head;
  ASSIGN_OR_RETURN(const std::string changed,
                   catalog_.Read([&](Snapshot& snapshot) -> absl::StatusOr<std::string> {
                     ASSIGN_OR_RETURN(head, FindHead(chain_, snapshot));
                     return noted ? CompareWithNoted(snapshot, head, *noted) : std::string();
                   }));
  if (!changed.empty()) {
    LOG_IF(ERROR, !was_damaged_) << "the audit log was changed while the service runs: " << changed;
    was_damaged_ = true;
    return absl::OkStatus();
  }
  if (!head) return absl::OkStatus();
  const std::string text = chain_.Sign(HeadKind::kNewest, *head);
  if (told == Told::kYes && std::exchange(logged_, head) != head)
    LOG(INFO) << "audit head " << text;
  if (head == noted) return absl::OkStatus();
  if (text + "\n" != ReadHeadFile(path_)) RETURN_IF_ERROR(WriteHead(path_, text));
  noted_ = head;
  noted_number_ = head->number;
  return absl::OkStatus();
}

absl::StatusOr<int64_t> AuditLog::RemoveBefore(absl::Time before, const std::stop_token& token) {
  int64_t removed = 0;
  while (!token.stop_requested()) {
    ASSIGN_OR_RETURN(const int64_t step, catalog_.Run([&](Transaction& transaction) {
      return RemoveSome(transaction, before);
    }));
    removed += step;
    if (step < kPage) break;
  }
  return removed;
}

absl::StatusOr<int64_t> AuditLog::RemoveSome(Transaction& transaction, absl::Time before) const {
  ASSIGN_OR_RETURN(const std::optional<std::string> noted,
                   transaction.FindStoreValue(kRemovedName));
  std::optional<Head> last = noted ? chain_.Read(HeadKind::kRemoved, *noted) : std::nullopt;
  if (noted && !last) return 0;
  ASSIGN_OR_RETURN(const std::vector<AuditEntry> oldest,
                   transaction.ListAuditEntries(0, {}, kPage));
  bool any = false;
  for (const AuditEntry& entry : oldest) {
    const bool is_next = entry.number == (last ? last->number : 0) + 1 || IsOtherState(entry);
    const std::string link = chain_.Link(last ? last->chain : Chain::Origin(), entry);
    if (entry.time >= before || !is_next || link != entry.chain) break;
    last = chain_.HeadOf(entry);
    any = true;
  }
  if (!any) return 0;
  RETURN_IF_ERROR(transaction.SetStoreValue(kRemovedName, chain_.Sign(HeadKind::kRemoved, *last)));
  return transaction.DropAuditEntries(last->number, kPage);
}

absl::StatusOr<Report> AuditLog::Verify(const std::vector<std::string>& heads,
                                        const std::function<absl::Status(int64_t)>& progress) {
  std::vector<Head> expected;
  for (const std::string& text : heads) {
    const std::optional<Head> head = chain_.Read(HeadKind::kNewest, text);
    if (!head)
      return MakeError(Reason::kInvalidField, "is no head that this store has signed", "head");
    expected.push_back(*head);
  }
  while (true) {
    ASSIGN_OR_RETURN(std::optional<Report> report, VerifyOnce(expected, progress));
    if (report) return *std::move(report);
  }
}

absl::StatusOr<std::optional<Report>> AuditLog::VerifyOnce(
    const std::vector<Head>& heads, const std::function<absl::Status(int64_t)>& progress) {
  Page page;
  std::optional<Verifier> verifier;
  std::optional<std::string> removed;
  for (int64_t after = 0, count = 0;; after = page.entries.back().number) {
    ASSIGN_OR_RETURN(page, ReadPage(after));
    if (!verifier) {
      removed = page.removed;
      verifier.emplace(chain_, removed);
      for (const Head& head : heads) verifier->Expect(head);
    }
    // What was not read yet may be gone.
    if (page.removed != removed) return std::nullopt;
    for (const AuditEntry& entry : page.entries) verifier->Add(entry);
    count += std::ssize(page.entries);
    RETURN_IF_ERROR(progress(count));
    if (page.entries.size() < kPage) return verifier->Finish(page.head);
  }
}

absl::StatusOr<AuditLog::Page> AuditLog::ReadPage(int64_t after) {
  return catalog_.Read([&](Snapshot& snapshot) -> absl::StatusOr<Page> {
    Page page;
    ASSIGN_OR_RETURN(page.entries, snapshot.ListAuditEntries(after, {}, kPage));
    ASSIGN_OR_RETURN(page.head, snapshot.FindStoreValue(kHeadName));
    ASSIGN_OR_RETURN(page.removed, snapshot.FindStoreValue(kRemovedName));
    return page;
  });
}

void AuditLog::Check(const std::stop_token& token) {
  BecomeLowPriority();
  std::vector<std::string> heads;
  const std::string in_file = ReadHeadFile(path_);
  const bool is_altered = !in_file.empty() && !chain_.Read(HeadKind::kNewest, in_file);
  if (!in_file.empty() && !is_altered) heads.push_back(in_file);
  const absl::StatusOr<Report> report = Verify(heads, [&](int64_t) {
    return token.stop_requested() ? absl::CancelledError("told to stop") : absl::OkStatus();
  });
  if (absl::IsCancelled(report.status())) return;
  LOG_IF(WARNING, !report.ok()) << "the audit log cannot be verified: " << report.status();
  if (!report.ok()) return;
  check_failed_ = is_altered || report->finding_count > 0;
  LOG_IF(ERROR, is_altered) << path_ << ", the head of the audit log, is altered";
  for (const Finding& finding : report->findings) {
    LOG_FIRST_N(ERROR, 100) << "the audit log is not as it was written: entries " << finding.first
                            << " to " << finding.last << ": " << finding.what;
  }
}

}  // namespace backup::audit
