#pragma once

#include "grpcpp/server_context.h"
#include "rpc/download_stream.h"
#include "services/backup/service_context.h"

namespace backup {

// Answers one DownloadFile call; returns when it is over.
grpc::Status ServeDownload(const ServiceContext& context, grpc::ServerContext& call,
                           rpc::DownloadStream& stream);

}  // namespace backup
