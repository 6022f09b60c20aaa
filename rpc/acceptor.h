#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/metrics.h"
#include "base/unique_fd.h"
#include "grpcpp/server_builder.h"

namespace backup::rpc {

// Of the service, where none is given.
inline constexpr int kDefaultPort = 50051;

// Where a gRPC server takes connections that somebody else accepted.
using ConnectionSink = std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor>;

// That of the server that `builder` is to build, for connections with `credentials`.
ConnectionSink ConnectionsInto(grpc::ServerBuilder& builder,
                               const std::shared_ptr<grpc::ServerCredentials>& credentials);

// Our own listening socket for gRPC, because the listener of gRPC 1.51 never accepts again after it
// once ran out of file descriptors (docs/adr/0004-own-acceptor.md). Accepts on a thread of its own
// and hands the sockets over. Thread-safe.
class Acceptor {
 public:
  // `address` is what ParseHostAndPort() understands, with port 0 for any free one, or unix:PATH.
  // Listens at once; connections wait in the kernel until Start().
  static absl::StatusOr<std::unique_ptr<Acceptor>> Listen(const std::string& address);
  ~Acceptor();

  // "NUMBER:PORT" or "unix:PATH" as it was bound, and just the port (0 for a unix socket).
  const std::string& bound_address() const { return bound_address_; }
  int bound_port() const { return bound_port_; }

  // From now on every connection goes to gRPC; `refused` counts those for which there is no
  // descriptor.
  void Start(ConnectionSink connections, Counter refused = {});
  // No more connections, new ones are refused; open ones stay. Never to be started again.
  void Stop();
  // Ends all connections that were handed over and are still open: nothing comes in or goes out any
  // more. After Stop().
  void HangUp();

 private:
  Acceptor(UniqueFd listener, std::string bound_address, int bound_port);
  void AcceptLoop(std::stop_token token);
  void Accept();

  UniqueFd listener_;  // Not valid once stopped.
  const std::string bound_address_;
  const int bound_port_;
  const int first_reserved_;  // A connection that gets this descriptor or a higher one is refused.
  UniqueFd wake_;             // An eventfd that ends the loop's wait.
  ConnectionSink connections_;
  Counter refused_;
  // The connections that were handed over, by descriptor. Whether it is still theirs tells the
  // socket's inode. Used by the thread, and once that has ended by HangUp().
  std::map<int, ino_t> handed_over_;
  std::jthread thread_;
};

// OK if `address` has a form that Listen() understands; otherwise InvalidArgument with what is
// wrong.
absl::Status CheckAddress(absl::string_view address);

// Whether an address that Listen() understands can be reached from this machine only.
bool IsLocalAddress(absl::string_view address);

}  // namespace backup::rpc
