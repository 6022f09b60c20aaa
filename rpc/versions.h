#pragma once

#include "base/metrics.h"

namespace backup::rpc {

// The versions of gRPC and OpenSSL that this process runs with, for backup_build_info.
Labels LibraryVersions();

}  // namespace backup::rpc
