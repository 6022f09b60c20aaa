#pragma once

#include "services/backup/open_storage.h"

namespace CLI {
class App;
}

namespace backup::ctl {

// Adds the options that say where the keys of a data directory are, to a command that works without
// a service; parsing sets `keys`, which must outlive `command`.
void AddKeyOptions(CLI::App& command, KeySources& keys);

}  // namespace backup::ctl
