#include "services/backup/handlers/sealed_rows.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/exit_code.h"
#include "base/status_macros.h"
#include "content/chunk_seal.h"
#include "content/store_keys.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/session_keys.h"

namespace backup::handlers {
namespace {

constexpr int kPage = 1000;

using VisitClient = std::function<bool(const storage::Client&)>;
using VisitPack = std::function<bool(const storage::PackInfo&)>;

// What is read of one state, and what each time of the newest.
template <typename Work>
auto ReadFrom(storage::Snapshot& snapshot, const Work& read) {
  return read(snapshot);
}
template <typename Work>
auto ReadFrom(storage::Catalog& catalog, const Work& read) {
  return catalog.Read(read);
}

template <typename Source>
absl::Status VisitTrashedClients(Source& source, const VisitClient& visit) {
  storage::TrashPosition<ClientId> after;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<storage::Client> page,
                     ReadFrom(source, [&](storage::Snapshot& snapshot) {
                       return snapshot.ListTrashedClients(after, kPage);
                     }));
    for (const storage::Client& client : page) {
      if (!visit(client)) return absl::OkStatus();
    }
    if (page.size() < kPage) return absl::OkStatus();
    after.delete_time = page.back().delete_time.value_or(absl::UnixEpoch());
    after.id = page.back().id;
  }
}

template <typename Source>
absl::Status VisitClientsOf(Source& source, const VisitClient& visit) {
  ClientId after;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<storage::Client> page,
                     ReadFrom(source, [&](storage::Snapshot& snapshot) {
                       return snapshot.ListClients(after, kPage);
                     }));
    for (const storage::Client& client : page) {
      if (!visit(client)) return absl::OkStatus();
    }
    if (page.size() < kPage) return VisitTrashedClients(source, visit);
    after = page.back().id;
  }
}

template <typename Source>
absl::Status VisitPacksOf(Source& source, const VisitPack& visit) {
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<storage::PackInfo> page,
                     ReadFrom(source, [&](storage::Snapshot& snapshot) {
                       return snapshot.ListPacks(after, kPage);
                     }));
    for (const storage::PackInfo& pack : page) {
      if (!visit(pack)) return absl::OkStatus();
    }
    if (page.size() < kPage) return absl::OkStatus();
    after = page.back().pack;
  }
}

template <typename Source>
absl::StatusOr<std::map<uint32_t, std::string>> NamedGenerationsOf(Source& source,
                                                                   const crypto::KeyRing& ring) {
  std::map<uint32_t, std::string> named;
  const auto add = [&](uint32_t generation, const std::function<std::string()>& what) {
    std::string& first = named[generation];
    if (first.empty()) first = what();
  };
  ASSIGN_OR_RETURN(const std::optional<std::string> secret,
                   ReadFrom(source, [](storage::Snapshot& snapshot) {
                     return snapshot.FindStoreValue(std::string(content::StoreKeys::kName));
                   }));
  if (secret) {
    add(content::StoreKeys::GenerationOf(*secret, ring), [] { return "the store's secret"; });
  }
  RETURN_IF_ERROR(VisitClientsOf(source, [&](const storage::Client& client) {
    if (const auto generation = GenerationOfSessionKey(ring, client)) {
      add(*generation, [&] {
        return absl::StrCat("the session key of the client ", ToUuid(client.id),
                            client.delete_time ? " in the trash" : "");
      });
    }
    return true;
  }));
  RETURN_IF_ERROR(VisitPacksOf(source, [&](const storage::PackInfo& pack) {
    if (!pack.wrapped_key.empty()) {
      add(content::GenerationOfPackKey(pack.wrapped_key, pack.blob_id, ring),
          [&] { return absl::StrCat("the pack ", ToHex(pack.blob_id)); });
    }
    return true;
  }));
  return named;
}

}  // namespace

absl::Status VisitClients(storage::Catalog& catalog, const VisitClient& visit) {
  return VisitClientsOf(catalog, visit);
}

absl::Status VisitPacks(storage::Catalog& catalog, const VisitPack& visit) {
  return VisitPacksOf(catalog, visit);
}

absl::StatusOr<std::map<uint32_t, std::string>> NamedGenerations(storage::Catalog& catalog,
                                                                 const crypto::KeyRing& ring) {
  return NamedGenerationsOf(catalog, ring);
}

absl::StatusOr<std::map<uint32_t, std::string>> NamedGenerations(storage::Snapshot& snapshot,
                                                                 const crypto::KeyRing& ring) {
  return NamedGenerationsOf(snapshot, ring);
}

absl::Status CheckPacksOpen(storage::Catalog& catalog, const crypto::KeyRing& ring) {
  absl::Status missing;
  RETURN_IF_ERROR(VisitPacks(catalog, [&](const storage::PackInfo& pack) {
    if (pack.wrapped_key.empty()) return true;
    const absl::Status opened = content::OpenPackKey(pack.wrapped_key, pack.blob_id, ring).status();
    if (ReasonOf(opened) != Reason::kKeyMissing) return true;
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
