#include "services/backup/handlers/sealed_rows.h"

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/exit_code.h"
#include "base/status_macros.h"
#include "content/chunk_seal.h"
#include "content/store_keys.h"
#include "services/backup/handlers/converters.h"

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

absl::StatusOr<std::map<uint32_t, std::string>> NamedGenerations(storage::Catalog& catalog) {
  const crypto::KeyRing none;
  std::map<uint32_t, std::string> named;
  const auto add = [&](const std::string& sealed, const std::function<std::string()>& what) {
    if (sealed.empty()) return true;
    std::string& first = named[none.GenerationOf(sealed)];
    if (first.empty()) first = what();
    return true;
  };
  const auto add_client = [&](const storage::Client& client, absl::string_view where) {
    return add(client.sealed_session_key, [&] {
      return absl::StrCat("the session key of the client ", ToUuid(client.id), where);
    });
  };
  ASSIGN_OR_RETURN(const std::optional<std::string> secret,
                   catalog.Read([](storage::Snapshot& snapshot) {
                     return snapshot.FindStoreValue(std::string(content::StoreKeys::kName));
                   }));
  add(secret.value_or(""), [] { return "the store's secret"; });
  RETURN_IF_ERROR(
      VisitClients(catalog, [&](const storage::Client& client) { return add_client(client, ""); }));
  RETURN_IF_ERROR(VisitTrashedClients(
      catalog, [&](const storage::Client& client) { add_client(client, " in the trash"); }));
  RETURN_IF_ERROR(VisitPacks(catalog, [&](const storage::PackInfo& pack) {
    return add(pack.wrapped_key, [&] { return absl::StrCat("the pack ", ToHex(pack.blob_id)); });
  }));
  return named;
}

absl::Status CheckPacksOpen(storage::Catalog& catalog, const crypto::KeyRing& ring) {
  absl::Status missing;
  std::set<uint32_t> there;
  RETURN_IF_ERROR(VisitPacks(catalog, [&](const storage::PackInfo& pack) {
    const uint32_t generation = ring.GenerationOf(pack.wrapped_key);
    if (pack.wrapped_key.empty() || there.contains(generation)) return true;
    const absl::Status opened = content::OpenPackKey(pack.wrapped_key, pack.blob_id, ring).status();
    if (ReasonOf(opened) != Reason::kKeyMissing) return there.insert(generation).second;
    missing = WithMessage(
        opened, absl::StrCat("nobody knows whether the pack ", ToHex(pack.blob_id),
                             " can be read: ", opened.message(),
                             "; if it is lost for ever, delete the versions that `backupctl "
                             "verify` names, and empty the trash"));
    return false;
  }));
  return missing;
}

}  // namespace backup::handlers
