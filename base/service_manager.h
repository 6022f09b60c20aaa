#pragma once

#include "absl/strings/string_view.h"

namespace backup {

// Tells the service manager that started the process how it is doing: "READY=1", "STOPPING=1". The
// protocol is systemd's (sd_notify(3)): one datagram to the socket that $NOTIFY_SOCKET names.
// Without that variable nobody is told. What cannot be told is logged. Thread-safe.
void TellServiceManager(absl::string_view state);

}  // namespace backup
