#pragma once

#include <string>
#include <vector>

#include "gflags/gflags.h"

namespace backup {

// The flags that `source_files` define (__FILE__ of each), by file and name: a program's own, and
// no library's, whose defaults depend on the environment and on who built them.
std::vector<gflags::CommandLineFlagInfo> FlagsOfFiles(const std::vector<std::string>& source_files);

// Prints `usage`, each of `flags` with its default, and `notes`, and ends the process as
// ExitAfterOutput() does.
[[noreturn]] void ShowHelp(const std::string& usage,
                           const std::vector<gflags::CommandLineFlagInfo>& flags,
                           const std::string& notes);

}  // namespace backup
