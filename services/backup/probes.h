#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/readiness.h"
#include "grpcpp/channel.h"
#include "storage/catalog/catalog.h"

namespace backup {

// What the service needs: a writable catalog, a writable folder with room in it, and that a call
// through its own listener, by way of `channel`, is answered.
std::vector<Probe> ServiceProbes(storage::Catalog& catalog, const std::string& data_dir,
                                 std::shared_ptr<grpc::Channel> channel);

}  // namespace backup
