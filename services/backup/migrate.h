#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/backup/copy_blobs.h"
#include "services/backup/copy_rows.h"
#include "services/backup/open_storage.h"

// How a whole installation goes to another place (docs/adr/0042-migrating-an-installation.md).
namespace backup {

struct Migration {
  std::string from;  // The data directory that it comes from,
  KeySources keys;   // and what opens its keys.
  // Where it goes: a data directory of its own in any case.
  std::string to;
  CatalogOptions catalog;  // Else in that directory; the same of
  BlobsOptions blobs;      // these, which stay where they are if that is the same object store.
  // Else blobs only, of a service that may run meanwhile.
  bool finishes = false;
  // Blobs that the source cannot read stay behind.
  bool gives_up_unreadable = false;
};

struct MigrationReport {
  bool blobs_stay = false;
  BlobCopyReport blobs;
  // Of one that is finished:
  RowCopyReport rows;
  std::string to;              // Where it is, for people.
  bool brought_key = false;    // The master key's file is there, too; else it is where it was.
  bool has_snapshots = false;  // Some stay in the old data directory.
};

// Does the next step of it, which may be begun again however an earlier one ended. Nothing of the
// source is changed, but for the mark that it moved, which is the last that is made. Errors, in one
// line: InvalidArgument for what cannot be meant; NotFound if there is nothing to migrate;
// FailedPrecondition if one of both places is not as it has to be, for example not empty; Aborted
// (kExitInUse) if a service uses the source, when it is to be finished, or the target; DataLoss
// (kExitDamaged) for blobs that cannot be read, which is also told of each by `report`; Cancelled;
// those of both stores and catalogs.
absl::Status Migrate(const Migration& migration, absl::Time now, const MigrationListener& listener,
                     MigrationReport& report);

// Lets a service start again with what was migrated from this data directory, as it was then.
// Returns where it had gone. FailedPrecondition if it had not.
absl::StatusOr<std::string> UndoMigration(const std::string& from);

}  // namespace backup
