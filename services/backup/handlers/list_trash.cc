#include "services/backup/handlers/list_trash.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/page_tokens.h"

namespace backup::handlers {
namespace {

// Where a page ended: among the clients, or among the versions, which come after them. As text:
// "c" or "v", nanoseconds and the id.
struct Position {
  bool is_behind_clients = false;
  // Behind those that are purged just now, of which a part is gone: their time is the epoch.
  storage::TrashPosition<ClientId> client{absl::UnixEpoch() + absl::Microseconds(1), {}};
  storage::TrashPosition<int64_t> version;
};

std::string ClientPosition(const storage::Client& client) {
  return absl::StrCat("c ", absl::ToUnixNanos(*client.delete_time), " ", ToUuid(client.id));
}

std::string VersionPosition(const storage::TrashPosition<int64_t>& version) {
  return absl::StrCat("v ", absl::ToUnixNanos(version.delete_time), " ", version.id);
}

absl::StatusOr<Position> ParsePosition(const std::string& text) {
  Position position;
  if (text.empty()) return position;
  const std::vector<std::string> parts = absl::StrSplit(text, ' ');
  int64_t nanos = 0;
  if (parts.size() != 3 || !absl::SimpleAtoi(parts[1], &nanos)) return WrongPageToken();
  position.is_behind_clients = parts[0] == "v";
  const absl::Time time = absl::FromUnixNanos(nanos);
  if (!position.is_behind_clients) {
    const std::optional<ClientId> id = FromUuid<ClientId>(parts[2]);
    if (!id) return WrongPageToken();
    position.client = {time, *id};
    return position;
  }
  position.version.delete_time = time;
  if (!absl::SimpleAtoi(parts[2], &position.version.id)) return WrongPageToken();
  return position;
}

absl::StatusOr<storage::TrashFilter> ParseFilter(const v1::ListTrashRequest& request) {
  storage::TrashFilter filter;
  if (!request.client_id().empty()) {
    ASSIGN_OR_RETURN(filter.client, ParseClientId(request.client_id()));
  }
  if (request.file_name().empty()) return filter;
  if (!filter.client)
    return MakeError(Reason::kInvalidField, "file_name needs client_id", "file_name");
  ASSIGN_OR_RETURN(filter.file_name, ParseName("file_name", request.file_name()));
  return filter;
}

v1::TrashedClient ToTrashed(const storage::Client& client, const TrashPolicy& policy) {
  v1::TrashedClient out;
  *out.mutable_client() = ToProto(client);
  out.set_file_count(client.file_count);
  out.set_version_count(client.version_count);
  SetTime(*client.delete_time, *out.mutable_delete_time());
  SetTime(*client.delete_time + policy.retention, *out.mutable_purge_time());
  return out;
}

v1::TrashedVersion ToTrashed(const storage::Version& version, const TrashPolicy& policy) {
  v1::TrashedVersion out;
  *out.mutable_version() = ToProto(version);
  SetTime(*version.delete_time, *out.mutable_delete_time());
  SetTime(*version.delete_time + policy.retention, *out.mutable_purge_time());
  return out;
}

// At most `limit` clients behind the position that the filter means.
absl::StatusOr<std::vector<storage::Client>> Clients(storage::Snapshot& snapshot,
                                                     const storage::TrashFilter& filter,
                                                     const Position& position, int limit) {
  if (position.is_behind_clients || filter.file_name) return std::vector<storage::Client>();
  if (!filter.client) return snapshot.ListTrashedClients(position.client, limit);
  const absl::StatusOr<storage::Client> client = snapshot.FindTrashedClient(*filter.client);
  if (ReasonOf(client.status()) == Reason::kClientNotFound) return std::vector<storage::Client>();
  if (!client.ok()) return client.status();
  // It is the only one.
  const bool was_listed = position.client.delete_time != Position().client.delete_time;
  return was_listed ? std::vector<storage::Client>() : std::vector<storage::Client>{*client};
}

}  // namespace

absl::StatusOr<v1::ListTrashResponse> ListTrash(storage::Snapshot& snapshot,
                                                const TrashPolicy& policy,
                                                const v1::ListTrashRequest& request) {
  ASSIGN_OR_RETURN(const storage::TrashFilter filter, ParseFilter(request));
  ASSIGN_OR_RETURN(const int page_size, ParsePageSize(request.page_size()));
  const std::string scope =
      absl::StrCat("trash:", filter.client.value_or(ClientId()).bytes(), request.file_name());
  ASSIGN_OR_RETURN(const std::string text, ParsePageToken(scope, request.page_token()));
  ASSIGN_OR_RETURN(const Position position, ParsePosition(text));
  v1::ListTrashResponse response;
  ASSIGN_OR_RETURN(std::vector<storage::Client> clients,
                   Clients(snapshot, filter, position, page_size + 1));
  const bool more_clients = CutToPage(clients, page_size);
  for (const storage::Client& client : clients) *response.add_clients() = ToTrashed(client, policy);
  if (more_clients) {
    response.set_next_page_token(MakePageToken(scope, ClientPosition(clients.back())));
    return response;
  }
  const int left = page_size - static_cast<int>(clients.size());
  ASSIGN_OR_RETURN(std::vector<storage::Version> versions,
                   snapshot.ListTrashedVersions(filter, position.version, left + 1));
  const bool more_versions = CutToPage(versions, left);
  for (const storage::Version& version : versions)
    *response.add_versions() = ToTrashed(version, policy);
  if (!more_versions) return response;
  storage::TrashPosition<int64_t> last = position.version;
  if (!versions.empty()) last = {*versions.back().delete_time, versions.back().version_id};
  // Before all versions, no time can be said.
  if (last.delete_time == absl::InfinitePast()) last.delete_time = absl::UnixEpoch();
  response.set_next_page_token(MakePageToken(scope, VersionPosition(last)));
  return response;
}

}  // namespace backup::handlers
