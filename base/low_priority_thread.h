#pragma once

#include <cstdint>

namespace backup {

// From this size on, a body's threads are to stand behind those of small requests.
inline constexpr int64_t kLowPriorityMinSize = int64_t{8} << 20;

// Lowers the priority of the calling thread: a large body wants every core for seconds, a small
// request one for a moment, and should not have to wait for its turn. For the rest of the thread's
// life, because only the privileged may take that back. Called again it does nothing. Thread-safe.
void BecomeLowPriority();

// Whether the calling thread did so.
bool IsLowPriority();

}  // namespace backup
