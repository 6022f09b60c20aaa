#pragma once

namespace backup {

// Whether a connection that was accepted on `fd` may stay. Not if its descriptor is one of the last
// few that the process may have: those are left to files, to the database and to libraries, which
// would fail for want of one. POSIX hands out the lowest number that is free, so the number tells.
// Thread-safe.
bool LeavesDescriptorReserve(int fd);

}  // namespace backup
