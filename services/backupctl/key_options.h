#pragma once

#include "services/backup/open_storage.h"

namespace CLI {
class App;
}

namespace backup::ctl {

// Adds the options that say where the keys of a data directory are, to a command that works without
// a service; parsing sets `keys`, which must outlive `command`.
void AddKeyOptions(CLI::App& command, KeySources& keys);

// Adds those that say where the blobs of a data directory are, if that is an object store: but for
// where it is itself, which is --blobs.
void AddStoreOptions(CLI::App& command, BlobsOptions& blobs);

}  // namespace backup::ctl
