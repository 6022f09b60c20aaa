#pragma once

namespace backup::storage {

// The name of a SQLite VFS like the one named `below` (null: the system's own), by which a database
// and its write-ahead log stay what was synced, whatever failed before (docs/adr/0043):
//
// * They grow by zeros that are synced before anything is written there. Growth that fails is cut
//   off again, and the write that it was for fails.
// * After a sync that failed a checkpoint copies all of the log again.
//
// Each name is registered once, for ever. Files are opened by whatever is named `below` then, which
// must be there as long as they are; all that is not done with an open file is the system's own.
// Without memory mapping. Thread-safe.
const char* DurableGrowth(const char* below);

}  // namespace backup::storage
