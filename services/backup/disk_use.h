#pragma once

#include <cstdint>
#include <string>

#include "services/backup/free_space.h"
#include "services/backup/handlers/growth.h"
#include "storage/catalog/catalog.h"

namespace backup {

// What of a file system uploads may still take: they leave storage::SpaceReserve::SizeFor() free,
// beside the reserve itself. Never below 0.
int64_t RoomOf(const FreeSpace& space);

// What a data directory takes beside packs and blobs, and what room is left for them; and what
// `catalog` takes, if that is elsewhere. May wait for the disk, and for the catalog's server.
// `has_remote_blobs`: packs and blobs are not there.
handlers::DiskUse LookAtDisk(const std::string& data_dir, storage::Catalog& catalog,
                             bool has_remote_blobs = false);

}  // namespace backup
