#include "services/backup/handlers/sealed_rows.h"

#include <optional>
#include <string>
#include <vector>

#include "base/status_macros.h"
#include "content/store_keys.h"

namespace backup::handlers {
namespace {

constexpr int kPage = 1000;

absl::Status VisitTrashedClients(storage::Catalog& catalog,
                                 const std::function<void(const storage::Client&)>& visit) {
  storage::TrashPosition<ClientId> after;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<storage::Client> page,
                     catalog.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ListTrashedClients(after, kPage);
                     }));
    for (const storage::Client& client : page) visit(client);
    if (page.size() < kPage) return absl::OkStatus();
    after.delete_time = page.back().delete_time.value_or(absl::UnixEpoch());
    after.id = page.back().id;
  }
}

}  // namespace

absl::Status VisitClients(storage::Catalog& catalog,
                          const std::function<bool(const storage::Client&)>& visit) {
  ClientId after;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<storage::Client> page,
                     catalog.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ListClients(after, kPage);
                     }));
    for (const storage::Client& client : page) {
      if (!visit(client)) return absl::OkStatus();
    }
    if (page.size() < kPage) return absl::OkStatus();
    after = page.back().id;
  }
}

absl::Status VisitPacks(storage::Catalog& catalog,
                        const std::function<bool(const storage::PackInfo&)>& visit) {
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<storage::PackInfo> page,
                     catalog.Read([&](storage::Snapshot& snapshot) {
                       return snapshot.ListPacks(after, kPage);
                     }));
    for (const storage::PackInfo& pack : page) {
      if (!visit(pack)) return absl::OkStatus();
    }
    if (page.size() < kPage) return absl::OkStatus();
    after = page.back().pack;
  }
}

absl::StatusOr<std::set<uint32_t>> NamedGenerations(storage::Catalog& catalog) {
  const crypto::KeyRing none;
  std::set<uint32_t> named;
  const auto add = [&](const std::string& sealed) {
    if (!sealed.empty()) named.insert(none.GenerationOf(sealed));
    return true;
  };
  ASSIGN_OR_RETURN(const std::optional<std::string> secret,
                   catalog.Read([](storage::Snapshot& snapshot) {
                     return snapshot.FindStoreValue(std::string(content::StoreKeys::kName));
                   }));
  add(secret.value_or(""));
  RETURN_IF_ERROR(VisitClients(
      catalog, [&](const storage::Client& client) { return add(client.sealed_session_key); }));
  RETURN_IF_ERROR(VisitTrashedClients(
      catalog, [&](const storage::Client& client) { add(client.sealed_session_key); }));
  RETURN_IF_ERROR(
      VisitPacks(catalog, [&](const storage::PackInfo& pack) { return add(pack.wrapped_key); }));
  return named;
}

}  // namespace backup::handlers
