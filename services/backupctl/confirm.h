#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "services/backupctl/interrupt.h"
#include "services/backupctl/output.h"

namespace backup::ctl {

// Says what is about to be deleted (`what`), and asks whether to go on, if standard input is a
// terminal and `agreed` (--yes) does not answer it. OK to go on; InvalidArgument if there is nobody
// to ask; Aborted if the answer is no; Cancelled by an interrupt.
absl::Status ConfirmDeletion(absl::string_view what, bool agreed, const Interrupt& interrupt,
                             Output& output);

}  // namespace backup::ctl
