#include "services/backup/handlers/audit.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/printable.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/page_tokens.h"

namespace backup::handlers {
namespace {

absl::StatusOr<storage::AuditFilter> ParseFilter(const v1::ListAuditEntriesRequest& request) {
  storage::AuditFilter filter;
  if (request.has_since_time()) {
    ASSIGN_OR_RETURN(filter.since,
                     ParsePastTime("since_time", request.since_time(), absl::InfiniteFuture()));
  }
  if (request.has_until_time()) {
    ASSIGN_OR_RETURN(filter.until,
                     ParsePastTime("until_time", request.until_time(), absl::InfiniteFuture()));
  }
  if (!request.client_id().empty()) {
    ASSIGN_OR_RETURN(filter.client, ParseClientId(request.client_id()));
  }
  filter.actor = request.actor();
  filter.action = request.action();
  return filter;
}

// Another one for each filter.
std::string ScopeOf(const v1::ListAuditEntriesRequest& request) {
  v1::ListAuditEntriesRequest filter = request;
  filter.clear_page_size();
  filter.clear_page_token();
  return absl::StrCat("audit ", filter.SerializeAsString());
}

// Of a field that is text, as a rule: a path in it may be anything, and so may all that somebody
// altered. An answer with bytes that are none could not be read.
std::string Text(const std::string& bytes) {
  for (absl::string_view rest = bytes; !rest.empty();) {
    const size_t size = FrontOfUtf8(rest).size;
    if (size == 0) return Printable(bytes);
    rest.remove_prefix(size);
  }
  return bytes;
}

v1::AuditEntry ToProto(const storage::AuditEntry& entry) {
  v1::AuditEntry told;
  told.set_number(entry.number);
  SetTime(entry.time, *told.mutable_time());
  told.set_actor(Text(entry.actor));
  told.set_role(Text(entry.role));
  told.set_peer(Text(entry.peer));
  told.set_action(Text(entry.action));
  if (entry.client) told.set_client_id(ToUuid(*entry.client));
  told.set_object(Text(entry.object));
  told.set_version_id(entry.version_id);
  told.set_outcome(Text(entry.outcome));
  told.set_detail(Text(entry.detail));
  return told;
}

v1::AuditFinding ToProto(const audit::Finding& finding) {
  v1::AuditFinding told;
  told.set_first_number(finding.first);
  told.set_last_number(finding.last);
  told.set_detail(finding.what);
  return told;
}

}  // namespace

absl::StatusOr<v1::ListAuditEntriesResponse> ListAuditEntries(
    storage::Snapshot& snapshot, const v1::ListAuditEntriesRequest& request) {
  ASSIGN_OR_RETURN(const storage::AuditFilter filter, ParseFilter(request));
  ASSIGN_OR_RETURN(const int page_size, ParsePageSize(request.page_size()));
  const std::string scope = ScopeOf(request);
  ASSIGN_OR_RETURN(const std::string position, ParsePageToken(scope, request.page_token()));
  int64_t after = 0;
  if (!position.empty() && !absl::SimpleAtoi(position, &after)) return WrongPageToken();
  ASSIGN_OR_RETURN(std::vector<storage::AuditEntry> entries,
                   snapshot.ListAuditEntries(after, filter, page_size + 1));
  v1::ListAuditEntriesResponse response;
  const bool more = CutToPage(entries, page_size);
  for (const storage::AuditEntry& entry : entries) *response.add_entries() = ToProto(entry);
  if (more) response.set_next_page_token(MakePageToken(scope, absl::StrCat(entries.back().number)));
  return response;
}

absl::Status VerifyAudit(
    audit::AuditLog& log, const v1::VerifyAuditRequest& request,
    const std::function<absl::Status(const v1::VerifyAuditResponse&)>& report) {
  std::vector<std::string> heads;
  if (!request.head().empty()) heads.push_back(request.head());
  v1::VerifyAuditResponse event;
  ASSIGN_OR_RETURN(const audit::Report found, log.Verify(heads, [&](int64_t count) {
    event.set_checked_count(count);
    return report(event);
  }));
  for (const audit::Finding& finding : found.findings) {
    *event.mutable_finding() = ToProto(finding);
    RETURN_IF_ERROR(report(event));
  }
  v1::AuditSummary& summary = *event.mutable_summary();
  summary.set_entry_count(found.entries);
  summary.set_removed_number(found.removed);
  if (found.head) {
    summary.set_last_number(found.head->number);
    summary.set_head(log.chain().Sign(audit::HeadKind::kNewest, *found.head));
  }
  summary.set_finding_count(found.finding_count);
  for (const audit::Finding& lost : found.lost) *summary.add_lost() = ToProto(lost);
  return report(event);
}

}  // namespace backup::handlers
