#pragma once

#include <memory>
#include <string>

#include "grpcpp/channel.h"
#include "grpcpp/security/credentials.h"
#include "rpc/completion_queue.h"

namespace backup::bridge {

// Two channels to one service, each with connections of its own: what is small does not wait behind
// what is large, nor is it handled by whichever thread waits for the large.
struct BackendChannels {
  std::shared_ptr<grpc::Channel> calls;
  std::shared_ptr<grpc::Channel> bodies;
  // Tells of their calls. Before these end, all that waits for it must have ended.
  std::shared_ptr<rpc::CompletionQueue> queue;
};

// Channels to `target`, any gRPC target, that reconnect quickly; the addresses behind a dns:///
// one are used in turn.
// `server_name` is the name in the service's certificate; empty: the target's.
BackendChannels MakeBackendChannels(const std::string& target,
                                    const std::shared_ptr<grpc::ChannelCredentials>& credentials =
                                        grpc::InsecureChannelCredentials(),
                                    const std::string& server_name = "");

}  // namespace backup::bridge
