#include "services/backup/handlers/list_stale_clients.h"

#include "base/error.h"
#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/page_tokens.h"

namespace backup::handlers {
namespace {

constexpr int64_t kMaxStaleSeconds = int64_t{100} * 366 * 24 * 60 * 60;

}  // namespace

absl::StatusOr<v1::ListStaleClientsResponse> ListStaleClients(
    storage::Snapshot& snapshot, const Clock& clock, const v1::ListStaleClientsRequest& request) {
  constexpr char kScope[] = "stale_clients";
  if (request.older_than().seconds() <= 0 || request.older_than().seconds() > kMaxStaleSeconds) {
    return MakeError(Reason::kInvalidField, "older_than must be 1 s to 100 years", "older_than");
  }
  ASSIGN_OR_RETURN(const int page_size, ParsePageSize(request.page_size()));
  ASSIGN_OR_RETURN(const std::string position, ParsePageToken(kScope, request.page_token()));
  const ClientId after = ClientId::FromBytes(position).value_or(ClientId());
  const absl::Time now = clock.Now();
  const absl::Time since = now - absl::Seconds(request.older_than().seconds());
  ASSIGN_OR_RETURN(std::vector<storage::Client> clients,
                   snapshot.ListStaleClients(since, now, after, page_size + 1));
  v1::ListStaleClientsResponse response;
  const bool more = CutToPage(clients, page_size);
  for (const storage::Client& client : clients) *response.add_clients() = ToProto(client);
  if (more) response.set_next_page_token(MakePageToken(kScope, clients.back().id.bytes()));
  return response;
}

}  // namespace backup::handlers
