#pragma once

#include <string>

#include "services/backup/handlers/growth.h"

namespace backup {

// What a data directory takes beside packs and blobs, and what room is left for them. What cannot
// be looked at counts as nothing.
handlers::DiskUse LookAtDisk(const std::string& data_dir);

}  // namespace backup
