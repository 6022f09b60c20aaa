#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/status_macros.h"
#include "storage/sqlite/rows.h"
#include "storage/sqlite/sqlite_transaction.h"

namespace backup::storage {
namespace {

// The largest time is kept for "whenever it ends", which is above every lease.
constexpr int64_t kWhenever = std::numeric_limits<int64_t>::max();

// The first column of all rows, which must be blob ids.
absl::StatusOr<std::vector<BlobId>> ReadBlobIds(Query& query) {
  std::vector<BlobId> blobs;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return blobs;
    const std::optional<BlobId> id = BlobId::FromBytes(query.Blob(0));
    if (!id)
      return MakeError(Reason::kStateCorrupt, "a blob id in the catalog is damaged", "catalog");
    blobs.push_back(*id);
  }
}

}  // namespace

int64_t StoredEnd(const BlobLease& lease) {
  return std::min(absl::ToUnixMicros(lease.end), kWhenever - 1);
}

absl::StatusOr<BlobUse> SqliteTransaction::FindBlob(const BlobId& id) {
  Query query = database_.Prepare(
      "SELECT EXISTS (SELECT 1 FROM pending_blobs WHERE blob_id = ?1), "
      "EXISTS (SELECT 1 FROM versions WHERE blob_id = ?1) OR "
      "EXISTS (SELECT 1 FROM packs WHERE blob_id = ?1), "
      "EXISTS (SELECT 1 FROM dropped_blobs WHERE blob_id = ?1), "
      "EXISTS (SELECT 1 FROM set_aside_blobs WHERE blob_id = ?1)");
  RETURN_IF_ERROR(query.BindBlob(id.bytes()).Step().status());
  if (query.Int(0) != 0) return BlobUse::kPending;
  if (query.Int(1) != 0) return BlobUse::kReferenced;
  if (query.Int(2) != 0) return BlobUse::kDropped;
  return query.Int(3) != 0 ? BlobUse::kSetAside : BlobUse::kUnknown;
}

absl::StatusOr<std::vector<BlobId>> SqliteTransaction::ListDroppedBlobs(const BlobId& after,
                                                                        int limit) {
  Query query = database_.Prepare(
      "SELECT blob_id FROM dropped_blobs WHERE blob_id > ? ORDER BY blob_id LIMIT ?");
  return ReadBlobIds(query.BindBlob(after.bytes()).Bind(limit));
}

absl::Status SqliteTransaction::AddPendingBlobs(const std::vector<BlobId>& ids,
                                                const BlobLease& lease) {
  RETURN_IF_ERROR(CheckGrowth());
  for (const BlobId& id : ids) {
    RETURN_IF_ERROR(database_.Prepare("INSERT INTO pending_blobs VALUES (?, ?, ?)")
                        .BindBlob(id.bytes())
                        .BindBlob(lease.owner.bytes())
                        .Bind(StoredEnd(lease))
                        .Run());
  }
  return absl::OkStatus();
}

absl::Status SqliteTransaction::RenewLeases(const BlobLease& lease) {
  const Passing passing(*this);
  for (const char* const update : {"UPDATE pending_blobs SET lease_end = ? WHERE owner = ?",
                                   "UPDATE pending_recipes SET lease_end = ? WHERE owner = ?",
                                   "UPDATE owner_epochs SET lease_end = ? WHERE owner = ?"}) {
    RETURN_IF_ERROR(
        database_.Prepare(update).Bind(StoredEnd(lease)).BindBlob(lease.owner.bytes()).Run());
  }
  return absl::OkStatus();
}

absl::Status SqliteTransaction::CheckPendingBlob(const BlobId& id) {
  Query query = database_.Prepare("SELECT 1 FROM pending_blobs WHERE blob_id = ?");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(id.bytes()).Step());
  return found ? absl::OkStatus() : LostSight();
}

absl::Status SqliteTransaction::TakePendingBlob(const BlobId& id) {
  Query query = database_.Prepare("DELETE FROM pending_blobs WHERE blob_id = ? RETURNING 1");
  ASSIGN_OR_RETURN(const bool found, query.BindBlob(id.bytes()).Step());
  return found ? absl::OkStatus() : LostSight();
}

absl::Status SqliteTransaction::DropPendingBlob(const BlobId& id) {
  RETURN_IF_ERROR(
      database_.Prepare("DELETE FROM pending_blobs WHERE blob_id = ?").BindBlob(id.bytes()).Run());
  return database_
      .Prepare(
          "INSERT INTO dropped_blobs SELECT ?1 "
          "WHERE NOT EXISTS (SELECT 1 FROM versions WHERE blob_id = ?1) "
          "AND NOT EXISTS (SELECT 1 FROM packs WHERE blob_id = ?1) "
          "AND NOT EXISTS (SELECT 1 FROM set_aside_blobs WHERE blob_id = ?1) "
          "ON CONFLICT DO NOTHING")
      .BindBlob(id.bytes())
      .Run();
}

absl::StatusOr<int64_t> SqliteTransaction::DropPendingBlobsOfOthers(const OwnerId& self,
                                                                    absl::Time ended_before,
                                                                    int limit) {
  const int64_t end =
      ended_before == absl::InfiniteFuture() ? kWhenever : absl::ToUnixMicros(ended_before);
  std::vector<BlobId> blobs;
  {
    Query query = database_.Prepare(
        "SELECT blob_id FROM pending_blobs WHERE owner <> ? AND lease_end < ? LIMIT ?");
    query.BindBlob(self.bytes()).Bind(end).Bind(limit);
    ASSIGN_OR_RETURN(blobs, ReadBlobIds(query));
  }
  for (const BlobId& id : blobs) RETURN_IF_ERROR(DropPendingBlob(id));
  std::vector<int64_t> recipes;
  {
    Query query = database_.Prepare(
        "SELECT recipe_id FROM pending_recipes WHERE owner <> ? AND lease_end < ? LIMIT ?");
    query.BindBlob(self.bytes()).Bind(end).Bind(limit - std::ssize(blobs));
    ASSIGN_OR_RETURN(recipes, ReadNumbers(query));
  }
  for (const int64_t id : recipes) RETURN_IF_ERROR(DropPendingRecipe(id));
  RETURN_IF_ERROR(database_.Prepare("DELETE FROM owner_epochs WHERE owner <> ? AND lease_end < ?")
                      .BindBlob(self.bytes())
                      .Bind(end)
                      .Run());
  return std::ssize(blobs) + std::ssize(recipes);
}

absl::Status SqliteTransaction::ForgetPending() {
  return database_.Execute(
      "DELETE FROM pending_blobs;"
      "INSERT INTO dropped_recipes SELECT recipe_id FROM pending_recipes WHERE true"
      " ON CONFLICT DO NOTHING;"
      "DELETE FROM pending_recipes;"
      "DELETE FROM owner_epochs");
}

absl::Status SqliteTransaction::ForgetDroppedBlobs(const std::vector<BlobId>& ids) {
  for (const BlobId& id : ids) {
    RETURN_IF_ERROR(database_.Prepare("DELETE FROM dropped_blobs WHERE blob_id = ?")
                        .BindBlob(id.bytes())
                        .Run());
  }
  return absl::OkStatus();
}

}  // namespace backup::storage
