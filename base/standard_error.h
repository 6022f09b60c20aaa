#pragma once

namespace backup {

// From now on what is written to std::cerr and stderr waits for the reader of a pipe for a second
// at most, and is left out while nobody reads: notes must not stop what they are about. Of what is
// no pipe, nothing changes. Before any thread starts; the daemons' log has more (LogWriter).
void BoundStandardError();

}  // namespace backup
