#pragma once

namespace backup {

// A connection that was accepted on this file descriptor or a higher one is to be closed at once:
// the last descriptors that the process may have are left to files, the database and libraries,
// which need some to serve the connections there are. The kernel hands out the lowest free
// descriptor, so the number tells how many are left. Ask again after the limit has changed.
int FirstReservedDescriptor();

}  // namespace backup
