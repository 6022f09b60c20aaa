#pragma once

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "base/periodic_task.h"
#include "grpcpp/channel.h"
#include "rpc/connection_diagnosis.h"

namespace backup::bridge {

// While a channel has no connection, finds out again and again why; a cause that is new is a line
// of the log. Thread-safe.
class BackendDiagnosis {
 public:
  // `plan` is how `channel` connects.
  BackendDiagnosis(std::shared_ptr<grpc::Channel> channel, rpc::ConnectionPlan plan);

  // The cause as it was seen last; empty with a connection, and if nothing is known.
  std::string why() const;

 private:
  void Look();

  const std::shared_ptr<grpc::Channel> channel_;
  const rpc::ConnectionPlan plan_;
  mutable Mutex mutex_;
  std::string why_ ABSL_GUARDED_BY(mutex_);
  PeriodicTask looks_;  // Last: ends before what it uses.
};

}  // namespace backup::bridge
