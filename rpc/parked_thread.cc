#include "rpc/parked_thread.h"

namespace backup::rpc {

ParkedThread::ParkedThread(const std::shared_ptr<grpc::Channel>& channel)
    : stub_(grpc::health::v1::Health::NewStub(channel)) {
  stub_->async()->Check(&call_, &request_, &response_, [this](const grpc::Status&) { Park(); });
}

ParkedThread::~ParkedThread() {
  call_.TryCancel();
  MutexLock lock(mutex_);
  ending_ = true;
  changed_.NotifyAll();
  while (!gone_) changed_.Wait(mutex_);
}

void ParkedThread::Park() {
  MutexLock lock(mutex_);
  while (!ending_) changed_.Wait(mutex_);
  gone_ = true;
  changed_.NotifyAll();
}

}  // namespace backup::rpc
