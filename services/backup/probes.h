#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/readiness.h"
#include "grpcpp/channel.h"
#include "storage/catalog/catalog.h"
#include "storage/space_reserve.h"

namespace backup {

// What the service needs: a writable catalog, a writable folder with room in it, also for what is
// reserved, and that a call through its own listener, by way of `channel`, is answered.
std::vector<Probe> ServiceProbes(storage::Catalog& catalog, const storage::SpaceReserve& reserve,
                                 const std::string& data_dir,
                                 std::shared_ptr<grpc::Channel> channel);

}  // namespace backup
