#include "base/flag_help.h"

#include <algorithm>
#include <iostream>

#include "base/standard_output.h"

namespace backup {

std::vector<gflags::CommandLineFlagInfo> FlagsOfFiles(
    const std::vector<std::string>& source_files) {
  std::vector<gflags::CommandLineFlagInfo> flags;
  gflags::GetAllFlags(&flags);
  std::erase_if(flags, [&](const gflags::CommandLineFlagInfo& flag) {
    return std::find(source_files.begin(), source_files.end(), flag.filename) == source_files.end();
  });
  return flags;
}

void ShowHelp(const std::string& usage, const std::vector<gflags::CommandLineFlagInfo>& flags,
              const std::string& notes) {
  std::cout << "usage: " << usage << "\n\n";
  for (const gflags::CommandLineFlagInfo& flag : flags) {
    std::cout << "  --" << flag.name << "=" << flag.default_value << "\n      " << flag.description
              << "\n";
  }
  std::cout << "\n" << notes << "\n";
  ExitAfterOutput();
}

}  // namespace backup
