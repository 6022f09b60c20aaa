#include <limits>

#include "base/error.h"
#include "base/status_macros.h"
#include "storage/postgres/postgres_transaction.h"

// What nothing refers to, and nobody set aside; $1 is its id.
#define UNREFERENCED(id)                                    \
  "NOT EXISTS (SELECT 1 FROM versions WHERE blob_id = " id  \
  ") "                                                      \
  "AND NOT EXISTS (SELECT 1 FROM packs WHERE blob_id = " id \
  ") "                                                      \
  "AND NOT EXISTS (SELECT 1 FROM set_aside_blobs WHERE blob_id = " id ") "

namespace backup::storage::postgres {
namespace {

// The largest time is kept for "whenever it ends", which is above every lease.
constexpr int64_t kWhenever = std::numeric_limits<int64_t>::max();

}  // namespace

absl::StatusOr<BlobUse> PostgresTransaction::FindBlob(const BlobId& id) {
  Query query = connection_.Prepare(
      "SELECT EXISTS (SELECT 1 FROM pending_blobs WHERE blob_id = $1), "
      "EXISTS (SELECT 1 FROM versions WHERE blob_id = $1) OR "
      "EXISTS (SELECT 1 FROM packs WHERE blob_id = $1), "
      "EXISTS (SELECT 1 FROM dropped_blobs WHERE blob_id = $1), "
      "EXISTS (SELECT 1 FROM set_aside_blobs WHERE blob_id = $1)");
  RETURN_IF_ERROR(query.BindBlob(id.bytes()).Step().status());
  if (query.Int(0) != 0) return BlobUse::kPending;
  if (query.Int(1) != 0) return BlobUse::kReferenced;
  if (query.Int(2) != 0) return BlobUse::kDropped;
  return query.Int(3) != 0 ? BlobUse::kSetAside : BlobUse::kUnknown;
}

absl::StatusOr<std::vector<BlobId>> PostgresTransaction::ListDroppedBlobs(const BlobId& after,
                                                                          int limit) {
  Query query = connection_.Prepare(
      "SELECT blob_id FROM dropped_blobs WHERE blob_id > $1 ORDER BY blob_id LIMIT $2");
  return ReadBlobIds(query.BindBlob(after.bytes()).Bind(limit));
}

absl::Status PostgresTransaction::AddPendingBlobs(const std::vector<BlobId>& ids,
                                                  const BlobLease& lease) {
  return connection_
      .Prepare("INSERT INTO pending_blobs SELECT id, $2, $3 FROM unnest($1::bytea[]) AS id")
      .BindAllBlobs(BytesOf(ids))
      .BindBlob(lease.owner.bytes())
      .Bind(StoredEnd(lease))
      .Run();
}

absl::Status PostgresTransaction::RenewLeases(const BlobLease& lease) {
  for (const char* const update : {"UPDATE pending_blobs SET lease_end = $1 WHERE owner = $2",
                                   "UPDATE pending_recipes SET lease_end = $1 WHERE owner = $2",
                                   "UPDATE owner_epochs SET lease_end = $1 WHERE owner = $2"}) {
    RETURN_IF_ERROR(connection_.Prepare(update)
                        .Bind(StoredEnd(lease))
                        .BindBlob(lease.owner.bytes())
                        .Passing()
                        .Run());
  }
  return absl::OkStatus();
}

absl::Status PostgresTransaction::DropPendingBlob(const BlobId& id) {
  // Two statements: after waiting for who takes it, the second one sees that.
  RETURN_IF_ERROR(connection_.Prepare("DELETE FROM pending_blobs WHERE blob_id = $1")
                      .BindBlob(id.bytes())
                      .Run());
  return connection_
      .Prepare("INSERT INTO dropped_blobs SELECT $1::bytea WHERE " UNREFERENCED(
          "$1") "ON CONFLICT DO NOTHING")
      .BindBlob(id.bytes())
      .Run();
}

absl::StatusOr<int64_t> PostgresTransaction::DropPendingBlobsOfOthers(const OwnerId& self,
                                                                      absl::Time ended_before,
                                                                      int limit) {
  const int64_t end =
      ended_before == absl::InfiniteFuture() ? kWhenever : absl::ToUnixMicros(ended_before);
  Query blobs = connection_.Prepare(
      "DELETE FROM pending_blobs WHERE blob_id IN (SELECT blob_id FROM pending_blobs "
      "WHERE owner <> $1 AND lease_end < $2 ORDER BY blob_id LIMIT $3 FOR UPDATE SKIP LOCKED) "
      "RETURNING blob_id");
  blobs.BindBlob(self.bytes()).Bind(end).Bind(limit);
  ASSIGN_OR_RETURN(const std::vector<BlobId> ids, ReadBlobIds(blobs));
  if (!ids.empty()) {
    RETURN_IF_ERROR(connection_
                        .Prepare("INSERT INTO dropped_blobs SELECT id FROM unnest($1::bytea[]) AS "
                                 "id WHERE " UNREFERENCED("id") "ON CONFLICT DO NOTHING")
                        .BindAllBlobs(BytesOf(ids))
                        .Run());
  }
  Query recipes = connection_.Prepare(
      "WITH gone AS (DELETE FROM pending_recipes WHERE recipe_id IN (SELECT recipe_id FROM "
      "pending_recipes WHERE owner <> $1 AND lease_end < $2 ORDER BY recipe_id LIMIT $3 "
      "FOR UPDATE SKIP LOCKED) RETURNING recipe_id) "
      "INSERT INTO dropped_recipes SELECT recipe_id FROM gone ON CONFLICT DO NOTHING RETURNING 1");
  recipes.BindBlob(self.bytes()).Bind(end).Bind(limit - std::ssize(ids));
  ASSIGN_OR_RETURN(const std::vector<int64_t> dropped, ReadNumbers(recipes));
  RETURN_IF_ERROR(
      connection_.Prepare("DELETE FROM owner_epochs WHERE owner <> $1 AND lease_end < $2")
          .BindBlob(self.bytes())
          .Bind(end)
          .Run());
  return std::ssize(ids) + std::ssize(dropped);
}

absl::Status PostgresTransaction::ForgetPending() {
  for (const char* const forget :
       {"DELETE FROM pending_blobs",
        "WITH gone AS (DELETE FROM pending_recipes RETURNING recipe_id) "
        "INSERT INTO dropped_recipes SELECT recipe_id FROM gone ON CONFLICT DO NOTHING",
        "DELETE FROM owner_epochs"}) {
    RETURN_IF_ERROR(connection_.Prepare(forget).Run());
  }
  return absl::OkStatus();
}

absl::Status PostgresTransaction::ForgetDroppedBlobs(const std::vector<BlobId>& ids) {
  return connection_.Prepare("DELETE FROM dropped_blobs WHERE blob_id = ANY($1)")
      .BindAllBlobs(BytesOf(ids))
      .Run();
}

}  // namespace backup::storage::postgres
