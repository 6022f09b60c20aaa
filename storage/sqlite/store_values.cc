#include "base/status_macros.h"
#include "storage/sqlite/sqlite_transaction.h"

namespace backup::storage {

absl::StatusOr<std::optional<std::string>> SqliteTransaction::FindStoreValue(
    const std::string& name) {
  Query query = database_.Prepare("SELECT value FROM store_values WHERE name = ?");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(name).Step());
  if (!found) return std::nullopt;
  return query.Blob(0);
}

absl::StatusOr<std::string> SqliteTransaction::AddStoreValue(const std::string& name,
                                                             const std::string& value) {
  ASSIGN_OR_RETURN(std::optional<std::string> known, FindStoreValue(name));
  if (known) return *std::move(known);
  RETURN_IF_ERROR(database_.Prepare("INSERT INTO store_values VALUES (?, ?)")
                      .BindBlob(name)
                      .BindBlob(value)
                      .Run());
  return value;
}

absl::Status SqliteTransaction::SetStoreValue(const std::string& name, const std::string& value) {
  return database_.Prepare("INSERT OR REPLACE INTO store_values VALUES (?, ?)")
      .BindBlob(name)
      .BindBlob(value)
      .Run();
}

}  // namespace backup::storage
