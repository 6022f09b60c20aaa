#include "services/backup/handlers/list_clients.h"

#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/page_tokens.h"

namespace backup::handlers {

absl::StatusOr<v1::ListClientsResponse> ListClients(storage::Snapshot& snapshot,
                                                    const v1::ListClientsRequest& request) {
  constexpr char kScope[] = "clients";
  ASSIGN_OR_RETURN(const int page_size, ParsePageSize(request.page_size()));
  ASSIGN_OR_RETURN(const std::string position, ParsePageToken(kScope, request.page_token()));
  const ClientId after = ClientId::FromBytes(position).value_or(ClientId());
  ASSIGN_OR_RETURN(std::vector<storage::Client> clients,
                   snapshot.ListClients(after, page_size + 1));
  v1::ListClientsResponse response;
  const bool more = CutToPage(clients, page_size);
  for (const storage::Client& client : clients) *response.add_clients() = ToProto(client);
  if (more) response.set_next_page_token(MakePageToken(kScope, clients.back().id.bytes()));
  return response;
}

}  // namespace backup::handlers
