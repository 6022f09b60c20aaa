#include "services/backup/handlers/quotas.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/page_tokens.h"

namespace backup::handlers {
namespace {

using storage::Quota;
using storage::QuotaKind;
using storage::QuotaLimits;
using storage::QuotaScope;
using storage::Usage;

constexpr char kQuotasScope[] = "quotas";
// JSON has every whole number up to here as it is.
constexpr int64_t kMaxLimit = int64_t{1} << 53;

absl::Status InvalidField(absl::string_view field, absl::string_view why) {
  return MakeError(Reason::kInvalidField, absl::StrCat(field, " ", why), field);
}

// `prefix` is what the fields' names begin with.
absl::StatusOr<QuotaScope> ParseScope(absl::string_view prefix, v1::Quota::Scope scope,
                                      const std::string& client_id) {
  // The numbers are the same on both sides: storage/catalog/quota.h.
  if (scope == v1::Quota::SCOPE_UNSPECIFIED || !v1::Quota::Scope_IsValid(scope)) {
    return InvalidField(absl::StrCat(prefix, "scope"), "must be STORE, EVERY_CLIENT or CLIENT");
  }
  QuotaScope parsed;
  parsed.kind = static_cast<QuotaKind>(scope);
  if (scope == v1::Quota::CLIENT) {
    const absl::StatusOr<ClientId> client = ParseClientId(client_id);
    if (!client.ok()) return InvalidField(absl::StrCat(prefix, "client_id"), "must be a UUID");
    parsed.client = *client;
  } else if (!client_id.empty()) {
    return InvalidField(absl::StrCat(prefix, "client_id"), "must be empty unless scope is CLIENT");
  }
  return parsed;
}

// `soft` and `hard` of the same.
absl::Status CheckLimits(absl::string_view soft_field, int64_t soft, absl::string_view hard_field,
                         int64_t hard) {
  for (const auto& [field, limit] : {std::pair(soft_field, soft), std::pair(hard_field, hard)}) {
    if (limit < 0 || limit > kMaxLimit)
      return InvalidField(field, absl::StrCat("is ", limit, ", it must be from 0 to ", kMaxLimit));
  }
  if (hard > 0 && soft > hard) {
    return InvalidField(soft_field,
                        absl::StrCat("is ", soft, ", more than ", hard_field, ", which is ", hard));
  }
  return absl::OkStatus();
}

absl::StatusOr<Quota> ParseQuota(const v1::Quota& message) {
  Quota quota;
  ASSIGN_OR_RETURN(quota.scope, ParseScope("quota.", message.scope(), message.client_id()));
  RETURN_IF_ERROR(CheckLimits("quota.soft_bytes", message.soft_bytes(), "quota.hard_bytes",
                              message.hard_bytes()));
  RETURN_IF_ERROR(CheckLimits("quota.soft_files", message.soft_files(), "quota.hard_files",
                              message.hard_files()));
  quota.limits = {message.soft_bytes(), message.hard_bytes(), message.soft_files(),
                  message.hard_files()};
  if (quota.limits == QuotaLimits()) {
    return InvalidField("quota",
                        "has no limit; to have none, forget it: `backupctl client quota rm`");
  }
  return quota;
}

v1::Quota ToProto(const Quota& quota) {
  v1::Quota message;
  message.set_scope(static_cast<v1::Quota::Scope>(quota.scope.kind));
  if (quota.scope.kind == QuotaKind::kClient) message.set_client_id(ToUuid(quota.scope.client));
  message.set_soft_bytes(quota.limits.soft_bytes);
  message.set_hard_bytes(quota.limits.hard_bytes);
  message.set_soft_files(quota.limits.soft_files);
  message.set_hard_files(quota.limits.hard_files);
  return message;
}

absl::StatusOr<Usage> UsedBy(storage::Snapshot& snapshot, const QuotaScope& scope) {
  switch (scope.kind) {
    case QuotaKind::kClient: {
      ASSIGN_OR_RETURN(const storage::Client client, snapshot.FindClient(scope.client));
      return Usage{client.stored_bytes, client.file_count};
    }
    case QuotaKind::kStore: {
      ASSIGN_OR_RETURN(const storage::Counts counts, snapshot.Count());
      return Usage{counts.stored_bytes + counts.trash_bytes, counts.files + counts.trash_files};
    }
    case QuotaKind::kEveryClient:
      return Usage();
  }
  return Usage();
}

// A hard limit that is less than what is used.
struct TooSmall {
  absl::string_view limit;
  std::string why;
};

// Of hard limits that were higher or none under `before`: who is beyond one must be able to come
// nearer to it.
QuotaLimits LoweredLimits(const QuotaLimits& limits, const QuotaLimits& before) {
  const auto lowered = [](int64_t limit, int64_t old) {
    return old == 0 || limit < old ? limit : 0;
  };
  QuotaLimits hard;
  hard.hard_bytes = lowered(limits.hard_bytes, before.hard_bytes);
  hard.hard_files = lowered(limits.hard_files, before.hard_files);
  return hard;
}

std::optional<TooSmall> FindTooSmall(const QuotaScope& holder, const QuotaLimits& limits,
                                     const Usage& used) {
  const auto look = [&](absl::string_view name, int64_t limit,
                        int64_t now) -> std::optional<TooSmall> {
    if (limit == 0 || now <= limit) return std::nullopt;
    return TooSmall{name, absl::StrCat("would be ", limit, ", less than the ", now, " that ",
                                       NameOf(holder), " uses; nothing was changed")};
  };
  const std::optional<TooSmall> bytes = look("hard_bytes", limits.hard_bytes, used.bytes);
  return bytes ? bytes : look("hard_files", limits.hard_files, used.files);
}

// Reason INVALID_FIELD if `holder` uses more than one of these limits.
absl::Status CheckUsed(const QuotaScope& holder, const QuotaLimits& limits, const Usage& used) {
  const std::optional<TooSmall> too_small = FindTooSmall(holder, limits, used);
  if (!too_small) return absl::OkStatus();
  return InvalidField(absl::StrCat("quota.", too_small->limit), too_small->why);
}

v1::QuotaUse ToProto(const Quota& quota, const Usage& used) {
  v1::QuotaUse use;
  *use.mutable_quota() = ToProto(quota);
  use.set_used_bytes(used.bytes);
  use.set_used_files(used.files);
  return use;
}

// The quota that somebody is held to: of a client it may be every client's.
absl::StatusOr<std::optional<Quota>> FindQuota(storage::Snapshot& snapshot,
                                               const QuotaScope& scope) {
  ASSIGN_OR_RETURN(const std::optional<QuotaLimits> own, snapshot.FindQuota(scope));
  if (own) return Quota{scope, *own};
  if (scope.kind != QuotaKind::kClient) return std::nullopt;
  return FindQuota(snapshot, {ClientId(), QuotaKind::kEveryClient});
}

// The same of its limits; none without a quota.
absl::StatusOr<QuotaLimits> FindLimits(storage::Snapshot& snapshot, const QuotaScope& scope) {
  ASSIGN_OR_RETURN(const std::optional<Quota> quota, FindQuota(snapshot, scope));
  return quota ? quota->limits : QuotaLimits();
}

}  // namespace

absl::StatusOr<v1::QuotaUse> FindUse(storage::Snapshot& snapshot, const QuotaScope& scope) {
  ASSIGN_OR_RETURN(const std::optional<Quota> quota, FindQuota(snapshot, scope));
  ASSIGN_OR_RETURN(const Usage used, UsedBy(snapshot, scope));
  if (quota) return ToProto(*quota, used);
  v1::QuotaUse use;
  use.set_used_bytes(used.bytes);
  use.set_used_files(used.files);
  return use;
}

absl::StatusOr<SetQuota> SetQuota::Prepare(storage::Catalog& catalog,
                                           const v1::SetQuotaRequest& request) {
  SetQuota handler;
  ASSIGN_OR_RETURN(handler.quota_, ParseQuota(request.quota()));
  const Quota& quota = handler.quota_;
  if (quota.scope.kind == QuotaKind::kClient) return handler;
  // Whoever sends meanwhile may come to use more: then no more of it is taken in.
  RETURN_IF_ERROR(catalog.Read([&](storage::Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(handler.used_, UsedBy(snapshot, quota.scope));
    if (quota.scope.kind == QuotaKind::kStore) return absl::OkStatus();
    ASSIGN_OR_RETURN(const QuotaLimits before, FindLimits(snapshot, quota.scope));
    const QuotaLimits limits = LoweredLimits(quota.limits, before);
    ASSIGN_OR_RETURN(const std::optional<storage::Client> beyond,
                     snapshot.FindClientBeyond(limits));
    if (!beyond) return absl::OkStatus();
    return CheckUsed({beyond->id, QuotaKind::kClient}, limits,
                     {beyond->stored_bytes, beyond->file_count});
  }));
  return handler;
}

absl::Status SetQuota::Apply(storage::Transaction& transaction) {
  if (quota_.scope.kind == QuotaKind::kClient) {
    ASSIGN_OR_RETURN(used_, UsedBy(transaction, quota_.scope));
  }
  ASSIGN_OR_RETURN(const QuotaLimits before, FindLimits(transaction, quota_.scope));
  RETURN_IF_ERROR(CheckUsed(quota_.scope, LoweredLimits(quota_.limits, before), used_));
  *response_.mutable_use() = ToProto(quota_, used_);
  return transaction.SetQuota(quota_);
}

absl::StatusOr<DeleteQuota> DeleteQuota::Prepare(const v1::DeleteQuotaRequest& request) {
  DeleteQuota handler;
  ASSIGN_OR_RETURN(handler.scope_, ParseScope("", request.scope(), request.client_id()));
  return handler;
}

absl::Status DeleteQuota::Apply(storage::Transaction& transaction) {
  const bool is_clients = scope_.kind == QuotaKind::kClient;
  Usage used;
  if (is_clients) {
    ASSIGN_OR_RETURN(used, UsedBy(transaction, scope_));
  }
  ASSIGN_OR_RETURN(const QuotaLimits before, FindLimits(transaction, scope_));
  ASSIGN_OR_RETURN(const bool was_there, transaction.DeleteQuota(scope_));
  response_.set_was_there(was_there);
  if (!was_there || !is_clients) return absl::OkStatus();
  ASSIGN_OR_RETURN(const QuotaLimits instead, FindLimits(transaction, scope_));
  const std::optional<TooSmall> too_small =
      FindTooSmall(scope_, LoweredLimits(instead, before), used);
  if (!too_small) return absl::OkStatus();
  return InvalidField("client_id", absl::StrCat("has a quota of its own that must stay: every "
                                                "client's ",
                                                too_small->limit, " ", too_small->why));
}

absl::StatusOr<v1::GetQuotaResponse> GetQuota(storage::Snapshot& snapshot,
                                              const v1::GetQuotaRequest& request) {
  ASSIGN_OR_RETURN(const QuotaScope scope, ParseScope("", request.scope(), request.client_id()));
  v1::GetQuotaResponse response;
  ASSIGN_OR_RETURN(*response.mutable_use(), FindUse(snapshot, scope));
  return response;
}

absl::StatusOr<v1::ListQuotasResponse> ListQuotas(storage::Snapshot& snapshot,
                                                  const v1::ListQuotasRequest& request) {
  ASSIGN_OR_RETURN(const int page_size, ParsePageSize(request.page_size()));
  ASSIGN_OR_RETURN(const std::string position, ParsePageToken(kQuotasScope, request.page_token()));
  std::optional<QuotaScope> after;
  if (!position.empty()) {
    const auto client = ClientId::FromBytes(position.substr(0, ClientId::kSize));
    const int kind = position.back();
    if (!client || position.size() != ClientId::kSize + 1 || !v1::Quota::Scope_IsValid(kind))
      return WrongPageToken();
    after = QuotaScope{*client, static_cast<QuotaKind>(kind)};
  }
  ASSIGN_OR_RETURN(std::vector<Quota> quotas, snapshot.ListQuotas(after, page_size + 1));
  v1::ListQuotasResponse response;
  const bool more = CutToPage(quotas, page_size);
  for (const Quota& quota : quotas) {
    ASSIGN_OR_RETURN(const Usage used, UsedBy(snapshot, quota.scope));
    *response.add_uses() = ToProto(quota, used);
  }
  if (more) {
    const QuotaScope& last = quotas.back().scope;
    response.set_next_page_token(MakePageToken(
        kQuotasScope,
        absl::StrCat(last.client.bytes(), std::string(1, static_cast<char>(last.kind)))));
  }
  return response;
}

absl::Status CheckGrowth(storage::Snapshot& snapshot, const std::vector<storage::QuotaUse>& before,
                         const ClientId& client, const std::string& file_name) {
  if (before.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<storage::QuotaUse> after,
                   snapshot.ListQuotasFor(client, file_name));
  for (size_t i = 0; i < std::min(before.size(), after.size()); ++i) {
    const Usage more = {after[i].used.bytes - before[i].used.bytes,
                        after[i].used.files - before[i].used.files};
    RETURN_IF_ERROR(CheckRoom(before[i], more));
  }
  return absl::OkStatus();
}

}  // namespace backup::handlers
