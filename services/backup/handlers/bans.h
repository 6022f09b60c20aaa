#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "backup/v1/admin.pb.h"
#include "backup/v1/ingest.pb.h"
#include "storage/catalog/ban.h"
#include "storage/catalog/snapshot.h"
#include "storage/catalog/transaction.h"

namespace backup::handlers {

// Keeps a ban of an operator. Used by one thread at a time.
class AddBan {
 public:
  // `author` is who calls.
  static absl::StatusOr<AddBan> Prepare(absl::Time now, std::string author,
                                        const v1::AddBanRequest& request);
  absl::Status Apply(storage::Transaction& transaction);
  absl::StatusOr<v1::AddBanResponse> Respond() const { return response_; }

 private:
  storage::Ban ban_;
  v1::AddBanResponse response_;
};

// Forgets one. Used by one thread at a time.
class RemoveBan {
 public:
  static absl::StatusOr<RemoveBan> Prepare(const v1::RemoveBanRequest& request);
  absl::Status Apply(storage::Transaction& transaction);
  absl::StatusOr<v1::RemoveBanResponse> Respond() const { return response_; }

 private:
  std::string network_;
  v1::RemoveBanResponse response_;
};

// Keeps what was earned at a bridge, unless the network is banned for longer, or there is no room
// beside the bans of operators. Used by one thread at a time.
class NoteEarnedBans {
 public:
  static absl::StatusOr<NoteEarnedBans> Prepare(absl::Time now, std::string author,
                                                const v1::SyncBansRequest& request);
  absl::Status Apply(storage::Transaction& transaction);
  // Nothing of its own: all bans are to be read then.
  absl::StatusOr<v1::SyncBansResponse> Respond() const { return v1::SyncBansResponse(); }

 private:
  std::vector<storage::Ban> earned_;
};

// A page of those that have not ended.
absl::StatusOr<v1::ListBansResponse> ListBans(storage::Snapshot& snapshot, absl::Time now,
                                              const v1::ListBansRequest& request);
// All that there are, unless the bridge knows them.
absl::StatusOr<v1::SyncBansResponse> SyncBans(storage::Snapshot& snapshot, absl::Time now,
                                              const v1::SyncBansRequest& request);

}  // namespace backup::handlers
