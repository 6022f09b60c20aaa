#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/byte_stream.h"
#include "base/unique_fd.h"
#include "content/snapshot_file.h"
#include "crypto/master_key.h"
#include "services/backup/open_storage.h"
#include "storage/catalog/catalog.h"
#include "storage/snapshot_folder.h"

// How the state of a service that does not run is got back from snapshots. Nothing that was there
// is deleted: what is replaced is put aside.
namespace backup {

// Where a service keeps snapshots: in its store, and in `snapshot_dir` unless that is empty.
std::vector<std::string> SnapshotFolders(const std::string& data_dir,
                                         const std::string& snapshot_dir);

// A snapshot that was found.
struct FoundSnapshot {
  storage::SnapshotFolder::Entry entry;
  std::string path;
  content::SnapshotFooter footer;  // If it can be read.
  absl::Status readable;           // With the keys at hand, as far as its footer tells.
  bool is_guess = false;           // That it is this store's, of those of FindOwnSnapshots().
};
// All in these folders, newest first. A folder that is not there has none; one that cannot be
// listed is there itself, as the last and not readable. Without keys none is readable.
std::vector<FoundSnapshot> FindSnapshots(const std::vector<std::string>& folders,
                                         const crypto::MasterKeys* master_keys);
// Whether its footer says that it takes a key that is not at hand.
bool IsOfAnotherKey(const FoundSnapshot& found, const crypto::MasterKeys& master_keys);

// FailedPrecondition if the folder, which may be missing, is another user's: that one's service
// could not open what this process makes in it.
absl::Status CheckOwner(const std::string& data_dir);

// A data directory whose catalog is to be replaced.
struct HeldDataDir {
  std::string path;
  UniqueFd lock;
  crypto::MasterKeys master_keys;
  std::string generations_file;  // Of the keys that they wrap.
  BlobsOptions blobs;            // Where blobs are that are elsewhere, as far as that is not known.
};
// Holds it. Errors: NotFound if there is no such folder, or no master key; Aborted if a service
// holds it; those of CheckOwner() and OpenMasterKeys().
absl::StatusOr<HeldDataDir> HoldDataDir(const std::string& data_dir, const KeySources& sources);

// Told before and after each step that a crash may come between; for tests.
using StateListener = std::function<void(absl::string_view step)>;

// Those of FindSnapshots() that a catalog of this directory may be taken from: of its store, and
// those of which nobody knows whose they are. Which store it is, the newest snapshot in its own
// folder tells, else the catalog in place, else that snapshots of only one are found, or of only
// one that the keys at hand may open, which is a guess. FailedPrecondition, with the stores, if
// nothing of that does.
absl::StatusOr<std::vector<FoundSnapshot>> FindOwnSnapshots(
    const HeldDataDir& data_dir, const std::vector<std::string>& folders);

// What to take the catalog from.
struct SnapshotChoice {
  std::vector<std::string> folders;  // The newest of FindOwnSnapshots() that is not damaged,
  std::string path;                  // or, if it is not empty, this file.
};
// A catalog that is not in its place yet.
struct NewCatalog {
  std::string path;
  std::unique_ptr<storage::Catalog> catalog;
  std::string snapshot_path;
  absl::Time snapshot_time;
  std::vector<std::string> unreadable;  // Snapshots that were passed over, and why.
};
// Writes the catalog of a snapshot to DATA_DIR/catalog.db.new, checks all of it, and makes it fit
// to be put in the place of a later one: what was pending is forgotten, and version ids go on above
// all that were ever given, and a generation of keys that is to go begins anew to do so. Errors:
// NotFound if there is no snapshot that can be read, with why each of them cannot;
// FailedPrecondition, without a chosen file, if that is so of the newest that is not damaged only
// for want of its master key, which it names, or if that was a guess and packs of this directory
// are of another store; that of FindOwnSnapshots(); STORAGE_FULL, STORAGE_IO.
absl::StatusOr<NewCatalog> OpenSnapshot(const HeldDataDir& data_dir, const SnapshotChoice& choice,
                                        const StateListener& listener);

// Closes and deletes one that is not to be put in place.
void DiscardCatalog(NewCatalog catalog);

// What OpenSnapshot() does, of a copy of the catalog that is in place, if it is sound, is not
// behind its mark, and has given all version ids below `next_version_id`. Errors: NotFound if it is
// not so; STORAGE_FULL; Unimplemented if it is of a newer schema.
absl::StatusOr<NewCatalog> CopyCatalogInPlace(const HeldDataDir& data_dir, int64_t next_version_id,
                                              absl::Time now);

// And without a snapshot: an empty catalog, whose version ids are above all that were given.
absl::StatusOr<NewCatalog> MakeEmptyCatalog(const HeldDataDir& data_dir);

// Makes DATA_DIR/catalog.db.new, which is closed, the catalog, and marks how far it is; returns the
// folder below DATA_DIR that has what was there before, empty if nothing was. After a crash in
// between a service may refuse to start, and it is to be done again from the beginning. Reason
// STORAGE_IO, with nothing changed, if the file is not all of the new catalog.
//
// The audit log says from then on that `what` was done, and what it was made of.
absl::StatusOr<std::string> PutInPlace(const HeldDataDir& data_dir, absl::Time now,
                                       const char* what, absl::string_view source,
                                       const StateListener& listener);

// Has the audit log of a catalog that nobody uses say that `what` was done, and of what. Without
// keys it is not told: then the next start finds that the log is not as it was left.
void TellAudit(const HeldDataDir& data_dir, storage::Catalog& catalog, const char* what,
               absl::string_view source, absl::Time now);

// Takes a catalog that is older than the store as it is: a service starts with it again, and
// forgets what it does not know.
absl::Status AcceptCatalog(const HeldDataDir& data_dir);

}  // namespace backup
