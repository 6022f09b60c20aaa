#pragma once

#include <cstdint>
#include <string>

#include "services/backup/free_space.h"
#include "services/backup/handlers/growth.h"

namespace backup {

// What of a file system uploads may still take: they leave storage::SpaceReserve::SizeFor() free,
// beside the reserve itself. Never below 0.
int64_t RoomOf(const FreeSpace& space);

// What a data directory takes beside packs and blobs, and what room is left for them. May wait for
// the disk. `has_remote_blobs`: packs and blobs are not there.
handlers::DiskUse LookAtDisk(const std::string& data_dir, bool has_remote_blobs = false);

}  // namespace backup
