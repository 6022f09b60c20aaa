#include "services/backup/lifecycle_service.h"

#include "services/backup/handlers/list_trash.h"
#include "services/backup/serve.h"

namespace backup {

grpc::Status LifecycleServiceImpl::ListTrash(grpc::ServerContext* call,
                                             const v1::ListTrashRequest* request,
                                             v1::ListTrashResponse* response) {
  return ServeRead(*call, context_, "ListTrash", *request, *response, handlers::ListTrash);
}

}  // namespace backup
