#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/catalog.h"
#include "storage/sqlite/database.h"

namespace backup::storage {

// A time as it is once it was stored.
absl::Time StoredTime(absl::Time time);

// The steps of which the catalog's transactions are made. Each runs in the caller's transaction.

// Sets last_seen_time, which never goes back; nothing happens if there is no such client.
absl::Status NoteSeen(Database& database, const ClientId& id, absl::Time now);
// The client of that name that registered last.
absl::StatusOr<std::optional<Client>> SelectClientByName(Database& database,
                                                         const std::string& name);
// Adds a client without a key. `create_time` also tells which of a name's clients registered last,
// so it must be above theirs.
absl::StatusOr<Client> InsertClient(Database& database, const std::string& name, const ClientId& id,
                                    absl::Time create_time);

// Stores what requests change of a client, in one statement: all but its last_verified_time, which
// is in an index, and what triggers count.
absl::Status UpdateClient(Database& database, const Client& client);

// The file's id; adds the file if it is new. Reason CLIENT_NOT_FOUND.
absl::StatusOr<int64_t> SelectOrInsertFile(Database& database, const ClientId& client,
                                           const std::string& name);
// The version that an upload id of the client made.
absl::StatusOr<std::optional<Version>> SelectUpload(Database& database, const ClientId& client,
                                                    const UploadId& upload);
// Adds the version, in state kReceived whatever it says, and its content.
absl::Status InsertVersion(Database& database, int64_t file_id, const Version& version,
                           const Content& content);
// Does to a version in state kReceived what the outcome says.
absl::Status ApplyOutcome(Database& database, int64_t version_id, Outcome outcome, absl::Time now);

// The first column of all rows that are left, which must be blob ids.
absl::StatusOr<std::vector<BlobId>> ReadBlobIds(Query& query);

}  // namespace backup::storage
