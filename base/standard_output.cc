#include "base/standard_output.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "base/exit_code.h"

namespace backup {

absl::Status FlushStandardOutput() {
  errno = 0;
  if (std::cout.flush()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("cannot write to standard output", errno == 0 ? "" : ": ",
                                          errno == 0 ? "" : std::strerror(errno)));
}

void ExitAfterOutput() {
  const absl::Status written = FlushStandardOutput();
  if (written.ok()) std::exit(0);
  std::cerr << written.message() << std::endl;
  std::exit(kExitFailed);
}

}  // namespace backup
