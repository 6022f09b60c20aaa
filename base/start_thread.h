#pragma once

#include <functional>
#include <optional>
#include <thread>

namespace backup {

// Starts a thread that runs `body`. Nothing, and a line in the log, if the system has no room for
// another one. Whoever starts threads after the start of the process uses this: std::thread itself
// throws, which would end the process. Thread-safe.
std::optional<std::thread> TryStartThread(std::function<void()> body);

// TryStartThread(), or what stands for it in a test.
using ThreadStarter = std::function<std::optional<std::thread>(std::function<void()>)>;

}  // namespace backup
