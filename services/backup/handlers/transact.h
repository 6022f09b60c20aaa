#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/catalog/catalog.h"

// A handler is three steps. One that changes the catalog is a class:
//
//   static absl::StatusOr<H> Prepare(what it may touch, request);
//   absl::Status Apply(storage::Transaction& transaction);
//   absl::StatusOr<Response> Respond() const;
//
// Prepare() parses, decrypts, hashes, wraps keys; on any thread but the catalog's. Apply() touches
// nothing but the transaction and may be run again from its beginning (storage::Catalog::Work).
// Respond() is called at most once, when what Apply() did last is durable, by a thread that must
// not wait: it is trivial. A handler that only reads is one function of a storage::Snapshot.
namespace backup::handlers {

// How often a request is prepared at most.
inline constexpr int kMaxPreparations = 8;

// What Apply() returns if what was prepared is not true any more: everything is to be prepared
// again.
absl::Status Outdated(absl::string_view what);
bool IsOutdated(const absl::Status& status);
// What the caller is told if that happened too often. Reason BACKEND_DOWN: it may try again.
absl::Status OutdatedTooOften(const absl::Status& outdated);

// All three steps; waits for the transaction. `prepare` returns an absl::StatusOr of a handler.
template <typename Prepare>
auto Transact(storage::Catalog& catalog, const Prepare& prepare)
    -> decltype(std::declval<Prepare>()()->Respond()) {
  absl::Status committed;
  for (int i = 0; i < kMaxPreparations; ++i) {
    auto handler = prepare();
    if (!handler.ok()) return handler.status();
    committed =
        catalog.Run([&](storage::Transaction& transaction) { return handler->Apply(transaction); });
    if (committed.ok()) return handler->Respond();
    if (!IsOutdated(committed)) return committed;
  }
  return OutdatedTooOften(committed);
}

}  // namespace backup::handlers
