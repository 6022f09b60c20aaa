#include "rpc/grpc_log.h"

#include "glog/logging.h"
#include "grpc/support/log.h"

namespace backup::rpc {
namespace {

void Log(gpr_log_func_args* line) {
  const google::LogSeverity severity =
      line->severity == GPR_LOG_SEVERITY_ERROR ? google::GLOG_ERROR : google::GLOG_INFO;
  google::LogMessage(line->file, line->line, severity).stream() << line->message;
}

}  // namespace

void DropGrpcLog() {
  gpr_set_log_function([](gpr_log_func_args*) {});
}

void SendGrpcLogToGlog() { gpr_set_log_function(&Log); }

}  // namespace backup::rpc
