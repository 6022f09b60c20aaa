#pragma once

#include "backup/v1/backup.pb.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/sync_stream.h"
#include "services/backup/backup_service.h"

namespace backup {

// DownloadFile's messages are sent as they are on the wire, which spares copies of each chunk.
using DownloadStream = grpc::ServerSplitStreamer<v1::DownloadFileRequest, grpc::ByteBuffer>;

// Answers one DownloadFile call; returns when it is over.
grpc::Status ServeDownload(const ServiceContext& context, grpc::ServerContext& call,
                           DownloadStream& stream);

}  // namespace backup
